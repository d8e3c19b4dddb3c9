"""What is asked about a story, and the one right answer. The wordings are fixed; options are permuted.

Needle, order, last, count and absent are worded as in ``synthetic``; scene, detail and twice are new: *scene* needs two
places of one picture, *detail* one letter of a small sign, *twice* one of two scenes that are far apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from pipeline.lab.moments.plan import COLOR_NAMES, MOST_APPEARANCES, Sighting, Story, Thing
from pipeline.lab.moments.sprites import GLYPHS

Kind = Literal["needle", "order", "last", "count", "scene", "detail", "twice", "absent", "no_scene", "no_sign"]
KINDS: tuple[Kind, ...] = get_args(Kind)
UNANSWERABLE: tuple[Kind, ...] = ("absent", "no_scene", "no_sign")
NUM_OPTIONS = 4
MOST_QUESTIONS_PER_KIND = 2
_ROLE_OF: dict[Kind, str] = {
    "needle": "needle",
    "order": "pair",
    "last": "series",
    "scene": "subject",
    "detail": "sign",
    "twice": "twice",
    "absent": "absent",
    "no_scene": "absent",
    "no_sign": "no_sign",
}
_STEPS: dict[str, tuple[int, int]] = {
    "left of": (0, -1),
    "right of": (0, 1),
    "above": (-1, 0),
    "below": (1, 0),
}
_PLACES = ("first", "second", "third")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One question with four options.

    ``answer`` is the right option, None where nothing in the video answers it. ``evidence`` are the moments that decide
    it, by time; ``needed`` says which kinds of object, in those moments, a reader has to see.
    """

    kind: Kind
    text: str
    options: tuple[str, ...]
    answer: str | None
    subject: str
    evidence: tuple[Sighting, ...]
    needed: tuple[str, ...]

    @property
    def expected(self) -> str | None:
        """The letter of the right option."""
        return None if self.answer is None else "ABCD"[self.options.index(self.answer)]


def subjects_of(story: Story, kind: Kind) -> tuple[str, ...]:
    """Kinds of object, or colours of signs, that a question of this kind may be about."""
    if kind == "count":
        return (*story.kinds_of["series"], story.kinds_of["needle"][0])  # a needle appears once
    return story.kinds_of[_ROLE_OF[kind]]


def ask(rng: np.random.Generator, story: Story, kind: Kind, subject: str) -> Asked:
    """Word one question and draw its options."""
    if kind in ("scene", "twice", "no_scene"):
        return _ask_about_place(rng, story, kind, subject)
    if kind in ("detail", "no_sign"):
        return _ask_about_sign(rng, story, kind, subject)
    moments = story.of_kind(subject)
    colors = [moment.things[0].color for moment in moments]
    if kind == "count":
        numbers = [str(number) for number in range(1, MOST_APPEARANCES + 1)]
        text = f"How many times does the {subject} appear?"
        return _asked(rng, kind, text, numbers, str(len(moments)), subject, moments, (subject,))
    if kind in ("order", "last"):
        word, index = ("first", 0) if kind == "order" else ("last", -1)
        text = f"What is the {word} color of the {subject}?"
        evidence = moments if kind == "order" else moments[-1:]
        options = [colors[index], *_others(rng, COLOR_NAMES, colors[index], first=colors)]
        return _asked(rng, kind, text, options, colors[index], subject, evidence, (subject,))
    right = colors[0] if colors else str(rng.choice(COLOR_NAMES))
    options = [right, *_others(rng, COLOR_NAMES, right)]
    answer = right if colors else None
    return _asked(rng, kind, f"What color is the {subject}?", options, answer, subject, moments, (subject,))


