"""Small test videos, written with PyAV, each with one property that decoders get wrong; and a reference decoder."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

NUM_FRAMES = 48
GOP = 12
FPS = 25
WriteVideo = Callable[..., str]


def paint_frame(index: int, *, width: int, height: int) -> np.ndarray:
    """(height, width, 3): a moving gradient whose blue value tells the index."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * 2 + index * 5) % 256, (y * 2 + index * 3) % 256, np.full((height, width), index * 5 % 256)]
    return np.stack(planes, axis=-1).astype(np.uint8)


@pytest.fixture(scope="session")
def write_video(tmp_path_factory) -> WriteVideo:
    folder = tmp_path_factory.mktemp("videos")

    def write(
        name,
        *,
        num_frames=NUM_FRAMES,
        width=96,
        height=64,
        b_frames=2,
        ticks=None,
        time_base=None,
        rotation=0,
        x264="",
        pix_fmt="yuv420p",
        codec="libx264",
    ) -> str:
        path = folder / name
        with av.open(str(path), "w") as out:
            stream = out.add_stream(codec, rate=FPS)
            stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
            stream.codec_context.gop_size, stream.codec_context.max_b_frames = GOP, b_frames
            stream.codec_context.time_base = time_base or Fraction(1, FPS)
            if codec == "libx264":
                params = f"bframes={b_frames}:b-adapt=0:keyint={GOP}:min-keyint={GOP}:scenecut=0:threads=1:{x264}"
                stream.options = {"preset": "ultrafast", "x264-params": params.rstrip(":")}
            if rotation:
                stream.set_display_rotation(rotation)
            for index in range(num_frames):
                frame = av.VideoFrame.from_ndarray(paint_frame(index, width=width, height=height), format="rgb24")
                frame.pts, frame.time_base = (ticks[index] if ticks else index), time_base or Fraction(1, FPS)
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        return str(path)

    return write


@pytest.fixture(scope="session")
def vfr_ticks() -> list[int]:
    """Milliseconds of a variable frame rate."""
    return np.cumsum([0] + [10 + 7 * (i % 5) for i in range(NUM_FRAMES - 1)]).tolist()


def _remux(
    source: str, target: Path, *, shift_frames: int = 0, damage: Callable[[int, bytes], bytes] | None = None
) -> str:
    with av.open(source) as read, av.open(str(target), "w", options={"avoid_negative_ts": "disabled"}) as out:
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


@pytest.fixture(scope="session")
def videos(write_video, vfr_ticks, tmp_path_factory) -> dict[str, str]:
    """Name -> path of readable videos."""
    made = {
        "b_frames": write_video("b_frames.mp4"),
        "odd_size": write_video("odd.mp4", width=97, height=65, pix_fmt="yuv444p"),
        "vfr": write_video("vfr.mp4", ticks=vfr_ticks, time_base=Fraction(1, 1000)),
        "late_start": write_video("late.mp4", ticks=[i + 40 for i in range(NUM_FRAMES)]),
        "late_start_mkv": write_video("late.mkv", ticks=[i + 40 for i in range(NUM_FRAMES)]),
        "mkv": write_video("plain.mkv"),
        "mpegts": write_video("plain.ts"),
        "avi": write_video("plain.avi", b_frames=0),
        "flv": write_video("plain.flv"),
        "rotated": write_video("rotated.mp4", rotation=90),
        "open_gop": write_video("open.mp4", x264="open-gop=1"),
        "ten_bit": write_video("ten.mp4", pix_fmt="yuv420p10le"),
        "ffv1": write_video("intra.mkv", codec="ffv1", num_frames=12),
    }
    folder = tmp_path_factory.mktemp("remuxed")
    made["edit_list"] = _remux(made["b_frames"], folder / "edit.mp4", shift_frames=18)
    return made


@pytest.fixture(scope="session")
def damaged_video(videos, tmp_path_factory) -> str:
    """The 20th stored frame is no H.264 any more: its lengths are nonsense."""

    def damage(number: int, data: bytes) -> bytes:
        return b"\xff" * len(data) if number == 20 else data

    return _remux(videos["b_frames"], tmp_path_factory.mktemp("damaged") / "damaged.mp4", damage=damage)


@pytest.fixture(scope="session")
def broken_files(videos, tmp_path_factory) -> dict[str, str]:
    """Name -> path of files that are no videos, or not whole."""
    folder = tmp_path_factory.mktemp("broken")
    whole = Path(videos["b_frames"]).read_bytes()
    with (
        av.open(videos["b_frames"]) as read,
        av.open(str(folder / "faststart.mp4"), "w", options={"movflags": "faststart"}) as out,
    ):
        copy = out.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
    index_first = (folder / "faststart.mp4").read_bytes()
    contents = {
        "no_index": whole[: len(whole) // 2],
        "cut_off": index_first[: int(len(index_first) * 0.7)],
        "text": b"this is not a video\n" * 20,
        "garbage": bytes(np.random.default_rng(0).integers(128, 256, 4096, dtype=np.uint8)),
        "empty": b"",
        "hls": b"\n#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
        "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "dash": b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    }
    paths = {}
    for name, content in contents.items():
        paths[name] = str(folder / f"{name}.mp4")
        Path(paths[name]).write_bytes(content)
    (folder / "folder.mp4").mkdir()
    paths["folder"] = str(folder / "folder.mp4")
    paths["audio_only"] = str(folder / "audio.mp4")
    with av.open(paths["audio_only"], "w") as out:
        stream = out.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return paths


@pytest.fixture(scope="session")
def decode_sequentially() -> Callable[[str], tuple[list[int], np.ndarray]]:
    """The reference: every frame from the first on, at native size, PyAV's own conversion, numpy's rotation."""

    def decode(path: str) -> tuple[list[int], np.ndarray]:
        pts, images = [], []
        with av.open(path) as opened:
            stream = opened.streams.best("video")
            for packet in opened.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    continue
                for frame in frames:
                    pts.append(frame.pts)
                    images.append(np.rot90(frame.to_ndarray(format="rgb24"), k=frame.rotation // 90 % 4))
        return pts, np.stack(images)

    return decode
