"""Videos for speed measurements: H.264 with B-frames, a moving picture, a known GOP."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HEIGHT = 320, 240
_NOISE_SIDE = 512


def write_stream(path: Path, *, num_frames: int, fps: int, gop: int, seed: int = 0) -> Path:
    """Write one video unless it is there already; the name should tell its properties.

    Args:
        path: an ``.mp4`` file.
        num_frames: encoded frames.
        fps: encoded frames per second.
        gop: frames from keyframe to keyframe.
        seed: of the picture that is panned over.
    """
    import av

    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (_NOISE_SIDE // 8, _NOISE_SIDE // 8, 3), dtype=np.uint8)
    picture = np.tile(coarse.repeat(8, axis=0).repeat(8, axis=1), (2, 2, 1))
    partial = path.with_name(f".tmp-{path.name}")
    with av.open(str(partial), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {
            "preset": "veryfast",
            "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes=2:threads=1",
        }
        for index in range(num_frames):
            left, top = index % _NOISE_SIDE, (index // 3) % _NOISE_SIDE
            view = np.ascontiguousarray(picture[top : top + HEIGHT, left : left + WIDTH])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        out.mux(stream.encode())
    partial.replace(path)
    return path


_SCENE_FRAMES = 150
_GRAIN_TILES = 8


def write_film(
    path: Path,
    *,
    width: int,
    height: int,
    num_frames: int,
    fps: int = 30,
    gop: int = 250,
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """Write one video whose pictures are as detailed as filmed ones, unless it is there already.

    A picture with the spectrum of natural ones (amplitude falls with frequency), in scenes of 5 s with a pan each and a
    cut after it, under grain that changes from frame to frame. x264 at its default quality makes about 4 Mbit/s of it
    in 1080p.

    Args:
        path: an ``.mp4`` file.
        width: even.
        height: even.
        num_frames: encoded frames.
        fps: of them per second.
        gop: most frames from keyframe to keyframe; a cut begins a new one.
        codec: an encoder of FFmpeg's.
        options: of the encoder.
        seed: of pictures and pans.
    """
    import av

    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    planes = [_natural_plane(rng, 2 * height // cut, 2 * width // cut, spread) for cut, spread in _PLANES]
    grain = rng.normal(0, 2.5, (_GRAIN_TILES, height, width)).astype(np.int8)
    partial = path.with_name(f".tmp-{path.name}")
    with av.open(str(partial), "w", format="mp4") as out:
        stream = out.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, "yuv420p", gop
        stream.options = dict(options or ({"preset": "veryfast"} if codec == "libx264" else {}))
        for index in range(num_frames):
            if index % _SCENE_FRAMES == 0:
                start, speed = rng.integers(0, (height // 4, width // 4)), rng.integers(-3, 4, 2)
            top, left = np.abs(start + speed * (index % _SCENE_FRAMES)) % (height, width) // 2 * 2
            views = [
                plane[top // cut : (top + height) // cut, left // cut : (left + width) // cut]
                for plane, (cut, _) in zip(planes, _PLANES, strict=True)
            ]
            views[0] = np.clip(views[0] + grain[index % _GRAIN_TILES], 16, 235)
            flat = np.concatenate([view.astype(np.uint8).ravel() for view in views])
            frame = av.VideoFrame.from_ndarray(flat.reshape(height * 3 // 2, width), format="yuv420p")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    partial.replace(path)
    return path


def repeat_film(source: Path, path: Path, *, times: int) -> Path:
    """The same coded frames again and again, unless it is there already: a long video for the price of a short one."""
    import av

    if path.exists():
        return path
    partial = path.with_name(f".tmp-{path.name}")
    with av.open(str(partial), "w", format="mp4") as out:
        stream, offset = None, 0
        for _ in range(times):
            with av.open(str(source)) as opened:
                template = opened.streams.video[0]
                stream = stream or out.add_stream_from_template(template)
                for packet in opened.demux(template):
                    if packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, stream
                        out.mux(packet)
                offset += int(template.duration)
    partial.replace(path)
    return path


_PLANES = ((1, 45.0), (2, 14.0), (2, 14.0))  # subsampling, and spread of values, of Y, U and V


def _natural_plane(rng: np.random.Generator, height: int, width: int, spread: float) -> "np.ndarray[Any, Any]":
    """(height, width) int16 around 128: white noise whose amplitude is divided by its frequency."""
    spectrum = np.fft.rfft2(rng.normal(size=(height, width)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    plane = np.fft.irfft2(spectrum / frequency, s=(height, width))
    levels: np.ndarray[Any, Any] = np.clip(128 + spread * plane / plane.std(), 16, 235).astype(np.int16)
    return levels
