"""Writes small videos with PyAV, each with one property that decoders get wrong; and the decoder to compare with."""

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.unit.video.mp4_boxes import replace_payload

NUM_FRAMES = 48
GOP = 12
FPS = 25


def paint_frame(index: int, *, width: int, height: int) -> np.ndarray:
    """(height, width, 3): a moving gradient whose blue value tells the index."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * 2 + index * 5) % 256, (y * 2 + index * 3) % 256, np.full((height, width), index * 5 % 256)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def write_video(
    path: str | Path,
    *,
    num_frames: int = NUM_FRAMES,
    width: int = 96,
    height: int = 64,
    b_frames: int = 2,
    ticks: list[int] | None = None,
    time_base: Fraction | None = None,
    rotation: int = 0,
    x264: str = "",
    pix_fmt: str = "yuv420p",
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    paint: Callable[..., np.ndarray] = paint_frame,
) -> str:
    """Encode painted frames; the container follows from the suffix, ``options`` are the encoder's."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = GOP, b_frames
        stream.codec_context.time_base = time_base or Fraction(1, FPS)
        if codec == "libx264":
            params = f"bframes={b_frames}:b-adapt=0:keyint={GOP}:min-keyint={GOP}:scenecut=0:threads=1:{x264}"
            stream.options = {"preset": "ultrafast", "x264-params": params.rstrip(":")}
        if codec == "mjpeg":
            stream.codec_context.color_range = 2  # all it can write
        if options is not None:
            stream.options = options
        if rotation:
            stream.set_display_rotation(rotation)
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(paint(index, width=width, height=height), format="rgb24")
            frame.pts, frame.time_base = (ticks[index] if ticks else index), time_base or Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return str(path)


def remux(
    source: str | Path,
    target: str | Path,
    *,
    shift_frames: int = 0,
    damage: Callable[[int, bytes], bytes] | None = None,
    options: dict[str, str] | None = None,
) -> str:
    """Copy the coded frames of ``source`` into a container of their own, shifted in time or damaged."""
    muxer_options = {"avoid_negative_ts": "disabled"} if options is None else options
    with av.open(str(source)) as read, av.open(str(target), "w", options=muxer_options) as out:
        stream = read.streams.video[0]
        copy = out.add_stream_from_template(stream)
        shift = int(Fraction(shift_frames, FPS) / stream.time_base)
        for number, packet in enumerate(read.demux(stream)):
            if packet.dts is None:
                continue
            pts, dts, is_keyframe = packet.pts - shift, packet.dts - shift, packet.is_keyframe
            if damage is not None:
                time_base = packet.time_base
                packet = av.Packet(damage(number, bytes(packet)))
                packet.time_base, packet.is_keyframe = time_base, is_keyframe
            packet.pts, packet.dts, packet.stream = pts, dts, copy
            out.mux(packet)
    return str(target)


