"""A pool of training pictures per grid, drawn once, kept on disk.

Shape suffixes:
- N = pictures (temporal patches), F = frames per patch (2), H, W = pixels as the model sees them
- K = visual tokens of a patch, L = letters of a sign (3), T = most things of a scene (8)
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.lab.moment_training.pictures import GRIDS, Drawn, Grid, PictureMaker
from pipeline.lab.moments.kinds import KINDS_OF_OBJECT
from pipeline.lab.moments.plan import COLOR_NAMES, Form
from pipeline.lab.moments.sprites import GLYPHS

MOST_THINGS = 8
FORMS: tuple[Form | None, ...] = (None, "object", "scene", "sign")
_SHARES = (0.18, 0.36, 0.24, 0.22)  # of the pool, by form


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pool:
    """Pictures of one grid and what they show; −1 says nothing.

    ``thing_NTC`` holds of each thing of a scene its kind, colour, row and column; ``letters_NL`` what a sign says.
    """

    grid_number: int
    frames_NFHW3: NDArray[np.uint8]
    form_N: NDArray[np.int8]  # index into FORMS
    color_N: NDArray[np.int8]
    letters_NL: NDArray[np.int8]
    shape_N2: NDArray[np.int8]  # rows and columns of a scene
    thing_NTC: NDArray[np.int8]
    kind_NK: NDArray[np.int8]
    color_NK: NDArray[np.int8]
    letter_NKL: NDArray[np.int8]
    thing_NK: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.form_N)

    @property
    def grid(self) -> Grid:
        """How the tokens of a picture lie."""
        return GRIDS[self.grid_number]

    def of_form(self, form: Form | None) -> NDArray[np.int64]:
        """Indices of the pictures of one form."""
        return np.flatnonzero(self.form_N == FORMS.index(form))


def make_pool(folder: Path, grid_number: int, *, count: int, seed: int) -> Pool:
    """Draw ``count`` pictures of one grid, or read what an earlier call drew; the same for the same arguments."""
    path = folder / f"pool-g{grid_number}-n{count}-s{seed}.npz"
    if path.exists():
        with np.load(path) as stored:
            return Pool(grid_number=grid_number, **{name: stored[name] for name in stored.files})
    rng = np.random.default_rng(np.random.SeedSequence([71, seed, grid_number]))
    maker = PictureMaker(rng, grid_number)
    arrays = _stack(_draw_all(rng, maker, count))
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp.npz")
    np.savez(unfinished, **arrays)
    unfinished.rename(path)
    return Pool(grid_number=grid_number, **arrays)


def make_pools(folder: Path, counts: tuple[int, ...], *, seed: int, processes: int) -> list[Pool]:
    """One pool per grid, drawn side by side."""
    jobs = [(folder, number, count, seed) for number, count in enumerate(counts)]
    if processes > 1:  # fresh interpreters: a forked one may inherit torch's locked threads
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as workers:
            list(workers.map(_make_one, jobs))
    return [make_pool(folder, number, count=count, seed=seed) for _, number, count, _ in jobs]


def _make_one(job: tuple[Path, int, int, int]) -> None:
    folder, number, count, seed = job
    make_pool(folder, number, count=count, seed=seed)


def _draw_all(rng: np.random.Generator, maker: PictureMaker, count: int) -> list[Drawn]:
    """Single objects go through all kinds and colours in turn, so that even a small pool has nearly all."""
    looks = [(kind, color) for kind in KINDS_OF_OBJECT for color in COLOR_NAMES]
    turn = rng.permutation(len(looks))
    drawn: list[Drawn] = []
    num_objects = 0
    for _ in range(count):
        form = FORMS[int(rng.choice(len(FORMS), p=_SHARES))]
        kind, color = looks[turn[num_objects % len(looks)]]
        num_objects += form == "object"
        drawn.append(maker.draw(form, kind=kind, color=color if form == "object" else str(rng.choice(COLOR_NAMES))))
    return drawn


def _stack(drawn: list[Drawn]) -> dict[str, Any]:
    things = np.full((len(drawn), MOST_THINGS, 4), -1, dtype=np.int8)
    letters = np.full((len(drawn), drawn[0].letter_KL.shape[1]), -1, dtype=np.int8)
    for index, one in enumerate(drawn):
        for place, thing in enumerate(one.things):
            color = COLOR_NAMES.index(thing.color)
            things[index, place] = KINDS_OF_OBJECT.index(thing.kind), color, thing.row, thing.column
        for place, letter in enumerate(one.letters):
            letters[index, place] = GLYPHS.index(letter)
    return {
        "frames_NFHW3": np.stack([one.frames_FHW3 for one in drawn]),
        "form_N": np.array([FORMS.index(one.form) for one in drawn], dtype=np.int8),
        "color_N": np.array([one.color for one in drawn], dtype=np.int8),
        "letters_NL": letters,
        "shape_N2": np.array([(one.rows, one.columns) for one in drawn], dtype=np.int8),
        "thing_NTC": things,
        "kind_NK": np.stack([one.kind_K for one in drawn]),
        "color_NK": np.stack([one.color_K for one in drawn]),
        "letter_NKL": np.stack([one.letter_KL for one in drawn]),
        "thing_NK": np.stack([one.thing_K for one in drawn]),
    }
