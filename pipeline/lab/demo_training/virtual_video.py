"""A long video as a plan only: which event each temporal patch shows, and which groups show what is asked about.

Shape suffixes: P = temporal patches of the video, G = its groups
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.lab.synthetic.timeline import Timeline

_FOCUSED_GROUPS = 0.5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VirtualVideo:
    """A planned video, cut into temporal patches and interleaved groups."""

    plan: Timeline
    num_groups: int
    event_P: NDArray[np.int64]  # index into plan.events, −1 = background


def shows_focus(video: VirtualVideo, focus: tuple[str, ...]) -> NDArray[np.bool_]:
    """``(P,)`` whether an event in focus is on the patch."""
    return np.asarray(np.array([*(event.shape in focus for event in video.plan.events), False])[video.event_P])


def is_latest(video: VirtualVideo, patches_P: NDArray[np.int64], is_focus_P: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``(P,)`` whether a patch shows the last of the asked events that its group shows."""
    event_P, group_P = video.event_P[patches_P], patches_P % video.num_groups
    latest_G = np.full(video.num_groups, -1)
    np.maximum.at(latest_G, group_P[is_focus_P], event_P[is_focus_P])
    return np.asarray(is_focus_P & (event_P == latest_G[group_P]))


def events_by_group(video: VirtualVideo, is_focus_P: NDArray[np.bool_]) -> NDArray[np.int64]:
    """``(G,)`` how many of the asked events each group shows."""
    pairs = np.unique(
        np.stack([np.arange(len(is_focus_P))[is_focus_P] % video.num_groups, video.event_P[is_focus_P]]), axis=1
    )
    return np.asarray(np.bincount(pairs[0], minlength=video.num_groups), dtype=np.int64)


def draw_group(rng: np.random.Generator, video: VirtualVideo, focus: tuple[str, ...]) -> int:
    """Any group, or, as often, one that shows something of what is asked: few groups show a needle, fewer a pair."""
    num_events_G = events_by_group(video, shows_focus(video, focus))
    if rng.random() < _FOCUSED_GROUPS and num_events_G.any():
        seen = int(rng.choice(np.unique(num_events_G[num_events_G > 0])))
        return int(rng.choice(np.flatnonzero(num_events_G == seen)))
    return int(rng.integers(video.num_groups))


def draw_groups(
    rng: np.random.Generator, video: VirtualVideo, is_focus_P: NDArray[np.bool_], *, fewest: int, most: int
) -> NDArray[np.int64]:
    """Groups that a final pass takes tokens of: mostly those that show many of the asked events."""
    num_events_G = events_by_group(video, is_focus_P)
    noise_G = rng.gumbel(size=video.num_groups) * rng.choice([0.2, 1.0, 3.0])
    count = round(math.exp(rng.uniform(math.log(min(2, most) / 2), math.log(most))))
    return np.asarray(np.argsort(-(num_events_G + noise_G), kind="stable")[: max(count, fewest)], dtype=np.int64)
