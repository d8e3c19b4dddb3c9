"""Writes a story as a real H.264 file: of any shape, with or without bars, upright or turned by its metadata.

Shape suffixes: H, W = frame height and width in pixels
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.lab.moments.backdrop import Camera, draw_overlays, noisy
from pipeline.lab.moments.looks import Canvas, make_canvas, place_moment
from pipeline.lab.moments.plan import Story
from pipeline.lab.moments.sprites import HELD_OUT_STYLES, TRAINED_STYLES, Style
from pipeline.video.demo_mark import mark_demo_video

SHAPES: dict[str, tuple[int, int]] = {  # height and width as seen
    "4:3": (120, 160),
    "16:9": (144, 256),
    "1:1": (144, 144),
    "21:9": (144, 336),
    "9:16": (256, 144),
}
_BARS: dict[str, tuple[float, ...]] = {  # aspect ratios of pictures within such frames
    "4:3": (16 / 9, 1.0),
    "16:9": (21 / 9, 4 / 3),
    "1:1": (4 / 3, 3 / 4),
    "21:9": (16 / 9,),
    "9:16": (3 / 4,),
}
_GRAIN = (0.0, 5.0)
_SHOT_FRAMES = (24, 160)
_FADE_IN_FRAMES = 2
_KEYFRAME_INTERVAL = 250


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmLook:
    """What a whole film looks like.

    Attributes:
        shape: name of the frame's aspect ratio.
        content_aspect: of the picture inside bars; None: no bars.
        is_turned: stored on its side, with metadata that say so.
        is_held_out: objects are drawn in styles that training never sees.
    """

    shape: str
    content_aspect: float | None
    is_turned: bool
    is_held_out: bool

    @property
    def canvas(self) -> Canvas:
        """Frame and bars."""
        return make_canvas(*SHAPES[self.shape], content_aspect=self.content_aspect)

    @property
    def styles(self) -> tuple[Style, ...]:
        """Of objects."""
        return HELD_OUT_STYLES if self.is_held_out else TRAINED_STYLES


def draw_look(rng: np.random.Generator, *, bars_share: float, held_out_share: float) -> FilmLook:
    """Any shape; upright films are stored on their side as often as not."""
    shape = str(rng.choice(list(SHAPES)))
    has_bars, is_turned, is_held_out = rng.random(3) < (bars_share, 0.5, held_out_share)
    content = float(rng.choice(_BARS[shape]))
    return FilmLook(
        shape=shape,
        content_aspect=content if has_bars else None,
        is_turned=bool(is_turned and shape == "9:16"),
        is_held_out=bool(is_held_out),
    )


def render_film(rng: np.random.Generator, story: Story, look: FilmLook, *, fps: float) -> Iterator[NDArray[np.uint8]]:
    """Yield ``(H, W, 3)`` pictures, one per sampled frame."""
    canvas = look.canvas
    camera = Camera(rng, height=canvas.box_height, width=canvas.box_width, shot_frames=_SHOT_FRAMES)
    overlays = draw_overlays(rng, height=canvas.height, width=canvas.width)
    grain, begins = rng.uniform(*_GRAIN), rng.uniform(0, 40_000)
    coming = ((moment, place_moment(rng, moment, canvas, styles=look.styles)) for moment in story.moments)
    moment, placed = next(coming)
    fades_in = bool(rng.random() < 0.5)
    for index in range(story.num_frames):
        if index >= moment.end_frame:
            moment, placed = next(coming, (moment, []))
        picture = noisy(rng, camera.next_frame(), grain)
        if moment.start_frame <= index < moment.end_frame:
            age, is_long = index - moment.start_frame, moment.end_frame - moment.start_frame > 8
            opacity = (age + 1) / (_FADE_IN_FRAMES + 1) if fades_in and is_long and age < _FADE_IN_FRAMES else 1.0
            for one in placed:
                one.draw(picture, age, opacity=opacity)
        frame = np.zeros((canvas.height, canvas.width, 3), dtype=np.uint8)
        canvas.box(frame)[:] = picture
        overlays.draw(frame, begins + index / fps)
        yield frame


def write_film(path: Path, frames: Iterator[NDArray[np.uint8]], look: FilmLook, *, fps: float) -> None:
    """Write an MP4; it appears under ``path`` only when complete."""
    import av

    canvas = look.canvas
    height, width = (canvas.width, canvas.height) if look.is_turned else (canvas.height, canvas.width)
    unfinished = path.with_name(f".tmp-{path.name}")
    with av.open(str(unfinished), "w", format="mp4") as container:
        mark_demo_video(container)
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "23", "g": str(_KEYFRAME_INTERVAL), "threads": "1"}
        if look.is_turned:
            stream.set_display_rotation(90)  # counterclockwise: the file is stored turned the other way
        for pixels in frames:
            stored = np.ascontiguousarray(np.rot90(pixels, -1)) if look.is_turned else pixels
            container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode())
    unfinished.rename(path)
