"""Objects and signs as pictures with coverage: in styles that training sees, and in others that it never does.

Shape suffixes:
- S = side of an object in pixels
- H, W = height and width of a sign in pixels
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pipeline.demo.scenes import COLORS
from pipeline.lab.moments.kinds import coverage

TrainedStyle = Literal["shaded", "flat", "framed", "striped", "gradient"]
HeldOutStyle = Literal["dotted", "checked", "grainy"]
Style = TrainedStyle | HeldOutStyle
TRAINED_STYLES: tuple[TrainedStyle, ...] = get_args(TrainedStyle)
HELD_OUT_STYLES: tuple[HeldOutStyle, ...] = get_args(HeldOutStyle)

GLYPHS = ("H", "K", "L", "O", "S", "T", "X", "Z")
_ROWS = {  # seven rows of five dots
    "H": ("10001", "10001", "10001", "11111", "10001", "10001", "10001"),
    "K": ("10001", "10010", "10100", "11000", "10100", "10010", "10001"),
    "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
    "O": ("01110", "10001", "10001", "10001", "10001", "10001", "01110"),
    "S": ("01111", "10000", "10000", "01110", "00001", "00001", "11110"),
    "T": ("11111", "00100", "00100", "00100", "00100", "00100", "00100"),
    "X": ("10001", "10001", "01010", "00100", "01010", "10001", "10001"),
    "Z": ("11111", "00001", "00010", "00100", "01000", "10000", "11111"),
}
DIGITS = (
    *(("111", "101", "101", "101", "111"), ("010", "110", "010", "010", "111"), ("111", "001", "111", "100", "111")),
    *(("111", "001", "111", "001", "111"), ("101", "101", "111", "001", "001"), ("111", "100", "111", "001", "111")),
    *(("111", "100", "111", "101", "111"), ("111", "001", "010", "010", "010"), ("111", "101", "111", "101", "111")),
    ("111", "101", "111", "001", "111"),
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cutout:
    """What to draw, ``(H, W, 3)`` in 0 to 255, and how much of each pixel it covers, ``(H, W, 1)``."""

    color_HW3: NDArray[np.float32]
    cover_HW1: NDArray[np.float32]

    def draw(self, picture: NDArray[np.uint8], left: int, top: int, *, opacity: float = 1.0) -> None:
        """Draw into ``(H, W, 3)`` in place; what lies outside is cut off."""
        height, width = self.cover_HW1.shape[:2]
        y0, x0 = max(0, -top), max(0, -left)
        y1, x1 = min(height, picture.shape[0] - top), min(width, picture.shape[1] - left)
        if y1 <= y0 or x1 <= x0:
            return
        place = picture[top + y0 : top + y1, left + x0 : left + x1]
        cover = self.cover_HW1[y0:y1, x0:x1] * opacity
        place[:] = (place * (1 - cover) + self.color_HW3[y0:y1, x0:x1] * cover + 0.5).astype(np.uint8)


def object_sprite(rng: np.random.Generator, *, kind: str, color: str, style: Style, side_px: int) -> Cutout:
    """One object of ``side_px`` by ``side_px``, its colour a little off."""
    cover = coverage(kind, side_px)
    base = np.clip(np.array(COLORS[color], dtype=np.float32) + rng.uniform(-14, 14, 3), 0, 255).astype(np.float32)
    pixels = np.broadcast_to(base, (side_px, side_px, 3)).copy()
    y, x = np.mgrid[0:side_px, 0:side_px] / side_px
    rim = max(1, round(side_px * 0.035))
    edge = (cover > 0.5) & ~_eroded(cover, rim)
    if style == "shaded":
        pixels *= (1 + 0.2 * (np.sin(x * rng.uniform(2, 6) + y * rng.uniform(2, 6)) / 2))[..., None]
        pixels[edge] *= 0.25
    elif style == "framed":
        pixels[edge] = rng.uniform(225, 255)
    elif style == "striped":
        angle, period = rng.uniform(0, np.pi), rng.uniform(0.12, 0.25)
        dark = np.sin((x * np.cos(angle) + y * np.sin(angle)) / period * 2 * np.pi) > 0
        pixels[dark] *= rng.uniform(0.55, 0.8)
    elif style == "gradient":
        slope = x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)
        pixels *= (1 + 0.45 * (slope - slope.mean()))[..., None]
    elif style == "dotted":
        period = max(4, side_px // 6)
        v, u = np.mgrid[0:side_px, 0:side_px] % period
        pixels[np.hypot(u - period / 2, v - period / 2) < period * 0.3] *= 0.35
    elif style == "checked":
        period = max(3, side_px // 7)
        v, u = np.mgrid[0:side_px, 0:side_px] // period
        pixels[(u + v) % 2 == 0] = 0.5 * pixels[(u + v) % 2 == 0] + 110
    elif style == "grainy":
        pixels += rng.normal(0, 42, (side_px, side_px, 1))
    return Cutout(color_HW3=np.clip(pixels, 0, 255).astype(np.float32), cover_HW1=cover[..., None])


def _eroded(cover: NDArray[np.float32], rim_px: int) -> NDArray[np.bool_]:
    image = Image.fromarray(np.pad((cover > 0.5).astype(np.uint8) * 255, 1))
    return np.asarray(image.filter(ImageFilter.MinFilter(2 * rim_px + 1)))[1:-1, 1:-1] > 127


def glyph_mask(glyph: str, dot_px: int) -> NDArray[np.float32]:
    """``(7 dots, 5 dots)`` of one letter of a sign."""
    dots = np.array([[char == "1" for char in row] for row in _ROWS[glyph]], dtype=np.float32)
    return dots.repeat(dot_px, axis=0).repeat(dot_px, axis=1)


def sign_sprite(rng: np.random.Generator, *, letters: str, color: str, dot_px: int) -> tuple[Cutout, list[int]]:
    """A panel with letters of 5 by 7 dots.

    Returns:
        The sprite, and where each letter begins, in pixels from the left.
    """
    gap, margin = max(2, dot_px), 2 * dot_px
    width = 2 * margin + len(letters) * 5 * dot_px + (len(letters) - 1) * gap
    height = 2 * margin + 7 * dot_px
    base = np.clip(np.array(COLORS[color], dtype=np.float32) + rng.uniform(-12, 12, 3), 0, 255)
    pixels = np.broadcast_to(base.astype(np.float32), (height, width, 3)).copy()
    ink = 250.0 if base @ (0.3, 0.6, 0.1) < 150 else 12.0
    rim = max(1, dot_px // 2)
    for edge in (np.s_[:rim], np.s_[-rim:], np.s_[:, :rim], np.s_[:, -rim:]):
        pixels[edge] = ink
    starts = [margin + index * (5 * dot_px + gap) for index in range(len(letters))]
    for letter, start in zip(letters, starts, strict=True):
        mask = glyph_mask(letter, dot_px)[..., None]
        place = pixels[margin : margin + 7 * dot_px, start : start + 5 * dot_px]
        place[:] = place * (1 - mask) + ink * mask
    return Cutout(color_HW3=pixels, cover_HW1=np.ones((height, width, 1), dtype=np.float32)), starts


def clock_sprite(seconds: float, dot_px: int) -> Cutout:
    """Running digits, as cameras put them into a corner."""
    minutes = int(seconds) // 60
    text = f"{minutes // 60 % 100:02d}{minutes % 60:02d}{int(seconds) % 60:02d}"
    columns = [np.array([[char == "1" for char in row] for row in DIGITS[int(digit)]]) for digit in text]
    dots = np.concatenate([np.pad(part, ((1, 1), (1, 0))) for part in columns], axis=1).astype(np.float32)
    mask = np.pad(dots, ((0, 0), (0, 1))).repeat(dot_px, axis=0).repeat(dot_px, axis=1)[..., None]
    return Cutout(color_HW3=mask * np.array([235, 235, 225], dtype=np.float32), cover_HW1=0.45 + 0.55 * mask)
