"""Which frames are read: the sampling grid over presentation time, and the temporal patches made of them.

Arithmetic only: reading times and keyframes from a file, and decoding, are left to ``pipeline.video``. Shape suffixes:

- N = frames of the stream, in presentation order
- K = its keyframes
- F = sampled frames
- P = temporal patches
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Time stamps are rational numbers read as floats: a frame this little after a grid time is on show at that time.
TIME_TOLERANCE_S = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FrameSample:
    """The frames chosen from one stream.

    Attributes:
        frame_indices: ``(F,)`` int64, strictly increasing, into presentation order.
        times_s: ``(F,)`` float64 presentation time of each chosen frame; 0 is the first frame presented.
    """

    frame_indices: npt.NDArray[np.int64]
    times_s: npt.NDArray[np.float64]

    @property
    def num_frames(self) -> int:
        """F, at least 1."""
        return len(self.frame_indices)


def sample_frames(
    pts_s: npt.NDArray[np.float64],
    *,
    duration_s: float,
    sample_fps: float,
    max_frames: int,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> FrameSample:
    """Take the frame on show at every grid time ``start_s + i / sample_fps < end_s``, each frame at most once.

    The first one may have come on show before ``start_s``. A grid of more than ``max_frames`` times is thinned evenly;
    its first time stays. A stream slower than the grid gives fewer frames than the grid has times::

        pts_s=0,1,2 duration_s=3 sample_fps=2  ->  grid 0,.5,1,1.5,2,2.5  ->  frames 0 1 2

    Args:
        pts_s: ``(N,)`` ascending presentation times, the first one 0.
        duration_s: end of the last frame.
        sample_fps: grid times per second.
        max_frames: upper bound on F.
        start_s: where the grid begins.
        end_s: where it ends; None, or beyond the last frame: with that.

    Raises:
        ValueError: the times are empty, unsorted, not finite or do not start at 0, a setting is not positive, or no
            part of the video lies in ``[start_s, end_s)``.
    """
    _check_stream(pts_s, duration_s)
    span_s = _clip_span(start_s, end_s, duration_s)
    grid_times_s = _plan_grid(span_s, sample_fps=sample_fps, max_frames=max_frames)
    return _take(pts_s, _find_on_show(pts_s, grid_times_s))


def sample_keyframes(
    pts_s: npt.NDArray[np.float64],
    keyframe_indices: npt.NDArray[np.int64],
    *,
    duration_s: float,
    sample_fps: float,
    max_frames: int,
    snap_tolerance_s: float,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> FrameSample:
    """Like ``sample_frames``, but a grid time takes the nearest keyframe within reach, which is cheap to decode.

    A keyframe serves the grid time nearest to it; any other that chose it takes its own frame on show. Of equal
    distances the earlier wins::

        keyframes at 0, .6, 1.1  snap_tolerance_s=.25  grid 0 .5 1 1.5  ->  times 0 .6 1.1 and the frame on show at 1.5

    Args:
        pts_s: as in ``sample_frames``.
        keyframe_indices: ``(K,)`` rising positions in ``pts_s`` of frames that decode on their own.
        duration_s: as in ``sample_frames``.
        sample_fps: as in ``sample_frames``.
        max_frames: as in ``sample_frames``.
        snap_tolerance_s: reach to either side, at most half a grid interval.
        start_s: as in ``sample_frames``; keyframes outside are none.
        end_s: likewise.

    Raises:
        ValueError: as in ``sample_frames``, or the reach is negative or beyond half the interval.
    """
    _check_stream(pts_s, duration_s)
    span_s = _clip_span(start_s, end_s, duration_s)
    grid_times_s = _plan_grid(span_s, sample_fps=sample_fps, max_frames=max_frames)
    if not 0 <= snap_tolerance_s <= 0.5 / sample_fps:
        raise ValueError(
            f"snap_tolerance_s must be between 0 and half the sampling interval ({0.5 / sample_fps} s), "
            f"got {snap_tolerance_s}"
        )
    chosen = _find_on_show(pts_s, grid_times_s)
    key_times_s = pts_s[keyframe_indices]
    is_inside = (key_times_s >= span_s[0] - TIME_TOLERANCE_S) & (key_times_s < span_s[1])
    keyframe_indices, key_times_s = keyframe_indices[is_inside], key_times_s[is_inside]
    if len(keyframe_indices):
        nearest_key = _find_nearest(key_times_s, grid_times_s)
        is_near = np.abs(key_times_s[nearest_key] - grid_times_s) <= snap_tolerance_s + TIME_TOLERANCE_S
        is_served = _find_nearest(grid_times_s, key_times_s)[nearest_key] == np.arange(len(grid_times_s))
        chosen = np.where(is_near & is_served, keyframe_indices[nearest_key], chosen)
    return _take(pts_s, chosen)


def _clip_span(start_s: float, end_s: float | None, duration_s: float) -> tuple[float, float]:
    """The part of the video that there is."""
    last_s = duration_s if end_s is None else min(end_s, duration_s)
    if not (start_s >= 0 and last_s - start_s > TIME_TOLERANCE_S):
        raise ValueError(f"no part of the video lies in [{start_s}, {end_s}) s: it is {duration_s} s long")
    return start_s, last_s


def _plan_grid(span_s: tuple[float, float], *, sample_fps: float, max_frames: int) -> npt.NDArray[np.float64]:
    """Ascending times within a span, at most ``max_frames``."""
    if not (math.isfinite(sample_fps) and sample_fps > 0):
        raise ValueError(f"sample_fps must be positive and finite, got {sample_fps}; use frames per second such as 2.0")
    if max_frames < 1:
        raise ValueError(f"max_frames must be at least 1, got {max_frames}")
    start_s, end_s = span_s
    num_times = max(1, math.ceil((end_s - start_s - TIME_TOLERANCE_S) * sample_fps))
    num_kept = min(num_times, max_frames)
    return start_s + (np.arange(num_kept, dtype=np.int64) * num_times // num_kept) / sample_fps


def _find_on_show(pts_s: npt.NDArray[np.float64], times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return np.searchsorted(pts_s, times_s + TIME_TOLERANCE_S, side="right").astype(np.int64) - 1


def _find_nearest(sorted_s: npt.NDArray[np.float64], times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Position in ``sorted_s`` of the value nearest to each time; of two as near the earlier."""
    later = np.minimum(np.searchsorted(sorted_s, times_s), len(sorted_s) - 1)
    earlier = np.maximum(later - 1, 0)
    is_earlier = np.abs(times_s - sorted_s[earlier]) <= np.abs(sorted_s[later] - times_s) + TIME_TOLERANCE_S
    return np.where(is_earlier, earlier, later).astype(np.int64)


