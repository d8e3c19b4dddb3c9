"""What a training clip is about: a story put together of pictures of the pool, so that each moment has its picture.

In a benchmark a video's roles are drawn first and pictures follow. Here scenes come first, as the pool has them, and
the roles follow: a kind that stands in one scene is a subject, one in two scenes is asked about twice, the others are
needles, pairs, series and what never appears.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.lab.moment_training.pool import Pool
from pipeline.lab.moments.kinds import KINDS_OF_OBJECT
from pipeline.lab.moments.plan import COLOR_NAMES, FEWEST_APPEARANCES, MOST_APPEARANCES, Sighting, Story, Thing
from pipeline.lab.moments.sprites import GLYPHS

_SCENES = (0.2, 0.35, 0.3, 0.15)  # how many scenes a world has, 0 to 3
_TWICE_SHARE = 0.45  # of the worlds with two scenes or more, share a kind on purpose
_SINGLES = ("needle", "absent", "series", "pair", "distractor", "needle", "series", "distractor", "pair")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class World:
    """A story, and the pictures that may stand for each of its moments."""

    story: Story
    pictures: tuple[NDArray[np.int64], ...]


class WorldMaker:
    """Draws worlds from one pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.background = pool.of_form(None)
        self._scenes, self._signs = pool.of_form("scene"), pool.of_form("sign")
        self._kinds_in = np.zeros((len(pool), len(KINDS_OF_OBJECT)), dtype=bool)
        for picture in self._scenes:
            kinds = pool.thing_NTC[picture, :, 0]
            self._kinds_in[picture, kinds[kinds >= 0]] = True
        singles = pool.of_form("object")
        kind_N = pool.kind_NK[singles].max(axis=1)
        singles, kind_N = singles[kind_N >= 0], kind_N[kind_N >= 0]
        self._looks: dict[tuple[int, int], NDArray[np.int64]] = {}
        for kind in range(len(KINDS_OF_OBJECT)):
            for color in range(len(COLOR_NAMES)):
                found = singles[(kind_N == kind) & (pool.color_N[singles] == color)]
                if len(found):
                    self._looks[kind, color] = found

    def draw(self, rng: np.random.Generator) -> World:
        """Roles, moments in an order of time, and their pictures."""
        scenes = self._draw_scenes(rng)
        counts = self._kinds_in[scenes].sum(axis=0) if len(scenes) else np.zeros(len(KINDS_OF_OBJECT), dtype=int)
        roles: dict[str, list[str]] = {
            "subject": [KINDS_OF_OBJECT[kind] for kind in np.flatnonzero(counts == 1)],
            "twice": [KINDS_OF_OBJECT[kind] for kind in np.flatnonzero(counts == 2)],
            **{role: [] for role in ("needle", "pair", "series", "absent", "distractor")},
        }
        free = [int(kind) for kind in rng.permutation(np.flatnonzero(counts == 0))]
        roles["filler"] = [*roles["subject"], *roles["twice"]]
        if len(roles["filler"]) < 4:  # of a world without scenes: options of questions that nothing answers
            roles["filler"] = [str(name) for name in rng.permutation(KINDS_OF_OBJECT)[:8]]
        moments: list[tuple[Sighting, NDArray[np.int64]]] = [
            (self._scene(picture), np.array([picture])) for picture in scenes
        ]
        for role, kind in zip(_SINGLES, free, strict=False):
            roles[role].append(KINDS_OF_OBJECT[kind])
            for _ in range(_number_of(rng, role)):
                moments.append((_object(kind), np.empty(0, dtype=np.int64)))
        roles |= self._add_signs(rng, moments)
        order = rng.permutation(len(moments))
        ordered = self._colored(rng, [moments[index] for index in order])
        story = Story(
            num_frames=len(ordered),
            moments=tuple(moment for moment, _ in ordered),
            kinds_of={role: tuple(names) for role, names in roles.items()},
        )
        return World(story=story, pictures=tuple(pictures for _, pictures in ordered))

    def _draw_scenes(self, rng: np.random.Generator) -> NDArray[np.int64]:
        number = int(rng.choice(len(_SCENES), p=_SCENES))
        chosen = rng.choice(self._scenes, number, replace=False)
        if number >= 2 and rng.random() < _TWICE_SHARE:
            shared = int(rng.choice(np.flatnonzero(self._kinds_in[chosen[0]])))
            others = self._scenes[self._kinds_in[self._scenes, shared] & (self._scenes != chosen[0])]
            if len(others):
                chosen[1] = rng.choice(others)
        return np.unique(chosen)

    def _scene(self, picture: int) -> Sighting:
        pool = self._pool
        things = tuple(
            Thing(kind=KINDS_OF_OBJECT[kind], color=COLOR_NAMES[color], row=int(row), column=int(column))
            for kind, color, row, column in pool.thing_NTC[picture]
            if kind >= 0
        )
        rows, columns = (int(number) for number in pool.shape_N2[picture])
        return Sighting(form="scene", start_frame=0, end_frame=0, things=things, rows=rows, columns=columns)

    def _add_signs(
        self, rng: np.random.Generator, moments: list[tuple[Sighting, NDArray[np.int64]]]
    ) -> dict[str, list[str]]:
        """At most three signs of different colours; the other colours are on none."""
        shown: list[str] = []
        for picture in rng.choice(self._signs, int(rng.integers(0, 4)), replace=False):
            color = COLOR_NAMES[self._pool.color_N[picture]]
            if color in shown:
                continue
            shown.append(color)
            letters = "".join(GLYPHS[letter] for letter in self._pool.letters_NL[picture] if letter >= 0)
            sign = Sighting(form="sign", start_frame=0, end_frame=0, sign_color=color, letters=letters)
            moments.append((sign, np.array([picture])))
        return {"sign": shown, "no_sign": [color for color in COLOR_NAMES if color not in shown]}

    def _colored(
        self, rng: np.random.Generator, moments: list[tuple[Sighting, NDArray[np.int64]]]
    ) -> list[tuple[Sighting, NDArray[np.int64]]]:
        """Single objects get a colour that the pool has, another one than the time before, and times in order."""
        before: dict[int, int] = {}
        placed: list[tuple[Sighting, NDArray[np.int64]]] = []
        for time, (moment, pictures) in enumerate(moments):
            things = moment.things
            if moment.form == "object":
                kind = KINDS_OF_OBJECT.index(things[0].kind)
                colors = [color for k, color in self._looks if k == kind and color != before.get(kind)]
                if not colors:
                    raise ValueError(f"no training picture shows a {things[0].kind} in two colours; make more pictures")
                before[kind] = int(rng.choice(colors))
                things = (Thing(kind=things[0].kind, color=COLOR_NAMES[before[kind]]),)
                pictures = self._looks[kind, before[kind]]
            timed = Sighting(
                form=moment.form,
                start_frame=time,
                end_frame=time + 1,
                things=things,
                rows=moment.rows,
                columns=moment.columns,
                sign_color=moment.sign_color,
                letters=moment.letters,
            )
            placed.append((timed, pictures))
        return placed


def _object(kind: int) -> Sighting:
    return Sighting(form="object", start_frame=0, end_frame=0, things=(Thing(kind=KINDS_OF_OBJECT[kind], color=""),))


def _number_of(rng: np.random.Generator, role: str) -> int:
    """How often an object of this role is seen."""
    if role == "series":
        return int(rng.integers(FEWEST_APPEARANCES, MOST_APPEARANCES + 1))
    return {"needle": 1, "pair": 2, "absent": 0, "distractor": int(rng.integers(0, 3))}[role]
