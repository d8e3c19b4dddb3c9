"""Readers to compare with: each reads the wanted frames of one video at one size and returns what it decoded."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.video.probe import VideoProbe

IntArray = npt.NDArray[np.int64]
Reader = Callable[[VideoProbe, IntArray, tuple[int, int]], None]


def decord_sequential(probe: VideoProbe, frame_indices: IntArray, size: tuple[int, int]) -> None:
    """One ``get_batch`` after another over ascending frames, 128 at a time."""
    import decord

    reader = decord.VideoReader(probe.path, width=size[1], height=size[0])
    for start in range(0, len(frame_indices), 128):
        reader.get_batch(frame_indices[start : start + 128].tolist()).asnumpy()


def decord_per_group(probe: VideoProbe, groups: Sequence[IntArray], size: tuple[int, int]) -> None:
    """What a pipeline does that reads each group on its own: one ``get_batch`` per interleaved group."""
    import decord

    reader = decord.VideoReader(probe.path, width=size[1], height=size[0])
    for frame_indices in groups:
        reader.get_batch(frame_indices.tolist()).asnumpy()


def pyav_sequential(
    probe: VideoProbe, frame_indices: IntArray, size: tuple[int, int], *, is_threaded: bool = False
) -> None:
    """Decode everything in order, scale and convert the wanted frames; FFmpeg's own threads on demand."""
    import av

    wanted = set(probe.pts[frame_indices].tolist())
    with av.open(probe.path) as opened:
        stream = opened.streams.video[0]
        stream.thread_type = "AUTO" if is_threaded else "SLICE"
        stream.codec_context.thread_count = 0 if is_threaded else 1
        for frame in opened.decode(stream):
            if frame.pts in wanted:
                frame.reformat(width=size[1], height=size[0], format="rgb24").to_ndarray()
                wanted.discard(frame.pts)
                if not wanted:
                    break


def torchcodec_sequential(probe: VideoProbe, frame_indices: IntArray, size: tuple[int, int]) -> None:
    """``get_frames_at`` over ascending frames, 128 at a time, one thread, resized like all others; it seeks by itself.

    Raises:
        ImportError: torchcodec or its FFmpeg is not installed.
    """
    try:
        from torchcodec.decoders import VideoDecoder
        from torchcodec.transforms import Resize
    except RuntimeError as error:  # the wheel is there, its libraries are not
        raise ImportError("torchcodec cannot load FFmpeg") from error

    decoder = VideoDecoder(probe.path, num_ffmpeg_threads=1, seek_mode="exact", transforms=[Resize(size)])
    for start in range(0, len(frame_indices), 128):
        decoder.get_frames_at(frame_indices[start : start + 128].tolist())
