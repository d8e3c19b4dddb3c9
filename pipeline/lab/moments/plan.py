"""Which moments a long video has, and when: single objects, scenes of several, signs. Pure planning: no pixels.

Every kind of object and every colour of a sign has one role in a video, so that nothing asked about is a distractor:

- needle: seen once; pair: seen twice, in two colours; series: seen two to four times, for a stated share of the video;
- subject: stands in one scene, among fillers, which stand in other scenes too; twice: stands in two scenes;
- sign: one panel of this colour with two or three letters;
- absent: never; distractor: as often as the density says, never asked about.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.demo.scenes import COLORS
from pipeline.lab.moments.kinds import KINDS_OF_OBJECT
from pipeline.lab.moments.sprites import GLYPHS
from pipeline.lab.synthetic.timeline import MIN_GAP_FRAMES, draw_starts

COLOR_NAMES = tuple(COLORS)
Form = Literal["object", "scene", "sign"]
_NUMBERS = {"needle": 2, "pair": 2, "series": 2, "subject": 2, "twice": 2, "absent": 1, "distractor": 2}
_SIGN_NUMBERS = {"sign": 2, "no_sign": 1}
FEWEST_APPEARANCES, MOST_APPEARANCES = 2, 4  # of a series
_SHORTEST_VIDEO_PER_NEEDLE = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class StorySpec:
    """How long and how often things are seen; ``*_frames`` count sampled frames, ranges include both ends."""

    needle_frames: tuple[int, int] = (2, 64)
    scene_frames: tuple[int, int] = (2, 4)
    sign_frames: tuple[int, int] = (2, 8)
    event_share: tuple[float, float] = (1 / 32, 1.2 / 32)
    distractor_density: float = 0.06
    frames_per_distractor_scene: int = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """One object: ``row`` and ``column`` are its place in a scene."""

    kind: str
    color: str
    row: int = 0
    column: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """Something in view in the sampled frames ``[start_frame, end_frame)``; ``letters`` are a sign's."""

    form: Form
    start_frame: int
    end_frame: int
    things: tuple[Thing, ...] = ()
    rows: int = 1
    columns: int = 1
    sign_color: str | None = None
    letters: str = ""

    def shows(self, kind: str) -> bool:
        """Whether an object of this kind is among its things."""
        return any(thing.kind == kind for thing in self.things)

    def thing(self, kind: str) -> Thing:
        """The object of this kind."""
        return next(thing for thing in self.things if thing.kind == kind)

    def at(self, row: int, column: int) -> Thing | None:
        """What stands in a place of a scene; None outside."""
        return next((thing for thing in self.things if (thing.row, thing.column) == (row, column)), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """All moments of one video by time, and the role of each kind of object and each colour of a sign."""

    num_frames: int
    moments: tuple[Sighting, ...]
    kinds_of: dict[str, tuple[str, ...]]

    def of_kind(self, kind: str) -> tuple[Sighting, ...]:
        """All moments that show an object of this kind, by time."""
        return tuple(moment for moment in self.moments if moment.shows(kind))

    def sign(self, color: str) -> Sighting | None:
        """The sign of this colour."""
        return next((moment for moment in self.moments if moment.sign_color == color), None)


def scene_grid(rng: np.random.Generator, aspect: float) -> tuple[int, int]:
    """Rows and columns of a scene in a picture that is ``aspect`` times as wide as high."""
    if aspect > 2:
        return 2, 4
    if aspect > 1.1:
        return 2, 3
    if aspect > 0.9:
        return (2, 3) if rng.random() < 0.5 else (3, 2)
    return 3, 2


def draw_scene(rng: np.random.Generator, *, subject: str | None, others: tuple[str, ...], aspect: float) -> Sighting:
    """A full grid of different kinds, the subject anywhere among them; its time is still to be set."""
    rows, columns = scene_grid(rng, aspect)
    chosen = [str(kind) for kind in rng.permutation(others)[: rows * columns - (subject is not None)]]
    kinds = rng.permutation([*chosen, *([subject] if subject is not None else [])])
    things = tuple(
        Thing(kind=str(kind), color=str(rng.choice(COLOR_NAMES)), row=index // columns, column=index % columns)
        for index, kind in enumerate(kinds)
    )
    return Sighting(form="scene", start_frame=0, end_frame=0, things=things, rows=rows, columns=columns)


def draw_sign(rng: np.random.Generator, color: str) -> Sighting:
    """Two or three different letters on a panel."""
    letters = "".join(rng.permutation(GLYPHS)[: int(rng.integers(2, 4))])
    return Sighting(form="sign", start_frame=0, end_frame=0, sign_color=color, letters=letters)


def draw_story(rng: np.random.Generator, spec: StorySpec, num_frames: int, *, aspect: float) -> Story:
    """Draw roles, durations, places in time and colours; any arrangement of the moments is equally likely.

    Raises:
        ValueError: If the video is too short for what it has to show.
    """
    kinds_of = _split(rng, KINDS_OF_OBJECT, _NUMBERS, rest="filler")
    kinds_of |= _split(rng, COLOR_NAMES, _SIGN_NUMBERS, rest="distractor_sign")
    moments, lengths = _draw_moments(rng, spec, num_frames, kinds_of, aspect)
    order = rng.permutation(len(moments))
    needed = int(lengths.sum()) + MIN_GAP_FRAMES * len(moments)
    if needed > num_frames:
        raise ValueError(
            f"a video of {num_frames} frames may need {needed} for its moments; use longer videos, a smaller "
            f"event_share than {spec.event_share}, or fewer distractors"
        )
    starts = draw_starts(rng, lengths[order], num_frames)
    colors: dict[str, str] = {}
    placed: list[Sighting] = []
    for index, start in zip(order, starts, strict=True):
        moment, end = moments[index], int(start + lengths[index])
        things = moment.things
        if moment.form == "object":  # never twice in a row in the same colour
            kind = things[0].kind
            colors[kind] = str(rng.choice([color for color in COLOR_NAMES if color != colors.get(kind)]))
            things = (Thing(kind=kind, color=colors[kind]),)
        placed.append(_timed(moment, things, int(start), end))
    return Story(num_frames=num_frames, moments=tuple(placed), kinds_of=kinds_of)


def _timed(moment: Sighting, things: tuple[Thing, ...], start: int, end: int) -> Sighting:
    return Sighting(
        form=moment.form,
        start_frame=start,
        end_frame=end,
        things=things,
        rows=moment.rows,
        columns=moment.columns,
        sign_color=moment.sign_color,
        letters=moment.letters,
    )


def _split(
    rng: np.random.Generator, names: tuple[str, ...], numbers: dict[str, int], *, rest: str
) -> dict[str, tuple[str, ...]]:
    permuted = [str(name) for name in rng.permutation(names)]
    ends = np.cumsum(list(numbers.values()))
    parts = {
        role: tuple(permuted[end - number : end]) for (role, number), end in zip(numbers.items(), ends, strict=True)
    }
    return {**parts, rest: tuple(permuted[ends[-1] :])}


def _draw_moments(
    rng: np.random.Generator, spec: StorySpec, num_frames: int, kinds_of: dict[str, tuple[str, ...]], aspect: float
) -> tuple[list[Sighting], NDArray[np.int64]]:
    """All moments in no order of time, and their lengths."""
    moments: list[Sighting] = []
    lengths: list[int] = []
    longest = max(spec.needle_frames[0], min(spec.needle_frames[1], num_frames // _SHORTEST_VIDEO_PER_NEEDLE))
    event_range = [max(2, round(share * num_frames)) for share in spec.event_share]

    def add(moment: Sighting, shortest: int, longest: int) -> int:
        moments.append(moment)
        lengths.append(int(rng.integers(shortest, longest + 1)))
        return lengths[-1]

    def one(kind: str) -> Sighting:
        return Sighting(form="object", start_frame=0, end_frame=0, things=(Thing(kind=kind, color=""),))

    for kind in (*kinds_of["needle"], *kinds_of["pair"], *kinds_of["pair"]):
        add(one(kind), spec.needle_frames[0], longest)
    for kind in kinds_of["series"]:
        for _ in range(int(rng.integers(FEWEST_APPEARANCES, MOST_APPEARANCES + 1))):
            add(one(kind), event_range[0], event_range[1])
    scenes: list[str | None] = [*kinds_of["subject"], *kinds_of["twice"], *kinds_of["twice"]]
    scenes += [None] * (1 + num_frames // spec.frames_per_distractor_scene)
    for subject in scenes:
        add(draw_scene(rng, subject=subject, others=kinds_of["filler"], aspect=aspect), *spec.scene_frames)
    hidden = [str(rng.choice(kinds_of["distractor_sign"])) for _ in range(1 + num_frames // 2_000)]
    for color in (*kinds_of["sign"], *hidden):
        add(draw_sign(rng, color), *spec.sign_frames)
    left = int(spec.distractor_density * num_frames)
    while left > 0:
        left -= add(one(str(rng.choice(kinds_of["distractor"]))), spec.needle_frames[0], longest)
    return moments, np.array(lengths)
