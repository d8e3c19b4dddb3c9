"""Frames by decord, whose word about time and rotation is checked against the probe each time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pipeline.video.backends.interface import DecodeReport, Images, IntArray, RefusedError, iter_chunks
from pipeline.video.containers import Container
from pipeline.video.decode_plan import frames_to_decode
from pipeline.video.probe import VideoProbe
from pipeline.video.video_file import file_status, is_handed_over, open_file

TOLERANCE_S = 0.001
MOST_IN_MEMORY_BYTES = 1024**3


def decode_with_decord(probe: VideoProbe, frame_indices: IntArray, frames: Images) -> DecodeReport:
    """Fill ``frames`` as ``interface.DecodeFrames`` says; the pixels are PyAV's, bit for bit.

    The reader lives in this call only: an idle one goes on decoding into an unbounded queue.

    Raises:
        RefusedError: decord is not installed, failed, or disagrees with the probe.
    """
    refusal = _known_refusal(probe)
    if refusal is not None:
        raise RefusedError(refusal)
    try:
        import decord
    except (ImportError, OSError) as error:
        raise RefusedError("decord is not installed (pip install decord)") from error

    decord.logging.set_level(decord.logging.QUIET)
    _, height, width, _ = frames.shape
    reader = None
    try:
        with _source_of(probe) as source:
            reader = decord.VideoReader(source, ctx=decord.cpu(0), width=width, height=height, num_threads=1)
        _compare_timelines(reader, probe)
        for chunk in iter_chunks(frames):
            frames[chunk] = reader.get_batch(frame_indices[chunk].tolist()).asnumpy()
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise RefusedError(f"decord failed: {first_line}") from error
    finally:
        del reader
    return DecodeReport(num_frames_decoded=frames_to_decode(probe, frame_indices))


@contextmanager
def _source_of(probe: VideoProbe) -> Iterator[Any]:
    """The path; where nothing may be opened by one, the file, of which decord takes all bytes into memory."""
    if not is_handed_over(probe.path):
        yield probe.path
        return
    if file_status(probe.path).st_size > MOST_IN_MEMORY_BYTES:
        raise RefusedError(f"decord reads at most {MOST_IN_MEMORY_BYTES:,} bytes in a sandbox (reading.sandbox=off)")
    with open_file(probe.path) as file:
        yield file


def _known_refusal(probe: VideoProbe) -> str | None:
    if probe.container is Container.MPEG_TS:
        return "decord returns wrong frames for MPEG-TS without an error"
    if probe.bit_depth > 8:
        return f"decord's conversion of {probe.bit_depth}-bit video differs from PyAV's"
    if probe.is_mirrored:
        return "decord does not mirror"
    if probe.rotation != 0 and probe.container is not Container.ISO_BMFF:
        return "decord knows rotation in mp4 and mov only"
    return None


def _compare_timelines(reader: Any, probe: VideoProbe) -> None:
    """Compare with the probe: decord counts frames that edit lists hide, and loses some containers' times."""
    if len(reader) != probe.num_frames:
        raise RefusedError(f"decord counts {len(reader)} frames, the probe {probe.num_frames}")
    starts_s = reader.get_frame_timestamp(np.arange(probe.num_frames))[:, 0].astype(np.float64)
    starts_s -= starts_s[0]
    # decord holds seconds as float32: 1 ms apart beyond 2.3 hours
    tolerance_s = TOLERANCE_S + np.spacing(probe.pts_s.astype(np.float32) + np.float32(1)).astype(np.float64)
    is_apart = np.abs(starts_s - probe.pts_s) > tolerance_s
    if is_apart.any():
        index = int(np.argmax(is_apart))
        raise RefusedError(
            f"decord presents frame {index} at {starts_s[index]:.4f} s, the probe at {probe.pts_s[index]:.4f} s"
        )
    # decord numbers keyframes in storage order; where that differs (open GOPs) its seeks can return wrong frames
    if list(reader.get_key_indices()) != probe.keyframe_indices.tolist():
        raise RefusedError("decord's keyframes are not the probe's")
