"""From a decode pass to pieces of work, one per stretch."""

from dataclasses import replace

import numpy as np

from pipeline.engine.video_plan import VideoPlan
from pipeline.engine.work import DecodeWork, WorkKey
from pipeline.video.decode_plan import DecodePass


def build_decode_work(plan: VideoPlan, decode_pass: DecodePass, *, uri: str, first_key: WorkKey) -> list[DecodeWork]:
    """One piece of work per stretch of a pass; each says which slots of which groups its frames fill."""
    wanted = {position: plan.group_frames(position) for position in decode_pass.group_positions}
    work = []
    for number, stretch in enumerate(decode_pass.stretches):
        inside = {
            position: np.flatnonzero(np.isin(frames, stretch.frame_indices)) for position, frames in wanted.items()
        }
        work.append(
            DecodeWork(
                key=replace(first_key, index=number),
                uri=uri,
                probe=plan.probe,
                stretch=stretch,
                slots={position: (slots, wanted[position][slots]) for position, slots in inside.items() if len(slots)},
                size=plan.decode_size,
            )
        )
    return work
