"""What to read of a video, in which passes and stretches: arithmetic on the keyframe index. ``decode`` reads.

A pass yields whole groups. Within it each GOP (a keyframe and the frames up to the next) is decoded at most once, from
its keyframe to its last wanted frame; GOPs without a wanted frame, and what follows the last wanted one, never are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.containers import Container
from pipeline.video.probe import VideoProbe

IntArray = npt.NDArray[np.int64]
GROWING_PASS_GROUPS = (8, 32)
STRETCH_BYTES = 128 * 1024**2
LONG_GOP_FRAMES = 300  # encoders make them of 250 unless told otherwise
# What a seek costs, in coded frames read over without decoding them. Measured with PyAV: a seek takes 46-51 us in mp4,
# mkv and flv, a coded frame 6-8 us; MPEG-TS has no index: 1 ms for the two attempts that it takes.
SEEK_COST_PACKETS = 8
UNINDEXED_SEEK_COST_PACKETS = 150
_UNINDEXED = (Container.MPEG_TS, Container.MPEG_PS)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stretch:
    """One decoder's piece of a pass.

    ``frame_indices`` (n,) are the wanted frames, ascending and unique, in presentation order of the video. They lie in
    the GOPs ``[start_gop, stop_gop)``, positions in ``VideoProbe.keyframe_indices``; stretches of a pass share none but
    a long one that is too large for a stretch. ``num_frames_to_decode`` is for a decoder that read the one before.
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
    return int(_split_gops(probe, np.unique(frame_indices)).costs.sum())


def last_of_gop(probe: VideoProbe, gop: int) -> int:
    """The index of its last frame."""
    bounds = probe.keyframe_indices
    return (int(bounds[gop + 1]) if gop + 1 < len(bounds) else probe.num_frames) - 1


def is_long_gop(probe: VideoProbe, gop: int) -> bool:
    """Whether a GOP is cut where it holds too much for one stretch, and worth a reader that stays in it meanwhile."""
    return last_of_gop(probe, gop) - int(probe.keyframe_indices[gop]) >= LONG_GOP_FRAMES


