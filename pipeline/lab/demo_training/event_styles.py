"""What training clips of long videos look like as training goes on: from glimpses of one object to whole groups."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.lab.demo_training.curriculum import TOKENS_PER_PATCH
from pipeline.lab.synthetic.timeline import TimelineSpec

GROUP_PATCHES = 32
FEWEST_GROUPS, MOST_GROUPS = 8, 160
PARTIAL_STRIDES, CLEAR_STRIDES = (0.3, 1.5), (1.0, 1.2)  # from 1 on, every group shows every event
MOST_DISTRACTORS = 0.06
_SHORT_GROUPS, _SHORT_STRIDES = 24, 1.2
_GLIMPSE_SHARE, _GLIMPSE_COUNT_WEIGHT = 0.85, 1.2
_PARTIAL_FROM = 0.7  # of the steps
_REVIEWED_LARGE, _ENCORE_SMALL = 0.3, 0.5
_REHEARSED_GROUPS, _REHEARSED_GLIMPSES, _REHEARSED_PARTIAL = 0.25, 0.15, 0.15


@dataclass(frozen=True, kw_only=True, slots=True)
class EventStyle:
    """What one batch of clips looks like.

    ``event_strides`` are event durations, in strides of a group. A tiny final pass holds tokens of one or two groups,
    what is asked about first. The weights say how often order and count are asked (last values: 1.4).
    """

    view: Literal["group", "final"]
    num_tokens: int
    event_strides: tuple[float, float]
    is_tiny: bool = False
    order_weight: float = 1.4
    count_weight: float = 0.5
    over_select: float = 1.1
    proximity_s: float | None = None  # None: the surplus is dropped by chance, not by likeness
    event_bias: float = 0.0
    late_share: float = 0.0  # of last values, in which every group likes the last appearance that it shows best


def draw_glimpse_style(rng: np.random.Generator) -> EventStyle:
    """Final passes of a few tokens, nearly all of them of one object; only when it comes in which colour differs."""
    if rng.random() < _GLIMPSE_SHARE:
        tokens = int(rng.integers(8, 20))
        style = EventStyle(view="final", num_tokens=tokens, event_strides=CLEAR_STRIDES, is_tiny=True)
    else:
        style = _draw_long_style(rng, partial_share=0.0, most_tokens=160)
    return replace(style, count_weight=_GLIMPSE_COUNT_WEIGHT)


def draw_event_style(rng: np.random.Generator, *, progress: float) -> EventStyle:
    """Passes of one or two groups that grow to whole groups, more and more of them among ordinary ones."""
    if rng.random() < 0.7 - 0.45 * progress:
        most = 20 + round(108 * min(1.0, progress / 0.6))
        tokens = int(rng.integers(8, most + 1))
        return EventStyle(view="final", num_tokens=tokens, event_strides=CLEAR_STRIDES, is_tiny=True)
    most_tokens = 40 + round(100 * progress)
    return _draw_long_style(rng, partial_share=0.3 if progress > _PARTIAL_FROM else 0.0, most_tokens=most_tokens)


def draw_practice_style(rng: np.random.Generator) -> EventStyle:
    """As at the end of the events, with more questions about order, which is learnt last."""
    return replace(draw_event_style(rng, progress=float(rng.uniform(0.4, 1.0))), order_weight=2.2, count_weight=0.3)


def draw_drill_style(rng: np.random.Generator) -> EventStyle:
    """As late in the events, mostly whole groups and ordinary final passes."""
    return replace(draw_event_style(rng, progress=float(rng.uniform(0.7, 1.0))), order_weight=2.2, count_weight=0.5)


def draw_rehearsal_style(rng: np.random.Generator) -> EventStyle:
    """Mostly short final passes, bought and thinned as in a run, in which one appearance may outshine the others."""
    kind = rng.random()
    strides = PARTIAL_STRIDES if rng.random() < _REHEARSED_PARTIAL else CLEAR_STRIDES
    if kind < _REHEARSED_GROUPS:
        style = EventStyle(view="group", num_tokens=GROUP_PATCHES * TOKENS_PER_PATCH, event_strides=strides)
    elif kind < _REHEARSED_GROUPS + _REHEARSED_GLIMPSES:
        style = EventStyle(view="final", num_tokens=int(rng.integers(8, 41)), event_strides=CLEAR_STRIDES, is_tiny=True)
    else:
        style = EventStyle(
            view="final",
            num_tokens=int(rng.choice([16, round(math.exp(rng.uniform(math.log(12), math.log(64))))])),
            event_strides=strides,
            over_select=float(rng.choice([4.0, 8.0])),
            proximity_s=float(rng.choice([10.0, 60.0])),
            event_bias=1.0,
        )
    return replace(style, order_weight=2.2, count_weight=0.5)


def draw_review_style(rng: np.random.Generator) -> EventStyle:
    """As in rehearsal, and some final passes hold more tokens."""
    style = draw_rehearsal_style(rng)
    if style.view == "final" and not style.is_tiny and rng.random() < _REVIEWED_LARGE:
        style = replace(style, num_tokens=round(math.exp(rng.uniform(math.log(32), math.log(128)))))
    return style


def draw_encore_style(rng: np.random.Generator) -> EventStyle:
    """As in review, with the small budget of a run most of the time and a ranking that knows what is asked."""
    style = replace(draw_review_style(rng), late_share=0.7)
    if style.view == "final" and not style.is_tiny and rng.random() < _ENCORE_SMALL:
        return replace(style, num_tokens=16)
    return style


def _draw_long_style(rng: np.random.Generator, *, partial_share: float, most_tokens: int) -> EventStyle:
    strides = PARTIAL_STRIDES if rng.random() < partial_share else CLEAR_STRIDES
    if rng.random() < 0.5:
        return EventStyle(view="group", num_tokens=GROUP_PATCHES * TOKENS_PER_PATCH, event_strides=strides)
    num_tokens = round(math.exp(rng.uniform(math.log(12), math.log(most_tokens))))
    return EventStyle(view="final", num_tokens=num_tokens, event_strides=strides)


def timeline_spec(num_groups: int, event_strides: tuple[float, float], *, distractor_density: float) -> TimelineSpec:
    """Events that last so many strides of a group; in videos of few groups at most ``_SHORT_STRIDES``."""
    longest = min(event_strides[1], _SHORT_STRIDES if num_groups < _SHORT_GROUPS else math.inf)
    return TimelineSpec(
        event_share=(event_strides[0] / GROUP_PATCHES, longest / GROUP_PATCHES),
        distractor_density=distractor_density,
    )
