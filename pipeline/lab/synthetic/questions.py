"""What is asked about a planned video, and the one right answer. The wordings are fixed; options are permuted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from pipeline.demo.scenes import COLORS
from pipeline.lab.synthetic.timeline import MOST_APPEARANCES, Event, Timeline

Kind = Literal["needle", "order", "last", "count", "absent"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NUM_OPTIONS = 4
MOST_QUESTIONS_PER_KIND = 2
_COLOR_NAMES = tuple(COLORS)


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnQuestion:
    """One question with four options.

    ``answer`` is the right option, None where nothing in the video answers the question. ``evidence`` are the events
    that decide it, by time: the needle, both needles of a pair, the last event, all events counted.
    """

    kind: Kind
    text: str
    options: tuple[str, ...]
    answer: str | None
    shapes: tuple[str, ...]
    evidence: tuple[Event, ...]

    @property
    def expected(self) -> str | None:
        """The letter of the right option."""
        return None if self.answer is None else "ABCD"[self.options.index(self.answer)]


def subjects_of(plan: Timeline, kind: Kind) -> list[tuple[str, ...]]:
    """What a question of this kind may be about: one shape each."""
    shapes: dict[Kind, tuple[str, ...]] = {
        "needle": plan.needles,
        "order": plan.pairs,
        "last": plan.series,
        "count": (*plan.series, plan.needles[0]),  # a needle appears once
        "absent": plan.absent,
    }
    return [(shape,) for shape in shapes[kind]]


def ask(rng: np.random.Generator, plan: Timeline, kind: Kind, shapes: tuple[str, ...]) -> DrawnQuestion:
    """Word one question and draw its options."""
    (shape,) = shapes
    events = plan.of_shape(shape)
    if kind == "count":
        numbers = [str(number) for number in range(1, MOST_APPEARANCES + 1)]
        text = f"How many times does the {shape} appear?"
        return _question(rng, kind, text, numbers, str(len(events)), shapes, events)
    colors = [event.color for event in events]
    if kind in ("order", "last"):
        word, answer = ("first", events[0]) if kind == "order" else ("last", events[-1])
        options = [answer.color, *_other_colors(rng, answer.color, first=colors)]
        evidence = events if kind == "order" else (answer,)
        return _question(
            rng, kind, f"What is the {word} color of the {shape}?", options, answer.color, shapes, evidence
        )
    right = colors[0] if events else str(rng.choice(_COLOR_NAMES))
    options = [right, *_other_colors(rng, right, first=())]
    return _question(rng, kind, f"What color is the {shape}?", options, right if events else None, shapes, events)


def _other_colors(rng: np.random.Generator, answer: str, *, first: Sequence[str]) -> list[str]:
    """Three wrong colours; those the object really had earlier come first."""
    others = [str(color) for color in rng.permutation([color for color in _COLOR_NAMES if color != answer])]
    return sorted(others, key=lambda color: color not in first)[: NUM_OPTIONS - 1]


def _question(
    rng: np.random.Generator,
    kind: Kind,
    text: str,
    options: Sequence[str],
    answer: str | None,
    shapes: tuple[str, ...],
    evidence: tuple[Event, ...],
) -> DrawnQuestion:
    permuted = tuple(str(option) for option in rng.permutation(options))
    return DrawnQuestion(kind=kind, text=text, options=permuted, answer=answer, shapes=shapes, evidence=evidence)


def draw_questions(
    rng: np.random.Generator, plan: Timeline, *, kinds: Sequence[Kind] = KINDS, per_kind: int = MOST_QUESTIONS_PER_KIND
) -> list[DrawnQuestion]:
    """At most ``per_kind`` questions of each kind, about different shapes; only one shape never appears."""
    questions: list[DrawnQuestion] = []
    for kind in KINDS:  # always drawn in the same order: leaving a kind out does not change the others
        subjects = subjects_of(plan, kind)
        chosen = rng.permutation(len(subjects))[:per_kind]
        asked = [ask(rng, plan, kind, subjects[index]) for index in chosen]
        questions += asked if kind in kinds else []
    return questions