def write_audio(path: str | Path, *, codec: str = "aac") -> str:
    """A tenth of a second of silence, and nothing to see."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return str(path)


def decode_sequentially(path: str | Path, *, keep: Callable[[int], bool] = lambda _: True) -> tuple[list, np.ndarray]:
    """The reference: every frame from the first on, at native size, PyAV's own conversion, numpy's rotation.

    Returns:
        The times of all frames in ticks, and the pictures of those whose position ``keep`` wants.
    """
    pts, images = [], []
    with av.open(str(path)) as opened:
        stream = opened.streams.best("video")
        for packet in opened.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue
            for frame in frames:
                if keep(len(pts)):
                    images.append(np.rot90(frame.to_ndarray(format="rgb24"), k=frame.rotation // 90 % 4))
                pts.append(frame.pts)
    return pts, np.stack(images)


VFR_TICKS = np.cumsum([0] + [10 + 7 * (i % 5) for i in range(NUM_FRAMES - 1)]).tolist()  # milliseconds
_LATE = [i + 40 for i in range(NUM_FRAMES)]
_HEVC = "keyint=12:min-keyint=12:scenecut=0:bframes=2:pools=1:log-level=none:open-gop="
_Options = dict[str, Any]
_ENCODED: dict[str, tuple[str, _Options]] = {
    "b_frames": ("b_frames.mp4", {}),
    "no_b_frames": ("no_b_frames.mp4", {"b_frames": 0}),
    "open_gop": ("open.mp4", {"x264": "open-gop=1"}),
    "one_frame": ("one.mp4", {"num_frames": 1}),
    "one_gop": ("one_gop.mp4", {"x264": "keyint=250:min-keyint=250"}),
    "vfr": ("vfr.mp4", {"ticks": VFR_TICKS, "time_base": Fraction(1, 1000)}),
    "vfr_mkv": ("vfr.mkv", {"ticks": VFR_TICKS, "time_base": Fraction(1, 1000)}),
    "late_start": ("late.mp4", {"ticks": _LATE}),
    "late_start_mkv": ("late.mkv", {"ticks": _LATE}),
    "rotated": ("rotated.mp4", {"rotation": 90}),
    "rotated_180": ("rotated_180.mp4", {"rotation": 180}),
    "rotated_270": ("rotated_270.mov", {"rotation": 270}),
    "rotated_mkv": ("rotated.mkv", {"rotation": 90}),
    "odd_size": ("odd.mp4", {"width": 97, "height": 65, "pix_fmt": "yuv444p"}),
    "odd_size_420": ("odd.mkv", {"width": 97, "height": 65, "codec": "ffv1", "b_frames": 0, "num_frames": 12}),
    "gray": ("gray.mp4", {"pix_fmt": "gray"}),
    "rgb": ("rgb.mkv", {"codec": "ffv1", "pix_fmt": "bgr0", "b_frames": 0}),
    "ten_bit": ("ten.mp4", {"pix_fmt": "yuv420p10le"}),
    "prores": ("prores.mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le", "b_frames": 0}),
    "hevc": ("hevc.mp4", {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": f"{_HEVC}0"}}),
    "hevc_open_gop": ("hevc.mkv", {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": f"{_HEVC}1"}}),
    "hevc_ten_bit": (
        "hevc_ten.mp4",
        {
            "codec": "libx265",
            "pix_fmt": "yuv420p10le",
            "options": {"preset": "ultrafast", "x265-params": f"{_HEVC}0"},
        },
    ),
    "av1": ("av1.mkv", {"codec": "libsvtav1", "b_frames": 0, "options": {"preset": "12"}}),
    "av1_mp4": ("av1.mp4", {"codec": "libsvtav1", "b_frames": 0, "options": {"preset": "12"}}),
    "vp9": ("vp9.webm", {"codec": "libvpx-vp9"}),
    "vp8": ("vp8.webm", {"codec": "libvpx", "b_frames": 0}),
    "mpeg4": ("mpeg4.mp4", {"codec": "mpeg4"}),
    "mpeg2_ps": ("plain.mpg", {"codec": "mpeg2video"}),
    "mpeg2_ts": ("mpeg2.ts", {"codec": "mpeg2video"}),
    "wmv": ("plain.asf", {"codec": "wmv2", "b_frames": 0}),
    "mjpeg": ("mjpeg.avi", {"codec": "mjpeg", "b_frames": 0}),
    "ffv1": ("intra.mkv", {"codec": "ffv1", "num_frames": 12, "b_frames": 0}),
    "mkv": ("plain.mkv", {}),
    "mpegts": ("plain.ts", {}),
    "avi": ("plain.avi", {"b_frames": 0}),
    "flv": ("plain.flv", {}),
}
_REMUXED: dict[str, tuple[str, _Options]] = {
    "edit_list": ("edit.mp4", {"shift_frames": 18}),
    "fragmented": ("fragmented.mp4", {"options": {"movflags": "frag_keyframe+empty_moov"}}),
    "index_first": ("fast.mp4", {"options": {"movflags": "faststart"}}),
}
_EDITED: dict[str, tuple[tuple[int, int], ...]] = {  # milliseconds shown, and the frame that they start with
    "jump_cut": ((800, 0), (720, 30)),
    "two_jump_cuts": ((400, 5), (400, 20), (400, 35)),
    "shown_twice": ((480, 12), (480, 12)),
    "second_half_first": ((960, 24), (960, 0)),
}
ODD_VIDEOS = (*_ENCODED, *_REMUXED, *_EDITED)


class NoEncoderError(Exception):
    """PyAV was built without what this video needs."""


def make_odd_video(name: str, folder: Path) -> str:
    """Write one video of ``ODD_VIDEOS``; the path."""
    if name in _REMUXED:
        file_name, options = _REMUXED[name]
        return remux(write_video(folder / f"source_of_{file_name}"), folder / file_name, **options)
    if name in _EDITED:
        return _edit(write_video(folder / f"{name}.mp4"), _EDITED[name])
    file_name, options = _ENCODED[name]
    try:
        return write_video(folder / file_name, **options)
    except av.codec.codec.UnknownCodecError as error:
        raise NoEncoderError(str(error)) from error


def _edit(path: str, segments: tuple[tuple[int, int], ...]) -> str:
    """Let the edit list of an mp4 of ours show other parts of it: 512 ticks per frame, the first one at tick 1024."""
    entries = b"".join(struct.pack(">III", length_ms, 1024 + 512 * frame, 1 << 16) for length_ms, frame in segments)
    payload = struct.pack(">II", 0, len(segments)) + entries
    edited = replace_payload(Path(path).read_bytes(), "moov/trak/edts/elst", payload)
    Path(path).write_bytes(edited)
    return path
