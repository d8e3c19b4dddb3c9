"""Draws the clips of every stage: single needles, or long videos with events, as the stage's share of steps asks."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from pipeline.lab.demo_training.curriculum import draw_style
from pipeline.lab.demo_training.event_examples import EventExampleMaker
from pipeline.lab.demo_training.event_styles import (
    EventStyle,
    draw_drill_style,
    draw_encore_style,
    draw_event_style,
    draw_glimpse_style,
    draw_practice_style,
    draw_rehearsal_style,
    draw_review_style,
)
from pipeline.lab.demo_training.examples import ClipStyle, Example, ExampleMaker
from pipeline.lab.demo_training.patches import PatchPool
from pipeline.lab.demo_training.question_text import TextMaker
from pipeline.lab.demo_training.recipe import Recipe
from pipeline.lab.synthetic.questions import KINDS, Kind

DrawClips = Callable[[int], list[Example]]  # number of clips -> clips of one style
_SHORT_FINAL_PASSES = 2.0  # stage of single-needle clips after which nothing grows harder


class ClipSource:
    """Every method fixes the style of one batch and returns what draws its clips.

    ``rng`` is the stage's stream. ``features_NKD`` are the pool's visual tokens,
    by which redundant ones are told: ``rehearsal`` needs them.
    """

    def __init__(
        self,
        pool: PatchPool,
        text: TextMaker,
        recipe: Recipe,
        rng: np.random.Generator,
        features_NKD: Tensor | None = None,
    ) -> None:
        count = recipe.num_questions
        self._recipe, self._rng = recipe, rng
        self._maker = ExampleMaker(pool, text, num_questions=count)
        self._event_maker = EventExampleMaker(pool, text, num_questions=count, features_NKD=features_NKD)

    def needles(self, stage: float) -> DrawClips:
        """Clips of single needles, harder with ``stage``."""
        return self._clips(draw_style(self._rng, stage=stage))

    def joint(self, _: float) -> DrawClips:
        """Groups and final passes."""
        return self.needles(1.0)

    def polish(self, _: float) -> DrawClips:
        """The same, with shorter final passes."""
        return self.needles(_SHORT_FINAL_PASSES)

    def glimpse(self, done: float) -> DrawClips:
        """More and more needles among first glimpses of events."""
        if self._rng.random() < self._recipe.needle_share * done:
            return self.needles(_SHORT_FINAL_PASSES)
        return self._events(draw_glimpse_style(self._rng))

    def events(self, done: float) -> DrawClips:
        """Clips of one style: of single needles as in the fourth stage, or of long videos with events."""
        if self._rng.random() < self._recipe.needle_share * (0.5 + 0.5 * done):
            return self.needles(_SHORT_FINAL_PASSES)
        return self._events(draw_event_style(self._rng, progress=done))

    def practice(self, _: float) -> DrawClips:
        """As at the end of the events."""
        is_needle = self._rng.random() < self._recipe.needle_share
        return self.needles(_SHORT_FINAL_PASSES) if is_needle else self._events(draw_practice_style(self._rng))

    def drill(self, _: float) -> DrawClips:
        """The hardest of them."""
        is_needle = self._rng.random() < self._recipe.needle_share
        return self.needles(_SHORT_FINAL_PASSES) if is_needle else self._events(draw_drill_style(self._rng))

    def rehearsal(self, _: float) -> DrawClips:
        """What a run's selection leaves."""
        is_needle = self._rng.random() < self._recipe.rehearsal_needle_share
        return self.needles(_SHORT_FINAL_PASSES) if is_needle else self._events(draw_rehearsal_style(self._rng))

    def review(self, _: float) -> DrawClips:
        """The same, in larger passes too."""
        is_needle = self._rng.random() < self._recipe.rehearsal_needle_share
        return self.needles(_SHORT_FINAL_PASSES) if is_needle else self._events(draw_review_style(self._rng))

    def encore(self, _: float) -> DrawClips:
        """The same, as a run with a small budget asks."""
        is_needle = self._rng.random() < self._recipe.rehearsal_needle_share
        return self.needles(_SHORT_FINAL_PASSES) if is_needle else self._events(draw_encore_style(self._rng))

    def of_style(self, style: ClipStyle | EventStyle, count: int, *, kinds: Sequence[Kind] = KINDS) -> list[Example]:
        """``count`` clips of one style; ``kinds`` limits what is asked about long videos."""
        if isinstance(style, ClipStyle):
            return [self._maker.make(self._rng, style) for _ in range(count)]
        return [self._event_maker.make(self._rng, style, kinds=kinds) for _ in range(count)]

    def _clips(self, style: ClipStyle) -> DrawClips:
        return lambda count: self.of_style(style, count)

    def _events(self, style: EventStyle) -> DrawClips:
        return lambda count: self.of_style(style, count)