def _ask_about_place(rng: np.random.Generator, story: Story, kind: Kind, subject: str) -> Asked:
    """Options are things of the scenes asked about; without one, fillers."""
    moments = story.of_kind(subject)
    when = ""
    if kind == "no_scene":
        relation = str(rng.choice(list(_STEPS)))
        options = [str(name) for name in rng.permutation(story.kinds_of["filler"])[:NUM_OPTIONS]]
        return _asked(rng, kind, f"What is {relation} the {subject}?", options, None, subject, (), (subject,))
    moment = moments[0]
    if kind == "twice":
        moment, when = (moments[0], " the first time") if rng.random() < 0.5 else (moments[-1], " the last time")
    relation, thing, named = _draw_relation(rng, moment, subject)
    first = [thing.kind]
    for other in moments:  # what stands in the same place the other time is a wrong option
        if other is not moment and relation in _STEPS:
            place, (down, right) = other.thing(subject), _STEPS[relation]
            beside = other.at(place.row + down, place.column + right)
            first += [beside.kind] if beside is not None else []
    everything = [t.kind for m in moments for t in m.things if t.kind not in (subject, *named)]
    options = [thing.kind, *_others(rng, tuple(dict.fromkeys(everything)), thing.kind, first=first)]
    text = f"What is {relation} the {subject}{when}?"
    if relation == "between":
        text = f"What is between the {named[0]} and the {named[1]}{when}?"
    return _asked(rng, kind, text, options, thing.kind, subject, moments, (subject, thing.kind, *named))


def _draw_relation(rng: np.random.Generator, moment: Sighting, subject: str) -> tuple[str, Thing, tuple[str, ...]]:
    """Relation, what stands there, and the two named objects of *between* (left or upper one first)."""
    place = moment.thing(subject)
    found: list[tuple[str, Thing, tuple[str, ...]]] = []
    for relation, (down, right) in _STEPS.items():
        beside = moment.at(place.row + down, place.column + right)
        beyond = moment.at(place.row + 2 * down, place.column + 2 * right)
        if beside is not None:
            found.append((relation, beside, ()))
        if beside is not None and beyond is not None:
            ends = (subject, beyond.kind) if down + right > 0 else (beyond.kind, subject)
            found.append(("between", beside, ends))
    return found[int(rng.integers(len(found)))]


def _ask_about_sign(rng: np.random.Generator, story: Story, kind: Kind, color: str) -> Asked:
    """Letters of the sign in other places are wrong options."""
    moment = story.sign(color)
    if kind == "no_sign" or moment is None:
        place = str(rng.choice(_PLACES[:2]))
        options = [str(letter) for letter in rng.permutation(GLYPHS)[:NUM_OPTIONS]]
        return _asked(rng, kind, f"What is the {place} letter on the {color} sign?", options, None, color, (), ())
    index = int(rng.integers(len(moment.letters)))
    answer = moment.letters[index]
    options = [answer, *_others(rng, GLYPHS, answer, first=list(moment.letters))]
    text = f"What is the {_PLACES[index]} letter on the {color} sign?"
    return _asked(rng, kind, text, options, answer, color, (moment,), ())


def _others(rng: np.random.Generator, names: tuple[str, ...], answer: str, *, first: Sequence[str] = ()) -> list[str]:
    """Three wrong options; those in ``first`` come first."""
    others = [str(name) for name in rng.permutation([name for name in names if name != answer])]
    return sorted(others, key=lambda name: name not in first)[: NUM_OPTIONS - 1]


def _asked(
    rng: np.random.Generator,
    kind: Kind,
    text: str,
    options: Sequence[str],
    answer: str | None,
    subject: str,
    evidence: Sequence[Sighting],
    needed: tuple[str, ...],
) -> Asked:
    permuted = tuple(str(option) for option in rng.permutation(options))
    return Asked(
        kind=kind,
        text=text,
        options=permuted,
        answer=answer,
        subject=subject,
        evidence=tuple(evidence),
        needed=needed,
    )


def draw_questions(
    rng: np.random.Generator, story: Story, *, kinds: Sequence[Kind] = KINDS, per_kind: int = MOST_QUESTIONS_PER_KIND
) -> list[Asked]:
    """At most ``per_kind`` questions of each kind, about different subjects; leaving a kind out changes no other."""
    questions: list[Asked] = []
    for kind in KINDS:
        subjects = subjects_of(story, kind)
        chosen = rng.permutation(len(subjects))[:per_kind]
        asked = [ask(rng, story, kind, subjects[index]) for index in chosen]
        questions += asked if kind in kinds else []
    return questions
