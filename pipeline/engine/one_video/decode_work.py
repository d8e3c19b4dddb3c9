"""From a decode pass to pieces of work: which slots of which groups each stretch fills. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.messages.work import DecodeWork, Ref
from pipeline.engine.one_video.frame_parts import GroupParts
from pipeline.planning.video_plan import VideoPlan
from pipeline.video.decode_plan import Stretch, frames_to_decode
from pipeline.video.slot_table import SlotTable


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoSource:
    """Where decoders find a video, a reference to its timeline, and how many groups share a bundle of frames."""

    uri: str
    fingerprint: str
    probe: Ref
    groups_per_bundle: int = 1


def build_decode_work(
    plan: VideoPlan, key: WorkKey, *, source: VideoSource, pass_index: int, parts: Mapping[int, GroupParts]
) -> DecodeWork:
    """One stretch of a pass, cut down to the groups that need it; ``key.index`` is the stretch."""
    stretch, table = plan.passes[pass_index].stretches[key.index], build_table(parts, key.index)
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


def build_table(parts: Mapping[int, GroupParts], stretch: int) -> SlotTable:
    """What one stretch gives some groups, as arrays."""
    first = np.array([part.cuts[stretch] for part in parts.values()])
    stop = np.array([part.cuts[stretch + 1] for part in parts.values()])
    starts = np.concatenate([[0], np.cumsum(stop - first)])
    pieces = zip(parts.values(), first.tolist(), stop.tolist(), strict=True)
    return SlotTable(
        positions=tuple(parts),
        starts=starts,
        slots=np.arange(starts[-1]) + np.repeat(first - starts[:-1], stop - first),
        frames=np.concatenate([part.frames[start:end] for part, start, end in pieces]),
    )
