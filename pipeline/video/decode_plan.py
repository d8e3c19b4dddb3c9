"""What to read of a video, in which passes and stretches: arithmetic on the keyframe index. ``decode`` reads.

A pass yields whole groups; within it each GOP (a keyframe and the frames up to the next) is decoded at most once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.probe import VideoProbe

IntArray = npt.NDArray[np.int64]
GROWING_PASS_GROUPS = (8, 32)
FIRST_PASS_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stretch:
    """One decoder's piece of a pass.

    ``frame_indices`` (n,) are the wanted frames, ascending and unique, in presentation order of the video. They lie in
    the GOPs ``[start_gop, stop_gop)``, positions in ``VideoProbe.keyframe_indices``; stretches of a pass share no GOP.
    """

    frame_indices: IntArray
    start_gop: int
    stop_gop: int
    num_frames_to_decode: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DecodePass:
    """One reading of the video. ``group_positions`` are positions in the visiting order."""

    group_positions: range
    stretches: tuple[Stretch, ...]

    @property
    def frame_indices(self) -> IntArray:
        """(n,) all wanted frames of the pass, ascending and unique."""
        return np.concatenate([stretch.frame_indices for stretch in self.stretches])

    @property
    def num_frames(self) -> int:
        """Frames that the pass holds in memory when it is complete."""
        return sum(len(stretch.frame_indices) for stretch in self.stretches)

    @property
    def num_frames_to_decode(self) -> int:
        """Frames that the pass must decode, wanted or on the way."""
        return sum(stretch.num_frames_to_decode for stretch in self.stretches)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DecodePlan:
    """Passes in visiting order; together they yield every group once."""

    passes: tuple[DecodePass, ...]


def frames_to_decode(probe: VideoProbe, frame_indices: IntArray) -> int:
    """How many frames must be decoded for some: per touched GOP, from its keyframe to the last wanted one."""
    return sum(cost for _, _, cost in _split_gops(probe, frame_indices))


def plan_decode(
    probe: VideoProbe,
    sample_frame_indices: IntArray,
    patch_frames: IntArray,
    groups: Sequence[IntArray],
    *,
    frame_bytes: int,
    frame_buffer_bytes: int,
    num_stretches: int,
    growing: bool,
) -> DecodePlan:
    """Choose decode passes for groups in visiting order.

    Args:
        probe: the video's timeline.
        sample_frame_indices: (F,) frames of the video that were sampled, ascending.
        patch_frames: (P, frames per patch) positions in ``sample_frame_indices``.
        groups: per group, in visiting order, its patch indices.
        frame_bytes: height * width * 3 of one decoded frame.
        frame_buffer_bytes: what the frames of one pass may take.
        num_stretches: at most so many pieces per pass; never changes which frames are read.
        growing: first 8 groups, then 32, then the rest (AdaptToken-Lite), unless one pass is about as cheap.

    Raises:
        PipelineError: ``TOO_LARGE`` when one group alone exceeds ``frame_buffer_bytes``.
        ValueError: for a count below 1 or no groups.
    """
    if frame_bytes < 1 or frame_buffer_bytes < 1 or num_stretches < 1 or not groups:
        raise ValueError(
            "plan_decode needs at least one group and positive sizes and counts, got "
            f"{len(groups)=} {frame_bytes=} {frame_buffer_bytes=} {num_stretches=}"
        )
    wanted = [np.unique(sample_frame_indices[patch_frames[group].ravel()]) for group in groups]
    max_frames = frame_buffer_bytes // frame_bytes
    _refuse_large_group(probe, wanted, frame_bytes=frame_bytes, frame_buffer_bytes=frame_buffer_bytes)
    ramp = _growing_bounds(len(groups)) if growing and _is_first_pass_cheap(probe, wanted) else []
    passes = []
    for positions in _fill_passes(wanted, max_frames=max_frames, forced_bounds=ramp):
        frame_indices = _union(wanted[positions.start : positions.stop])
        stretches = cut_stretches(probe, frame_indices, num_stretches=num_stretches)
        passes.append(DecodePass(group_positions=positions, stretches=stretches))
    return DecodePlan(passes=tuple(passes))


def cut_stretches(probe: VideoProbe, frame_indices: IntArray, *, num_stretches: int) -> tuple[Stretch, ...]:
    """Cut a pass at keyframes into at most ``num_stretches`` runs of GOPs of about equal decode cost.

    ``costs 10 10 10 30, num_stretches=2  ->  10 10 10 | 30``
    """
    gops = _split_gops(probe, frame_indices)
    costs = np.array([cost for _, _, cost in gops], dtype=np.float64)
    centres = np.cumsum(costs) - costs / 2
    pieces = np.minimum(centres * num_stretches // costs.sum(), num_stretches - 1).astype(np.int64)
    stretches = []
    for piece in np.unique(pieces):
        run = [gops[i] for i in np.flatnonzero(pieces == piece)]
        stretches.append(
            Stretch(
                frame_indices=np.concatenate([wanted for _, wanted, _ in run]),
                start_gop=run[0][0],
                stop_gop=run[-1][0] + 1,
                num_frames_to_decode=sum(cost for _, _, cost in run),
            )
        )
    return tuple(stretches)


def _split_gops(probe: VideoProbe, frame_indices: IntArray) -> list[tuple[int, IntArray, int]]:
    """Per touched GOP: its position, its wanted frames, the frames to decode for them."""
    frame_indices = np.unique(frame_indices)
    gop_of_frame = probe.gop_of(frame_indices)
    gops, starts = np.unique(gop_of_frame, return_index=True)
    runs = np.split(frame_indices, starts[1:])
    return [
        (int(gop), run, int(run[-1] - probe.keyframe_indices[gop]) + 1) for gop, run in zip(gops, runs, strict=True)
    ]


def _union(wanted: Sequence[IntArray]) -> IntArray:
    return np.unique(np.concatenate(wanted))


def _refuse_large_group(
    probe: VideoProbe, wanted: Sequence[IntArray], *, frame_bytes: int, frame_buffer_bytes: int
) -> None:
    largest = max(len(frame_indices) for frame_indices in wanted)
    if largest * frame_bytes > frame_buffer_bytes:
        raise PipelineError(
            FailureClass.TOO_LARGE,
            f"{probe.path}: one group takes {largest * frame_bytes} bytes ({largest} frames of {frame_bytes}), "
            f"execution.frame_buffer_bytes allows {frame_buffer_bytes}; raise it, or lower "
            "sampling.frames_per_group or sampling.max_pixels.",
        )


def _growing_bounds(num_groups: int) -> list[int]:
    return [int(bound) for bound in np.cumsum(GROWING_PASS_GROUPS) if bound < num_groups]


def _is_first_pass_cheap(probe: VideoProbe, wanted: Sequence[IntArray]) -> bool:
    """Whether the first growing pass costs less than half of reading everything; with long GOPs it does not."""
    first = frames_to_decode(probe, _union(wanted[: GROWING_PASS_GROUPS[0]]))
    return first < FIRST_PASS_SHARE * frames_to_decode(probe, _union(wanted))


def _fill_passes(wanted: Sequence[IntArray], *, max_frames: int, forced_bounds: Sequence[int]) -> list[range]:
    """Runs of groups, each as long as the buffer and the bounds allow; with runs in order that is the fewest."""
    passes, start = [], 0
    held: set[int] = set()
    for position, frame_indices in enumerate(wanted):
        together = held.union(frame_indices.tolist())
        if position > start and (position in forced_bounds or len(together) > max_frames):
            passes.append(range(start, position))
            start, together = position, set(frame_indices.tolist())
        held = together
    passes.append(range(start, len(wanted)))
    return passes
