"""Frames by decord: fast, but its word about time and rotation is checked against the probe each time."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.video.containers import Container
from pipeline.video.probe import VideoProbe

CHUNK_FRAMES = 128
TOLERANCE_S = 0.001


class DecordRefusedError(Exception):
    """decord cannot or must not decode this video; the message says why."""


def decode_with_decord(
    probe: VideoProbe, frame_indices: npt.NDArray[np.int64], *, height: int, width: int
) -> npt.NDArray[np.uint8]:
    """Decode wanted frames at the given display size.

    The reader lives in this call only: an idle one goes on decoding into an unbounded queue.

    Returns:
        (n, height, width, 3) RGB.

    Raises:
        DecordRefusedError: decord is not installed, failed, or disagrees with the probe.
    """
    refusal = _known_refusal(probe)
    if refusal is not None:
        raise DecordRefusedError(refusal)
    try:
        import decord
    except ImportError as error:
        raise DecordRefusedError("decord is not installed") from error

    decord.logging.set_level(decord.logging.QUIET)
    frames = np.empty((len(frame_indices), height, width, 3), dtype=np.uint8)
    reader = None
    try:
        reader = decord.VideoReader(probe.path, ctx=decord.cpu(0), width=width, height=height, num_threads=1)
        _compare_timelines(reader, probe)
        for start in range(0, len(frame_indices), CHUNK_FRAMES):
            chunk = frame_indices[start : start + CHUNK_FRAMES].tolist()
            frames[start : start + len(chunk)] = reader.get_batch(chunk).asnumpy()
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise DecordRefusedError(f"decord failed: {first_line}") from error
    finally:
        del reader
    return frames


def _known_refusal(probe: VideoProbe) -> str | None:
    if probe.container is Container.MPEG_TS:
        return "decord returns wrong frames for MPEG-TS without an error"
    if probe.bit_depth > 8:
        return f"decord's conversion of {probe.bit_depth}-bit video differs from PyAV's"
    if probe.rotation != 0 and probe.container is not Container.ISO_BMFF:
        return "decord knows rotation in mp4 and mov only"
    return None


def _compare_timelines(reader: Any, probe: VideoProbe) -> None:
    """Compare with the probe: decord counts frames that edit lists hide, and loses some containers' times."""
    if len(reader) != probe.num_frames:
        raise DecordRefusedError(f"decord counts {len(reader)} frames, the probe {probe.num_frames}")
    starts_s = reader.get_frame_timestamp(np.arange(probe.num_frames))[:, 0].astype(np.float64)
    starts_s -= starts_s[0]
    # decord holds seconds as float32: 1 ms apart beyond 2.3 hours
    tolerance_s = TOLERANCE_S + np.spacing(probe.pts_s.astype(np.float32) + np.float32(1)).astype(np.float64)
    is_apart = np.abs(starts_s - probe.pts_s) > tolerance_s
    if is_apart.any():
        index = int(np.argmax(is_apart))
        raise DecordRefusedError(
            f"decord presents frame {index} at {starts_s[index]:.4f} s, the probe at {probe.pts_s[index]:.4f} s"
        )
    # decord numbers keyframes in storage order; where that differs (open GOPs) its seeks can return wrong frames
    if list(reader.get_key_indices()) != probe.keyframe_indices.tolist():
        raise DecordRefusedError("decord's keyframes are not the probe's")
