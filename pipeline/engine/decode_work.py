"""From a decode pass to pieces of work: which slots of which groups each stretch fills. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.engine.slot_table import SlotTable
from pipeline.engine.video_plan import VideoPlan
from pipeline.engine.work import DecodeWork, Ref, WorkKey
from pipeline.video.decode_plan import Stretch, frames_to_decode

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoSource:
    """Where decoders find a video, a reference to its timeline, and how many groups share a bundle of frames."""

    uri: str
    fingerprint: str
    probe: Ref
    groups_per_bundle: int = 1


@dataclass(frozen=True, slots=True)
class SlotRange:
    """Consecutive slots ``[start, stop)`` of one group, and the frames of the video that they show."""

    start: int
    stop: int
    frames: IntArray


def split_slots(plan: VideoPlan, pass_index: int, positions: Sequence[int]) -> dict[int, dict[int, SlotRange]]:
    """Group position -> stretch of the pass -> what that stretch fills; empty ones are left out.

    Stretches follow each other in time and a group's frames rise, so each stretch fills slots that lie side by side.
    """
    bounds = np.array([stretch.frame_indices[0] for stretch in plan.passes[pass_index].stretches[1:]])
    return {position: _split(plan.group_frames(position), bounds) for position in positions}


def _split(frames: IntArray, bounds: IntArray) -> dict[int, SlotRange]:
    cuts = [0, *np.searchsorted(frames, bounds, side="left").tolist(), len(frames)]
    return {
        stretch: SlotRange(start, stop, frames[start:stop])
        for stretch, (start, stop) in enumerate(pairwise(cuts))
        if start < stop
    }


def build_decode_work(
    plan: VideoPlan, key: WorkKey, *, source: VideoSource, pass_index: int, slots: Mapping[int, SlotRange]
) -> DecodeWork:
    """One stretch of a pass, cut down to the groups that need it; ``key.index`` is the stretch."""
    stretch, table = plan.passes[pass_index].stretches[key.index], build_table(slots)
    wanted = np.unique(table.frames)
    if len(wanted) < len(stretch.frame_indices):
        stretch = Stretch(
            frame_indices=wanted,
            start_gop=stretch.start_gop,
            stop_gop=stretch.stop_gop,
            num_frames_to_decode=frames_to_decode(plan.probe, wanted),
        )
    return DecodeWork(
        key=key,
        uri=source.uri,
        fingerprint=source.fingerprint,
        probe=source.probe,
        stretch=stretch,
        slots=table,
        groups_per_bundle=source.groups_per_bundle,
        size=plan.decode_size,
    )


def build_table(slots: Mapping[int, SlotRange]) -> SlotTable:
    """Group position -> range, as arrays."""
    ranges = slots.values()
    return SlotTable(
        positions=tuple(slots),
        starts=np.cumsum([0, *(piece.stop - piece.start for piece in ranges)]),
        slots=np.concatenate([np.arange(piece.start, piece.stop) for piece in ranges]),
        frames=np.concatenate([piece.frames for piece in ranges]),
    )
