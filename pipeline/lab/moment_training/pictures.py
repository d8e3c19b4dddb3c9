"""Training pictures: temporal patches drawn as arrays, with what each visual token shows.

There is no video codec; JPEG stands in for one.

Shape suffixes:
- F = frames per patch (2), H, W = pixels as the model sees them
- K = visual tokens of a patch, in rows, L = letters of a sign (3)
"""

import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.lab.moments.backdrop import draw_overlays, noisy, texture
from pipeline.lab.moments.kinds import KINDS_OF_OBJECT
from pipeline.lab.moments.looks import Canvas, Placed, make_canvas, place_moment
from pipeline.lab.moments.plan import COLOR_NAMES, Form, Sighting, Thing, draw_scene, draw_sign
from pipeline.lab.moments.sprites import GLYPHS, TRAINED_STYLES

TOKEN_PX = 28
MOST_LETTERS = 3
SIGN = len(KINDS_OF_OBJECT)  # the number of the kind "sign"
_MIN_SHARE = 0.12  # of a token's area: less of an object than this says nothing about it
_MIN_LETTER = 0.4  # of a letter's area
_BARS_SHARE, _HALF_SEEN, _JPEG_SHARE, _BANK = 0.25, 0.12, 0.8, 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Rows and columns of visual tokens, and the aspect ratio of the files that get them."""

    rows: int
    columns: int
    aspect: float

    @property
    def num_tokens(self) -> int:
        """Per temporal patch."""
        return self.rows * self.columns


GRIDS = (
    Grid(rows=4, columns=5, aspect=4 / 3),
    Grid(rows=3, columns=6, aspect=16 / 9),
    Grid(rows=4, columns=4, aspect=1.0),
    Grid(rows=3, columns=7, aspect=21 / 9),
    Grid(rows=6, columns=3, aspect=9 / 16),
)
_BARS = {0: (16 / 9, 1.0), 1: (21 / 9, 4 / 3), 2: (4 / 3, 3 / 4), 3: (16 / 9,), 4: (3 / 4,)}  # by grid: other pictures


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Drawn:
    """One temporal patch with its labels; −1 says nothing. ``things`` are those of a scene."""

    frames_FHW3: NDArray[np.uint8]
    form: Form | None
    things: tuple[Thing, ...]
    rows: int
    columns: int
    color: int  # of a single object or a sign
    letters: str
    kind_K: NDArray[np.int8]
    color_K: NDArray[np.int8]
    letter_KL: NDArray[np.int8]
    thing_K: NDArray[np.int8]  # index into things


class PictureMaker:
    """Draws patches for one grid; textures are used several times, mirrored and tinted."""

    def __init__(self, rng: np.random.Generator, grid_number: int) -> None:
        self._rng, self._number, self._grid = rng, grid_number, GRIDS[grid_number]
        self._bank: list[NDArray[np.uint8]] = []

    def draw(self, form: Form | None, *, kind: str = "", color: str = "") -> Drawn:
        """A backdrop, or one object of this kind and colour, a scene or a sign."""
        rng, grid = self._rng, self._grid
        scale = rng.uniform(0.9, 1.6)
        height = round(grid.rows * TOKEN_PX * scale)
        others = _BARS[self._number]
        content = float(rng.choice(others)) if rng.random() < _BARS_SHARE else None
        canvas = make_canvas(height, round(height * grid.aspect), content_aspect=content)
        moment = self._moment(form, kind, color, canvas)
        placed = [] if moment is None else place_moment(rng, moment, canvas, styles=TRAINED_STYLES)
        frames = self._render(placed, canvas)
        kind_K, color_K, letter_KL, thing_K = _labels(placed, canvas, grid)
        drawn = Drawn(
            frames_FHW3=frames,
            form=form,
            things=() if moment is None else moment.things,
            rows=1 if moment is None else moment.rows,
            columns=1 if moment is None else moment.columns,
            color=COLOR_NAMES.index(placed[0].color) if form in ("object", "sign") else -1,
            letters="" if moment is None else moment.letters,
            kind_K=kind_K,
            color_K=color_K,
            letter_KL=letter_KL,
            thing_K=thing_K,
        )
        return _with_letters(drawn, placed[0], canvas, grid=self._grid) if form == "sign" else drawn

    def _moment(self, form: Form | None, kind: str, color: str, canvas: Canvas) -> Sighting | None:
        if form is None:
            return None
        if form == "scene":
            return draw_scene(self._rng, subject=None, others=KINDS_OF_OBJECT, aspect=canvas.aspect)
        if form == "sign":
            return draw_sign(self._rng, color)
        return Sighting(form="object", start_frame=0, end_frame=2, things=(Thing(kind=kind, color=color),))

    def _render(self, placed: list[Placed], canvas: Canvas) -> NDArray[np.uint8]:
        rng = self._rng
        backdrop = self._backdrop(canvas)
        room = backdrop.shape[0] - canvas.box_height, backdrop.shape[1] - canvas.box_width
        corner = rng.uniform(0, 1, 2) * room
        pan = rng.uniform(-2.5, 2.5, 2)
        overlays = draw_overlays(rng, height=canvas.height, width=canvas.width)
        seconds = rng.uniform(0, 20_000)
        dark = rng.uniform(0.15, 1) if rng.random() < 0.06 else 1.0  # a fade through black
        grain = rng.uniform(0, 6)
        quality = int(rng.integers(22, 85)) if rng.random() < _JPEG_SHARE else None
        hidden_frame = int(rng.integers(2)) if rng.random() < _HALF_SEEN else None
        age = int(rng.integers(0, 8))
        frames = []
        for index in range(2):
            top, left = np.clip(corner + index * pan, 0, room).astype(int)
            view = backdrop[top : top + canvas.box_height, left : left + canvas.box_width]
            picture = noisy(rng, (view * dark).astype(np.uint8), grain)
            for one in placed if index != hidden_frame else ():
                one.draw(picture, age + index)
            frame = np.zeros((canvas.height, canvas.width, 3), dtype=np.uint8)
            canvas.box(frame)[:] = picture
            overlays.draw(frame, seconds + index / 2)
            frames.append(_shrink(frame, self._grid, quality))
        return np.stack(frames)

    def _backdrop(self, canvas: Canvas) -> NDArray[np.uint8]:
        rng = self._rng
        height, width = int(canvas.box_height * 1.2) + 1, int(canvas.box_width * 1.2) + 1
        if len(self._bank) < _BANK:
            self._bank.append(texture(rng, height, width))
            return self._bank[-1]
        chosen = self._bank[int(rng.integers(_BANK))]
        chosen = chosen[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
        gain, shift = rng.uniform(0.7, 1.15, 3), rng.uniform(-25, 25)
        tinted = np.clip(chosen * gain + shift, 0, 255).astype(np.uint8)
        return np.asarray(Image.fromarray(tinted).resize((width, height), Image.Resampling.BILINEAR))


def _shrink(frame: NDArray[np.uint8], grid: Grid, quality: int | None) -> NDArray[np.uint8]:
    image = Image.fromarray(frame)
    if quality is not None:
        packed = io.BytesIO()
        image.save(packed, "JPEG", quality=quality)
        image = Image.open(packed)
    size = grid.columns * TOKEN_PX, grid.rows * TOKEN_PX
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def _labels(placed: list[Placed], canvas: Canvas, grid: Grid) -> tuple[NDArray[np.int8], ...]:
    """Kind and colour of what covers most of each token, letters that lie in it, and the number of the object."""
    num_tokens = grid.num_tokens
    kind_K, color_K, thing_K = (np.full(num_tokens, -1, dtype=np.int8) for _ in range(3))
    letter_KL = np.full((num_tokens, MOST_LETTERS), -1, dtype=np.int8)
    best_K = np.full(num_tokens, _MIN_SHARE)
    for index, one in enumerate(placed):
        covered = np.zeros((canvas.height, canvas.width), dtype=np.float32)
        _paste(canvas.box(covered), one.sprite.cover_HW1[..., 0], *one.corner(0))
        share_K = _share_by_token(covered, grid)
        more_K = share_K >= best_K
        best_K[more_K] = share_K[more_K]
        kind_K[more_K] = SIGN if one.name == "sign" else KINDS_OF_OBJECT.index(one.name)
        color_K[more_K] = COLOR_NAMES.index(one.color)
        thing_K[more_K] = index
    return kind_K, color_K, letter_KL, thing_K


def _paste(into_HW: NDArray[np.float32], part: NDArray[np.float32], left: int, top: int) -> None:
    height, width = part.shape
    y0, x0 = max(0, -top), max(0, -left)
    y1, x1 = min(height, into_HW.shape[0] - top), min(width, into_HW.shape[1] - left)
    if y1 > y0 and x1 > x0:
        into_HW[top + y0 : top + y1, left + x0 : left + x1] = part[y0:y1, x0:x1]


def _share_by_token(covered_HW: NDArray[np.float32], grid: Grid) -> NDArray[np.float64]:
    """``(K,)`` mean coverage of each token's area."""
    size = grid.columns * 4, grid.rows * 4
    small = np.asarray(Image.fromarray(covered_HW).resize(size, Image.Resampling.BOX))
    blocks = small.reshape(grid.rows, 4, grid.columns, 4).mean(axis=(1, 3))
    return np.asarray(blocks.reshape(-1), dtype=np.float64)


def _with_letters(drawn: Drawn, placed: Placed, canvas: Canvas, *, grid: Grid) -> Drawn:
    """The same with, for each letter of a sign, the tokens that hold enough of it."""
    letter_KL = drawn.letter_KL.copy()
    left, top = placed.corner(0)
    dot = placed.dot_px
    for place, (letter, start) in enumerate(zip(drawn.letters, placed.letter_starts, strict=True)):
        covered = np.zeros((canvas.height, canvas.width), dtype=np.float32)
        _paste(canvas.box(covered), np.ones((7 * dot, 5 * dot), dtype=np.float32), left + start, top + 2 * dot)
        share_K = _share_by_token(covered, grid)
        letter_KL[share_K >= _MIN_LETTER * share_K.sum(), place] = GLYPHS.index(letter)
    return replace(drawn, letter_KL=letter_KL)
