"""How fast this machine decodes, against the one that the planner's costs were measured on: half a second of trying."""

import io
import time

import numpy as np

_WIDTH, _HEIGHT, _NUM_FRAMES, _REPEATS = 640, 360, 60, 5
_REFERENCE_S = 0.0148  # for the clip, on the machine of pipeline/planning/decode_cost.py


def relative_decode_time() -> float:
    """Core seconds that a clip of H.264 takes here, by those it took there: 2.0 is half as fast."""
    clip = _make_clip()
    return min(_time_clip(clip) for _ in range(_REPEATS)) / _REFERENCE_S


def _make_clip() -> bytes:
    import av

    coarse = np.random.default_rng(0).integers(16, 236, (_HEIGHT // 4, _WIDTH // 4), dtype=np.uint8)
    picture = np.tile(coarse.repeat(8, axis=0).repeat(8, axis=1), (2, 2))
    chroma = np.full((_HEIGHT // 2, _WIDTH), 128, dtype=np.uint8)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        stream.options = {"preset": "veryfast", "x264-params": "threads=1"}
        for index in range(_NUM_FRAMES):
            view = picture[index : index + _HEIGHT, 3 * index : 3 * index + _WIDTH]
            flat = np.concatenate([view, chroma])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(flat), format="yuv420p")))
        out.mux(stream.encode())
    return buffer.getvalue()


def _time_clip(clip: bytes) -> float:
    """CPU seconds of this thread, so that other processes count little."""
    import av

    with av.open(io.BytesIO(clip), format="mp4") as opened:
        stream = opened.streams.video[0]
        stream.codec_context.thread_count = 1
        started = time.thread_time()
        num_frames = sum(1 for _ in opened.decode(stream))
        spent_s = time.thread_time() - started
    assert num_frames == _NUM_FRAMES
    return spent_s