def _take(pts_s: npt.NDArray[np.float64], chosen: npt.NDArray[np.int64]) -> FrameSample:
    frame_indices = np.unique(chosen).astype(np.int64)
    return FrameSample(frame_indices=frame_indices, times_s=pts_s[frame_indices].astype(np.float64))


def _check_stream(pts_s: npt.NDArray[np.float64], duration_s: float) -> None:
    if pts_s.ndim != 1 or len(pts_s) == 0:
        raise ValueError(
            f"pts_s must hold one time per frame, got shape {pts_s.shape}; a stream needs a frame at least"
        )
    if not np.isfinite(pts_s).all():
        raise ValueError(f"pts_s must be finite, got {pts_s[~np.isfinite(pts_s)][0]}; drop frames without a time stamp")
    if abs(pts_s[0]) > TIME_TOLERANCE_S:
        raise ValueError(f"pts_s must start at 0, got {pts_s[0]}; subtract the first frame's presentation time")
    if (np.diff(pts_s) < 0).any():
        index = int(np.argmax(np.diff(pts_s) < 0)) + 1
        raise ValueError(f"pts_s must ascend, got {pts_s[index]} after {pts_s[index - 1]}; sort by presentation time")
    if not (math.isfinite(duration_s) and duration_s > 0):
        raise ValueError(f"duration_s must be positive and finite, got {duration_s}; use the end of the last frame")


def patch_frames(num_frames: int, *, frames_per_patch: int) -> npt.NDArray[np.int64]:
    """Return ``(P, frames_per_patch)`` indices into the sampled frames; the last frame repeats to fill the last patch.

    ``num_frames=3 frames_per_patch=2  ->  [[0, 1], [2, 2]]``

    Raises:
        ValueError: a count is below 1.
    """
    if num_frames < 1 or frames_per_patch < 1:
        raise ValueError(f"patch_frames needs counts of at least 1, got {num_frames=} {frames_per_patch=}")
    num_patches = -(-num_frames // frames_per_patch)
    slots = np.arange(num_patches * frames_per_patch, dtype=np.int64)
    return np.minimum(slots, num_frames - 1).reshape(num_patches, frames_per_patch)
