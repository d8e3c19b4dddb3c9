"""Videos for speed measurements: H.264 with B-frames, a moving picture, a known GOP."""

from pathlib import Path

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