def is_read_through(probe: VideoProbe, *, after_index: int, gop: int) -> bool:
    """Whether a reader that stands behind a frame reaches a later GOP sooner by reading on than by a seek.

    Both ways give the same packets; nothing in between is decoded either way.
    """
    num_between = int(probe.keyframe_indices[gop]) - after_index - 1
    cost = UNINDEXED_SEEK_COST_PACKETS if probe.container in _UNINDEXED else SEEK_COST_PACKETS
    return 0 <= num_between <= cost


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
    stretch_bytes: int = STRETCH_BYTES,
    most_group_bytes: int | None = None,
) -> DecodePlan:
    """Choose decode passes for groups in visiting order.

    One pass where all frames fit the buffer. Else the fewest that each fit half of it, so that the next is read while
    one is scored; a group larger than half is a pass of its own. An empty buffer admits any pass.

    Args:
        probe: the video's timeline.
        sample_frame_indices: (F,) frames of the video that were sampled, ascending.
        patch_frames: (P, frames per patch) positions in ``sample_frame_indices``.
        groups: per group, in visiting order, its patch indices.
        frame_bytes: height * width * 3 of one decoded frame.
        frame_buffer_bytes: what decoded frames may take.
        num_stretches: pieces per pass, as far as there are GOPs.
        growing: first 8 groups, then 32, then the rest (AdaptToken-Lite), where that is expected to cost less.
        stretch_bytes: what the frames of one stretch may take; a GOP that is not long may exceed it.
        most_group_bytes: what one group may take; None: ``frame_buffer_bytes``, which may be only a part of the job's.

    Raises:
        PipelineError: ``TOO_LARGE`` when one group alone exceeds that.
        ValueError: for a count below 1 or no groups.
    """
    if min(frame_bytes, frame_buffer_bytes, num_stretches, stretch_bytes) < 1 or not groups:
        raise ValueError(
            "plan_decode needs at least one group and positive sizes and counts, got "
            f"{len(groups)=} {frame_bytes=} {frame_buffer_bytes=} {num_stretches=} {stretch_bytes=}"
        )
    wanted = [np.unique(sample_frame_indices[patch_frames[group]]) for group in groups]
    _refuse_large_group(
        probe, wanted, frame_bytes=frame_bytes, frame_buffer_bytes=most_group_bytes or frame_buffer_bytes
    )
    passes = []
    for positions in _choose_passes(probe, wanted, max_frames=frame_buffer_bytes // frame_bytes, growing=growing):
        frame_indices, max_frames = _union(wanted, positions), stretch_bytes // frame_bytes
        stretches = cut_stretches(probe, frame_indices, num_stretches=num_stretches, max_frames=max_frames)
        passes.append(DecodePass(group_positions=positions, stretches=stretches))
    return DecodePlan(passes=tuple(passes))


def cut_stretches(
    probe: VideoProbe, frame_indices: IntArray, *, num_stretches: int, max_frames: int | None = None
) -> tuple[Stretch, ...]:
    """Cut a pass at keyframes into runs of GOPs of about equal decode cost, and those that are too large again by size.

    ``costs 10 10 10 30, num_stretches=2  ->  10 10 10 | 30``

    Where all would be too large, more of equal size are fewer in the end: cut by size, each leaves a small rest, and
    every piece costs a coordinator alike.

    Args:
        probe: the video's timeline.
        frame_indices: (n,) wanted frames.
        num_stretches: at least, but fewer where there are fewer GOPs.
        max_frames: wanted frames per stretch; a GOP may hold more and is a stretch of its own then, unless it is long:
            then it is cut. What follows the cut is decoded from the keyframe on, unless the decoder stands there still.
    """
    frame_indices = np.unique(frame_indices)
    gops = _split_gops(probe, frame_indices)
    if max_frames is not None:
        gops = _cut_long_gops(probe, gops, frame_indices, max(1, max_frames))
    tried = [num_stretches]
    if max_frames is not None:  # of those that are cut evenly none exceeds the average by more than a GOP
        averages = max(1, max_frames), max(1, max_frames - int(gops.sizes.max()))
        tried = [max(num_stretches, -(-len(frame_indices) // average)) for average in averages] + tried
    cuts = (_bound_stretches(gops, num_stretches=number, max_frames=max_frames) for number in tried)
    bounds = min(cuts, key=len)
    ends = np.cumsum([0, *gops.sizes])
    return tuple(
        Stretch(
            frame_indices=frame_indices[ends[start] : ends[stop]],
            start_gop=int(gops.positions[start]),
            stop_gop=int(gops.positions[stop - 1]) + 1,
            num_frames_to_decode=int(gops.costs[start:stop].sum()),
        )
        for start, stop in pairwise(bounds)
    )


def _bound_stretches(gops: "_TouchedGops", *, num_stretches: int, max_frames: int | None) -> list[int]:
    """Where each run of GOPs begins, and the end of the last."""
    centres = np.cumsum(gops.costs) - gops.costs / 2
    pieces = np.minimum(centres * num_stretches // gops.costs.sum(), num_stretches - 1)
    bounds, num_held = [0], 0
    for at, size in enumerate(gops.sizes.tolist()):
        is_full = max_frames is not None and num_held + size > max_frames
        if at > 0 and (pieces[at] != pieces[at - 1] or is_full):
            bounds.append(at)
            num_held = 0
        num_held += size
    return [*bounds, len(gops.sizes)]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _TouchedGops:
    """(n,) per GOP that holds a wanted frame: its position, its wanted frames, the frames to decode for them."""

    positions: IntArray
    sizes: IntArray
    costs: IntArray


def _split_gops(probe: VideoProbe, frame_indices: IntArray) -> _TouchedGops:
    positions, starts, sizes = np.unique(probe.gop_of(frame_indices), return_index=True, return_counts=True)
    last_wanted = frame_indices[starts + sizes - 1]
    return _TouchedGops(
        positions=positions, sizes=sizes, costs=last_wanted - probe.keyframe_indices[positions] + np.int64(1)
    )


def _cut_long_gops(probe: VideoProbe, gops: _TouchedGops, frame_indices: IntArray, max_frames: int) -> _TouchedGops:
    """Long GOPs that hold more than ``max_frames`` wanted ones in pieces, whose costs add up to the GOP's."""
    positions, sizes, costs = [], [], []
    starts = np.cumsum(gops.sizes) - gops.sizes
    for position, start, size, cost in zip(
        gops.positions.tolist(), starts.tolist(), gops.sizes.tolist(), gops.costs.tolist(), strict=True
    ):
        most = max_frames if is_long_gop(probe, position) else size
        ends = [*range(most, size, most), size]
        last_wanted = frame_indices[start + np.array(ends) - 1]
        reached = cost - (last_wanted[-1] - last_wanted)  # frames decoded up to the end of each piece
        positions += [position] * len(ends)
        sizes += np.diff(ends, prepend=0).tolist()
        costs += np.diff(reached, prepend=0).tolist()
    return _TouchedGops(positions=np.array(positions), sizes=np.array(sizes), costs=np.array(costs))


def _union(wanted: Sequence[IntArray], positions: range) -> IntArray:
    return np.unique(np.concatenate(wanted[positions.start : positions.stop]))


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


def _choose_passes(probe: VideoProbe, wanted: Sequence[IntArray], *, max_frames: int, growing: bool) -> list[range]:
    fits_whole = len(_union(wanted, range(len(wanted)))) <= max_frames
    bound = max_frames if fits_whole else max_frames // 2
    plain = _fill_passes(wanted, max_frames=bound, forced_bounds=())
    if not growing:
        return plain
    grown = _fill_passes(wanted, max_frames=bound, forced_bounds=np.cumsum(GROWING_PASS_GROUPS).tolist())
    return min(plain, grown, key=lambda passes: _expected_cost(probe, wanted, passes))


def _expected_cost(probe: VideoProbe, wanted: Sequence[IntArray], passes: Sequence[range]) -> float:
    """Frames to decode when a question is equally likely to stop at any group: later passes are then often spared."""
    return sum(
        frames_to_decode(probe, _union(wanted, positions)) * (1 - positions.start / len(wanted)) for positions in passes
    )


def _fill_passes(wanted: Sequence[IntArray], *, max_frames: int, forced_bounds: Sequence[int]) -> list[range]:
    """Runs of groups, each as long as the bounds allow; with runs in order that is the fewest."""
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
