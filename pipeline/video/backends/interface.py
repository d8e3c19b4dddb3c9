"""What every decoding library offers, so that ``pipeline.video.decode`` can put one in another's place."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.video.probe import VideoProbe

IntArray = npt.NDArray[np.int64]
Images = npt.NDArray[np.uint8]
CHUNK_FRAMES = 128
CHUNK_BYTES = 32 * 1024**2


class RefusedError(Exception):
    """A library is absent, or cannot or must not decode this video; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeReport:
    """What it took: frames decoded, wanted or on the way, and positions that show a stand-in for a lost frame."""

    num_frames_decoded: int
    bad_frames: tuple[int, ...] = ()


class DecodeFrames(Protocol):
    """One library's way to decode the wanted frames of one video."""

    def __call__(self, probe: VideoProbe, frame_indices: IntArray, frames: Images) -> DecodeReport:
        """Fill ``frames`` (n, height, width, 3) with the RGB pictures of (n,) frames at that display size, upright.

        Every position is written. A frame's pixels depend on the video, the frame and the size only.

        Raises:
            RefusedError: before anything that was written may count.
        """
        ...


def iter_chunks(frames: Images) -> Iterator[slice]:
    """Cut ``frames`` into slices that a library may hold a second time, at most ``CHUNK_BYTES`` or one frame."""
    step = max(1, min(CHUNK_FRAMES, CHUNK_BYTES // frames[0].nbytes))
    for start in range(0, len(frames), step):
        yield slice(start, min(start + step, len(frames)))
