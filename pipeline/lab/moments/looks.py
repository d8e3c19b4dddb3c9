"""How a story looks: the shape of the picture, black bars, where things stand in it, what lies over it.

Shape suffixes: H, W = frame height and width in pixels
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.lab.moments.plan import Sighting
from pipeline.lab.moments.sprites import Cutout, Style, object_sprite, sign_sprite

Number = TypeVar("Number", bound=np.generic)
SINGLE_SIDE = (0.36, 0.78)  # smallest and largest side of a single object, as shares of the picture's short side
_OFF_CENTRE = 0.16
_FILL = (0.74, 0.94)  # of a scene's place
_DRIFT = 0.006  # of the short side, per frame


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """A frame of ``height`` by ``width`` whose picture fills the box between black bars."""

    height: int
    width: int
    top: int
    left: int
    box_height: int
    box_width: int

    @property
    def aspect(self) -> float:
        """Width of the picture, without its bars, over its height."""
        return self.box_width / self.box_height

    def box(self, frame_HW: NDArray[Number]) -> NDArray[Number]:
        """A view of the picture inside a frame."""
        return frame_HW[self.top : self.top + self.box_height, self.left : self.left + self.box_width]


def make_canvas(height: int, width: int, *, content_aspect: float | None = None) -> Canvas:
    """Bars above and below, or left and right, where the picture has another shape than the frame.

    Example: ``make_canvas(120, 160, content_aspect=16 / 9)`` has bars of 15 pixels above and below.
    """
    aspect = width / height if content_aspect is None else content_aspect
    box_height, box_width = min(height, round(width / aspect)), min(width, round(height * aspect))
    return Canvas(
        height=height,
        width=width,
        top=(height - box_height) // 2,
        left=(width - box_width) // 2,
        box_height=box_height,
        box_width=box_width,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Placed:
    """A sprite at its place in the picture, moving slowly; ``name`` is an object's kind, or ``sign``."""

    sprite: Cutout
    name: str
    color: str
    row: int
    column: int
    left_px: float
    top_px: float
    velocity_x: float
    velocity_y: float
    letter_starts: tuple[int, ...] = ()
    dot_px: int = 1

    def corner(self, age: int) -> tuple[int, int]:
        """Left and top so many frames after it came."""
        return round(self.left_px + age * self.velocity_x), round(self.top_px + age * self.velocity_y)

    def draw(self, picture: NDArray[np.uint8], age: int, *, opacity: float = 1.0) -> None:
        """Draw into the picture inside the bars, in place."""
        left, top = self.corner(age)
        self.sprite.draw(picture, left, top, opacity=opacity)


def place_moment(
    rng: np.random.Generator, moment: Sighting, canvas: Canvas, *, styles: tuple[Style, ...]
) -> list[Placed]:
    """Draw sizes, places and looks of all that a moment shows."""
    height, width = canvas.box_height, canvas.box_width
    short = min(height, width)
    drift = rng.uniform(-_DRIFT, _DRIFT, 2) * short
    if moment.form == "sign":
        return [_place_sign(rng, moment, height=height, width=width, drift=drift)]
    style = styles[int(rng.integers(len(styles)))]
    placed: list[Placed] = []
    for thing in moment.things:
        if moment.form == "object":
            side = round(short * rng.uniform(*SINGLE_SIDE))
            centre_x, centre_y = (0.5 + rng.uniform(-_OFF_CENTRE, _OFF_CENTRE, 2)) * (width, height)
            if rng.random() < 0.5:
                style = styles[int(rng.integers(len(styles)))]
        else:
            cell_h, cell_w = height / moment.rows, width / moment.columns
            room = min(cell_h, cell_w)
            side = round(room * rng.uniform(*_FILL))
            slack_y, slack_x = (cell_h - side) / 4, (cell_w - side) / 4
            centre_x = (thing.column + 0.5) * cell_w + rng.uniform(-slack_x, slack_x)
            centre_y = (thing.row + 0.5) * cell_h + rng.uniform(-slack_y, slack_y)
        side = max(10, side)
        placed.append(
            Placed(
                sprite=object_sprite(rng, kind=thing.kind, color=thing.color, style=style, side_px=side),
                name=thing.kind,
                color=thing.color,
                row=thing.row,
                column=thing.column,
                left_px=float(np.clip(centre_x - side / 2, 0, max(0, width - side))),
                top_px=float(np.clip(centre_y - side / 2, 0, max(0, height - side))),
                velocity_x=float(drift[0]),
                velocity_y=float(drift[1]),
            )
        )
    return placed


def _place_sign(
    rng: np.random.Generator, moment: Sighting, *, height: int, width: int, drift: NDArray[np.float64]
) -> Placed:
    """As large as fits, or somewhat smaller: its letters are 0.2 to 0.29 of the short side high."""
    assert moment.sign_color is not None
    unit = min(height, width) / 112
    letters = len(moment.letters)
    most = int(0.96 * width / (4 + 6 * letters))
    dot = max(2, min(most, round(rng.uniform(3.2, 4.6) * unit)))
    sprite, starts = sign_sprite(rng, letters=moment.letters, color=moment.sign_color, dot_px=dot)
    sign_h, sign_w = sprite.cover_HW1.shape[:2]
    return Placed(
        sprite=sprite,
        name="sign",
        color=moment.sign_color,
        row=0,
        column=0,
        left_px=float(rng.uniform(0, max(0, width - sign_w))),
        top_px=float(rng.uniform(0, max(0, height - sign_h))),
        velocity_x=float(drift[0]),
        velocity_y=float(drift[1]),
        letter_starts=tuple(starts),
        dot_px=dot,
    )
