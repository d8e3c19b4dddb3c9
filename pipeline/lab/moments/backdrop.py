"""What stands behind objects: textures under a moving camera, cuts and fades, black bars, a clock, a logo.

Shape suffixes: H, W = frame height and width in pixels
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.lab.moments.sprites import Cutout, clock_sprite

Change = Literal["cut", "fade", "black"]
_MARGIN = 0.22  # of the frame: room for the camera
_FADE_FRAMES = (3, 8)


def texture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """``(H, W, 3)`` blobs, stripes, checks, a gradient, boxes or discs in muted colours."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    kind, unit = rng.integers(6), min(height, width) / 112
    if kind == 0:
        pattern = _noise(rng, int(rng.integers(3, 12)), height, width)
    elif kind == 1:
        angle, period = rng.uniform(0, np.pi), rng.uniform(9, 55) * unit
        pattern = 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) / period * 2 * np.pi)
    elif kind == 2:
        period = max(3, int(rng.integers(8, 36) * unit))
        pattern = ((x // period + y // period) % 2).astype(np.float32)
    elif kind == 3:
        pattern = (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)) / (width + height) + 0.5
    else:
        pattern = np.full((height, width), 0.5, dtype=np.float32)
        for _ in range(int(rng.integers(3, 12))):
            left, top = rng.uniform(-0.1, 1, 2) * (width, height)
            w, h = rng.uniform(0.08, 0.5, 2) * min(height, width)
            inside = (abs(x - left) < w) & (abs(y - top) < h)
            if kind == 5:
                inside = ((x - left) / w) ** 2 + ((y - top) / h) ** 2 < 1
            pattern[inside] = rng.uniform(0, 1)
    pattern = 0.75 * pattern + 0.25 * _noise(rng, 20, height, width)
    grey, tint = rng.uniform(30, 215), rng.uniform(-28, 28, size=(2, 3))
    low, high = grey + tint[0], grey + rng.uniform(-80, 80) + tint[1]
    colored = low + (high - low) * np.clip(pattern, 0, 1)[..., None]
    return np.asarray(np.clip(colored, 0, 255), dtype=np.uint8)


def _noise(rng: np.random.Generator, cells: int, height: int, width: int) -> NDArray[np.float32]:
    coarse = rng.random((max(2, cells * 3 // 4), max(2, cells))).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def noisy(rng: np.random.Generator, picture: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
    """Sensor grain, the same in all colours."""
    grain = rng.normal(0, strength, picture.shape[:2])[..., None]
    return np.asarray(np.clip(picture + grain, 0, 255), dtype=np.uint8)


class Camera:
    """The backdrop of one video, frame by frame: one texture per shot, panned and zoomed; shots change three ways."""

    def __init__(self, rng: np.random.Generator, *, height: int, width: int, shot_frames: tuple[int, int]) -> None:
        self._rng, self._height, self._width, self._shot_frames = rng, height, width, shot_frames
        self._left_in_shot = 0
        self._phase = self._speed = np.zeros(2)
        self._texture = np.zeros((height, width, 3), dtype=np.uint8)
        self._fade: tuple[Change, int, int] = ("cut", 0, 1)  # how, frames left, frames in all
        self._previous: NDArray[np.uint8] | None = None

    def next_frame(self) -> NDArray[np.uint8]:
        """The next ``(H, W, 3)`` backdrop, a copy that the caller may draw on."""
        if self._left_in_shot == 0:
            self._begin_shot()
        self._left_in_shot -= 1
        self._phase = self._phase + self._speed
        room_y, room_x = self._texture.shape[0] - self._height, self._texture.shape[1] - self._width
        share = (np.sin(self._phase) + 1) / 2
        top, left = int(share[0] * room_y), int(share[1] * room_x)
        view = self._texture[top : top + self._height, left : left + self._width].copy()
        how, remaining, total = self._fade
        if remaining > 0:
            self._fade = (how, remaining - 1, total)
            weight = remaining / (total + 1)
            if how == "fade" and self._previous is not None:
                view = (view * (1 - weight) + self._previous * weight).astype(np.uint8)
            elif how == "black":
                view = (view * (1 - weight)).astype(np.uint8)
        if self._left_in_shot == 0:
            self._previous = view
        return view

    def _begin_shot(self) -> None:
        rng = self._rng
        self._left_in_shot = int(rng.integers(*self._shot_frames))
        size = int(self._height * (1 + _MARGIN)), int(self._width * (1 + _MARGIN))
        self._texture = texture(rng, *size)
        self._phase, self._speed = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.0, 0.06, 2)
        change: Change = ("cut", "cut", "fade", "black")[int(rng.integers(4))]
        frames = 0 if change == "cut" else int(rng.integers(*_FADE_FRAMES))
        self._fade = (change, frames, max(1, frames))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Overlays:
    """What lies over a whole video: a clock or a logo in a corner, or neither."""

    clock_corner: int | None
    logo_corner: int | None
    logo: Cutout | None
    dot_px: int

    def draw(self, picture: NDArray[np.uint8], seconds: float) -> None:
        """Draw into ``(H, W, 3)`` in place."""
        if self.logo_corner is not None and self.logo is not None:
            _draw_in_corner(picture, self.logo, self.logo_corner)
        if self.clock_corner is not None:
            _draw_in_corner(picture, clock_sprite(seconds, self.dot_px), self.clock_corner)


def draw_overlays(rng: np.random.Generator, *, height: int, width: int, share: float = 0.35) -> Overlays:
    """Each with probability ``share``, in different corners."""
    corners = rng.permutation(4)
    unit = max(1, round(min(height, width) / 112))
    side = max(6, round(min(height, width) * 0.12))
    logo = Cutout(
        color_HW3=np.full((side, side * 2, 3), rng.uniform(60, 220, 3), dtype=np.float32),
        cover_HW1=(0.7 * _blobs(rng, side))[..., None],
    )
    return Overlays(
        clock_corner=int(corners[0]) if rng.random() < share else None,
        logo_corner=int(corners[1]) if rng.random() < share else None,
        logo=logo,
        dot_px=unit,
    )


def _blobs(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    small = (rng.random((3, 6)) < 0.55).astype(np.uint8) * 255
    image = Image.fromarray(small).resize((side * 2, side), Image.Resampling.NEAREST)
    return np.asarray(np.asarray(image) / np.float32(255), dtype=np.float32)


def _draw_in_corner(picture: NDArray[np.uint8], sprite: Cutout, corner: int) -> None:
    height, width = sprite.cover_HW1.shape[:2]
    top = 2 if corner < 2 else picture.shape[0] - height - 2
    left = 2 if corner % 2 == 0 else picture.shape[1] - width - 2
    sprite.draw(picture, left, top)
