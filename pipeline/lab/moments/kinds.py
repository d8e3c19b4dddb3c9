"""Twenty-four kinds of object as outlines in the unit square: the demo's eight shapes and sixteen more.

Shape suffix: S = side of a mask in pixels
"""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.demo.scenes import SHAPES, shape_mask

_SIDE = 144  # masks are drawn at this side and then made smaller
Points = list[tuple[float, float]]


def _draw(paint: Callable[[ImageDraw.ImageDraw, Callable[[Any], Any]], None]) -> NDArray[np.bool_]:
    """``paint`` draws with corners in [−1, 1], y downwards, through its second argument."""
    image = Image.new("L", (_SIDE, _SIDE), 0)

    def scale(corners: Any) -> Any:
        return [((x + 1) / 2 * (_SIDE - 1), (y + 1) / 2 * (_SIDE - 1)) for x, y in corners]

    paint(ImageDraw.Draw(image), scale)
    return np.asarray(image) > 127


def _polygon(*parts: Points) -> NDArray[np.bool_]:
    def paint(draw: ImageDraw.ImageDraw, scale: Callable[[Any], Any]) -> None:
        for part in parts:
            draw.polygon(scale(part), fill=255)

    return _draw(paint)


def _disc(x: float, y: float, rx: float, ry: float | None = None) -> NDArray[np.bool_]:
    v, u = np.mgrid[0:_SIDE, 0:_SIDE] / (_SIDE - 1) * 2 - 1
    return np.asarray(((u - x) / rx) ** 2 + ((v - y) / (ry or rx)) ** 2 <= 1)


def _box(left: float, top: float, right: float, bottom: float) -> NDArray[np.bool_]:
    return _polygon([(left, top), (right, top), (right, bottom), (left, bottom)])


_EXTRA: dict[str, Callable[[], NDArray[np.bool_]]] = {
    "moon": lambda: _disc(-0.05, 0, 0.95) & ~_disc(0.4, -0.1, 0.78),
    "arrow": lambda: _polygon(
        [(-0.95, -0.25), (0.1, -0.25), (0.1, -0.75), (0.98, 0), (0.1, 0.75), (0.1, 0.25), (-0.95, 0.25)]
    ),
    "house": lambda: (
        _polygon([(-0.98, -0.1), (0, -0.95), (0.98, -0.1)], [(-0.72, -0.1), (0.72, -0.1), (0.72, 0.92), (-0.72, 0.92)])
        & ~_box(-0.22, 0.3, 0.22, 1)
    ),
    "tree": lambda: _polygon(
        [(0, -0.98), (0.6, -0.2), (-0.6, -0.2)],
        [(0, -0.5), (0.85, 0.5), (-0.85, 0.5)],
        [(-0.18, 0.5), (0.18, 0.5), (0.18, 0.98), (-0.18, 0.98)],
    ),
    "fish": lambda: _disc(0.22, 0, 0.76, 0.5) | _polygon([(-0.3, 0), (-0.98, -0.6), (-0.98, 0.6)]),
    "cup": lambda: (
        _polygon([(-0.9, -0.7), (0.45, -0.7), (0.3, 0.85), (-0.75, 0.85)])
        | (_disc(0.5, -0.1, 0.46, 0.5) & ~_disc(0.5, -0.1, 0.24, 0.28))
    ),
    "key": lambda: (
        (_disc(-0.52, 0, 0.46) & ~_disc(-0.52, 0, 0.2))
        | _box(-0.1, -0.13, 0.98, 0.13)
        | _box(0.4, 0.1, 0.58, 0.5)
        | _box(0.78, 0.1, 0.96, 0.5)
    ),
    "bolt": lambda: _polygon([(0.3, -0.98), (-0.62, 0.15), (-0.05, 0.15), (-0.35, 0.98), (0.65, -0.22), (0.06, -0.22)]),
    "cloud": lambda: (
        _disc(-0.5, 0.15, 0.46) | _disc(0.05, -0.18, 0.56) | _disc(0.55, 0.18, 0.42) | _box(-0.5, 0.1, 0.55, 0.6)
    ),
    "flag": lambda: _box(-0.9, -0.95, -0.68, 0.98) | _polygon([(-0.7, -0.9), (0.95, -0.65), (0.95, 0.0), (-0.7, 0.2)]),
    "drop": lambda: _disc(0, 0.32, 0.62) | _polygon([(0, -0.98), (0.52, 0.02), (-0.52, 0.02)]),
    "hat": lambda: _box(-0.98, 0.4, 0.98, 0.72) | _polygon([(-0.52, 0.42), (-0.44, -0.7), (0.44, -0.7), (0.52, 0.42)]),
    "boat": lambda: _polygon(
        [(-0.95, 0.4), (0.95, 0.4), (0.55, 0.92), (-0.55, 0.92)],
        [(0.04, -0.95), (0.04, 0.28), (0.75, 0.28)],
        [(-0.08, -0.7), (-0.08, 0.28), (-0.6, 0.28)],
    ),
    "hourglass": lambda: _polygon(
        [(-0.7, -0.95), (0.7, -0.95), (0.1, 0.0), (-0.1, 0.0)], [(-0.1, 0.0), (0.1, 0.0), (0.7, 0.95), (-0.7, 0.95)]
    ),
    "crown": lambda: _polygon(
        [(-0.9, 0.75), (-0.95, -0.6), (-0.45, 0.1), (0, -0.85), (0.45, 0.1), (0.95, -0.6), (0.9, 0.75)]
    ),
    "mushroom": lambda: (_disc(0, 0, 0.95, 0.85) & ~_box(-1, 0.05, 1, 1)) | _box(-0.28, 0, 0.28, 0.9),
}
KINDS_OF_OBJECT: tuple[str, ...] = (*SHAPES, *_EXTRA)


@cache
def _whole(kind: str) -> Image.Image:
    if kind not in KINDS_OF_OBJECT:
        raise ValueError(f"kind must be one of {', '.join(KINDS_OF_OBJECT)}, got {kind!r}")
    mask = _EXTRA[kind]() if kind in _EXTRA else shape_mask(kind, _SIDE)
    return Image.fromarray(mask.astype(np.uint8) * 255)


@lru_cache(maxsize=4096)
def coverage(kind: str, side_px: int) -> NDArray[np.float32]:
    """``(S, S)`` share of each pixel that the object covers.

    Raises:
        ValueError: If there is no such kind.
    """
    small = _whole(kind).resize((side_px, side_px), Image.Resampling.BOX)
    return np.asarray(np.asarray(small) / np.float32(255), dtype=np.float32)
