"""What the demo videos show: coloured shapes that pass over moving textures. Pixels only; encoding is ``archive``'s.

Shape suffixes:
- H, W = frame height and width in pixels
- S = side of an object in pixels
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 160, 120
SHAPES = ("circle", "square", "triangle", "star", "cross", "diamond", "ring", "heart")
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (215, 35, 35),
    "green": (35, 165, 50),
    "blue": (40, 75, 220),
    "yellow": (235, 210, 40),
    "purple": (160, 45, 190),
    "cyan": (50, 205, 215),
}
OBJECT_SIDE_PX = (64, 92)  # smallest and largest side of an object
OFF_CENTRE_PX = (26, 14)  # farthest from the middle of the picture at first, across and down
SCENE_FRAMES = (24, 160)  # shortest and longest time between two cuts, in frames
_PAN_MARGIN_PX = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Appearance:
    """One object that is visible in the frames ``[start_frame, end_frame)``."""

    shape: str
    color: str
    start_frame: int
    end_frame: int
    side_px: int
    left_px: float
    top_px: float
    velocity_x: float
    velocity_y: float

    def corner_at(self, frame: int) -> tuple[int, int]:
        """Left and top of the object in one frame, kept inside the picture."""
        age = frame - self.start_frame
        left = min(max(self.left_px + age * self.velocity_x, 0), WIDTH - self.side_px)
        top = min(max(self.top_px + age * self.velocity_y, 0), HEIGHT - self.side_px)
        return int(left), int(top)


def place_appearance(
    rng: np.random.Generator, *, shape: str, color: str, start_frame: int, num_frames: int
) -> Appearance:
    """Draw size, place and a slow drift for an object of known shape, colour and time."""
    side_px = int(rng.integers(OBJECT_SIDE_PX[0], OBJECT_SIDE_PX[1] + 1))
    across, down = OFF_CENTRE_PX
    return Appearance(
        shape=shape,
        color=color,
        start_frame=start_frame,
        end_frame=start_frame + num_frames,
        side_px=side_px,
        left_px=float((WIDTH - side_px) / 2 + rng.uniform(-across, across)),
        top_px=float((HEIGHT - side_px) / 2 + rng.uniform(-down, down)),
        velocity_x=float(rng.uniform(-0.4, 0.4)),
        velocity_y=float(rng.uniform(-0.2, 0.2)),
    )


def shape_mask(shape: str, side_px: int) -> NDArray[np.bool_]:
    """Which pixels of an ``(S, S)`` box belong to the shape."""
    return np.asarray(_is_inside(shape, side_px), dtype=bool)


def _is_inside(shape: str, side_px: int) -> Any:
    y, x = np.mgrid[0:side_px, 0:side_px] / (side_px - 1) * 2 - 1  # both in [-1, 1], y grows downwards
    radius = np.hypot(x, y)
    if shape == "circle":
        return radius <= 1
    if shape == "square":
        return np.maximum(abs(x), abs(y)) <= 0.86
    if shape == "triangle":
        return (y <= 0.85) & (abs(x) <= (y + 1) / 1.85)
    if shape == "star":
        angle = np.arctan2(x, -y)
        phase = np.abs((angle / (2 * np.pi) * 5 + 0.5) % 1 - 0.5) * 2  # 0 at a tip, 1 between two tips
        return radius <= 1.0 - 0.62 * phase
    if shape == "cross":
        return ((abs(x) <= 0.3) | (abs(y) <= 0.3)) & (np.maximum(abs(x), abs(y)) <= 0.96)
    if shape == "diamond":
        return abs(x) * 1.35 + abs(y) <= 1
    if shape == "ring":
        return (radius <= 1) & (radius >= 0.58)
    if shape == "heart":
        u, v = x * 1.2, -(y * 1.2) + 0.15
        return (u**2 + v**2 - 1) ** 3 - u**2 * v**3 <= 0
    raise ValueError(f"shape must be one of {', '.join(SHAPES)}, got {shape!r}")


def _upsampled_noise(rng: np.random.Generator, *, cells: int, height: int, width: int) -> NDArray[np.float32]:
    """Smooth noise in [0, 1], ``(H, W)``, with about ``cells`` blobs across."""
    coarse = rng.random((max(2, cells * 3 // 4), max(2, cells))).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def make_texture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """One background, ``(H + margin, W + margin, 3)``: blobs, stripes, checks or a gradient in muted colours."""
    height, width = HEIGHT + _PAN_MARGIN_PX, WIDTH + _PAN_MARGIN_PX
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    kind = rng.integers(0, 4)
    if kind == 0:
        pattern = _upsampled_noise(rng, cells=int(rng.integers(3, 12)), height=height, width=width)
    elif kind == 1:
        angle, period = rng.uniform(0, np.pi), rng.uniform(12, 60)
        pattern = 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) / period * 2 * np.pi)
    elif kind == 2:
        period = int(rng.integers(10, 40))
        pattern = ((x // period + y // period) % 2).astype(np.float32)
    else:
        pattern = (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)) / (width + height) + 0.5
    pattern = 0.75 * pattern + 0.25 * _upsampled_noise(rng, cells=20, height=height, width=width)
    grey = rng.uniform(40, 215)
    tint = rng.uniform(-28, 28, size=(2, 3))
    low, high = grey + tint[0], grey + rng.uniform(-70, 70) + tint[1]
    texture = low + (high - low) * np.clip(pattern, 0, 1)[..., None]
    return np.asarray(np.clip(texture + rng.normal(0, 3, texture.shape), 0, 255), dtype=np.uint8)


class Scenery:
    """The background of one video: one texture per scene, panned slowly, with hard cuts."""

    def __init__(self, rng: np.random.Generator, *, scene_frames: tuple[int, int] = SCENE_FRAMES) -> None:
        self._rng = rng
        self._scene_frames = scene_frames
        self._frames_left = 0

    def next_frame(self) -> NDArray[np.uint8]:
        """The next ``(H, W, 3)`` background, a copy that the caller may draw on."""
        if self._frames_left == 0:
            self._frames_left = int(self._rng.integers(*self._scene_frames))
            self._texture = make_texture(self._rng)
            self._phase = self._rng.uniform(0, 2 * np.pi, size=2)
            self._speed = self._rng.uniform(0.005, 0.05, size=2)
        self._frames_left -= 1
        self._phase = self._phase + self._speed
        left, top = ((np.sin(self._phase) + 1) / 2 * _PAN_MARGIN_PX).astype(int)
        view: NDArray[np.uint8] = self._texture[top : top + HEIGHT, left : left + WIDTH]
        return view.copy()


class Sprite:
    """One appearance, drawn once: colour with a little shading, and a dark outline."""

    def __init__(self, appearance: Appearance, rng: np.random.Generator) -> None:
        self._appearance = appearance
        side = appearance.side_px
        self._mask = shape_mask(appearance.shape, side)
        inner = self._mask.copy()
        for axis, step in ((0, 2), (0, -2), (1, 2), (1, -2)):
            inner &= np.roll(self._mask, step, axis=axis)
        shade = 1 + 0.18 * (_upsampled_noise(rng, cells=4, height=side, width=side) - 0.5)
        color = np.array(COLORS[appearance.color]) + rng.uniform(-14, 14, size=3)
        pixels = np.clip(color * shade[..., None], 0, 255)
        pixels[self._mask & ~inner] *= 0.25
        self._pixels = pixels.astype(np.uint8)

    def draw(self, picture: NDArray[np.uint8], frame: int) -> None:
        """Draw into ``picture`` (H, W, 3), in place."""
        left, top = self._appearance.corner_at(frame)
        side = self._appearance.side_px
        picture[top : top + side, left : left + side][self._mask] = self._pixels[self._mask]
