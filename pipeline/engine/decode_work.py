"""From a decode pass to pieces of work: which slots of which groups each stretch fills. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.engine.video_plan import VideoPlan
from pipeline.engine.work import DecodeWork, WorkKey
from pipeline.video.decode_plan import Stretch, frames_to_decode

IntArray = npt.NDArray[np.int64]
Slots = tuple[IntArray, IntArray]  # slots of the group, frames of the video


def split_slots(plan: VideoPlan, pass_index: int, positions: Sequence[int]) -> dict[int, dict[int, Slots]]:
    """Group position -> stretch of the pass -> what that stretch fills; empty ones are left out."""
    stretches = plan.passes[pass_index].stretches
    starts = np.array([stretch.frame_indices[0] for stretch in stretches])
    return {position: _split(plan.group_frames(position), starts) for position in positions}


def _split(frames: IntArray, starts: IntArray) -> dict[int, Slots]:
    """Stretches follow each other in time, so each frame lies in the last one that starts before it."""
    owners = np.searchsorted(starts, frames, side="right") - 1
    slots = np.argsort(owners, kind="stable")
    found, firsts = np.unique(owners[slots], return_index=True)
    pieces = np.split(slots, firsts[1:])
    return {int(owner): (piece, frames[piece]) for owner, piece in zip(found, pieces, strict=True)}


def build_decode_work(
    plan: VideoPlan, key: WorkKey, *, uri: str, pass_index: int, slots: Mapping[int, Slots]
) -> DecodeWork:
    """One stretch of a pass, cut down to the groups that need it; ``key.index`` is the stretch."""
    stretch = plan.passes[pass_index].stretches[key.index]
    wanted = np.unique(np.concatenate([frames for _, frames in slots.values()]))
    if len(wanted) < len(stretch.frame_indices):
        stretch = Stretch(
            frame_indices=wanted,
            start_gop=stretch.start_gop,
            stop_gop=stretch.stop_gop,
            num_frames_to_decode=frames_to_decode(plan.probe, wanted),
        )
    return DecodeWork(key=key, uri=uri, probe=plan.probe, stretch=stretch, slots=dict(slots), size=plan.decode_size)
