"""Makes the demo archive: real H.264 files with short needles in long videos, and the manifest that asks about them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.demo.scenes import (
    COLORS,
    HEIGHT,
    SCENE_FRAMES,
    SHAPES,
    WIDTH,
    Appearance,
    Scenery,
    Sprite,
    place_appearance,
)
from pipeline.video.demo_mark import mark_demo_video

NEEDLE_FRAMES = (4, 64)  # sampled frames a needle is visible for, uniformly
NUM_OPTIONS = 4
KEYFRAME_INTERVAL = 250
_GAP_FRAMES = 2  # free frames between two objects
_SPLIT_TAG = {
    "train": 11,
    "archive": 23,
    "synthetic": 37,
}  # disjoint random streams: no texture, place or time is shared
Split = Literal["train", "archive", "synthetic"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveSpec:
    """What to make. ``num_frames`` counts sampled frames, one value per video."""

    num_frames: tuple[int, ...]
    questions_per_video: int
    seed: int
    sample_fps: float = 2.0
    encoded_frames_per_sample: int = 1
    distractor_share: float = 0.06
    open_questions_per_video: int = 0
    split: Split = "archive"
    needle_frames: tuple[int, int] = NEEDLE_FRAMES
    scene_frames: tuple[int, int] = SCENE_FRAMES

    def __post_init__(self) -> None:
        most = len(SHAPES) - 2  # two shapes always remain for distractors
        if not 1 <= self.questions_per_video <= most:
            raise ValueError(
                f"questions_per_video must be between 1 and {most} (one shape each), got {self.questions_per_video}"
            )
        if not 0 <= self.open_questions_per_video <= self.questions_per_video:
            raise ValueError(
                f"open_questions_per_video must be between 0 and {self.questions_per_video}, "
                f"got {self.open_questions_per_video}"
            )
        fewest = self.questions_per_video * (self.needle_frames[1] + _GAP_FRAMES) * 2
        if not self.num_frames or min(self.num_frames) < fewest:
            raise ValueError(
                f"num_frames must be at least {fewest} for {self.questions_per_video} questions, got {self.num_frames}"
            )
        if self.encoded_frames_per_sample < 1 or not 0 <= self.distractor_share <= 0.5:
            raise ValueError(
                f"encoded_frames_per_sample must be at least 1 and distractor_share in [0, 0.5], "
                f"got {self.encoded_frames_per_sample} and {self.distractor_share}"
            )


def demo_spec() -> ArchiveSpec:
    """The archive of ``run.py --demo``: a video of 10,000 sampled frames among others; 12 questions, 3 of them open."""
    return ArchiveSpec(num_frames=(10_000, 4_000, 3_000), questions_per_video=4, open_questions_per_video=1, seed=2026)


def generator(split: Split, seed: int, *stream: int) -> np.random.Generator:
    """Independent random numbers for one purpose; training and archive never share a stream."""
    return np.random.default_rng(np.random.SeedSequence([_SPLIT_TAG[split], seed, *stream]))


def plan_timeline(rng: np.random.Generator, spec: ArchiveSpec, num_frames: int) -> list[Appearance]:
    """Needles first (one shape each, once per video), then distractors of other shapes; none overlap in time."""
    shapes = [str(shape) for shape in rng.permutation(SHAPES)]
    needles, distractors = shapes[: spec.questions_per_video], shapes[spec.questions_per_video :]
    is_free = np.ones(num_frames, dtype=bool)
    timeline: list[Appearance] = []

    def add(shape: str) -> int:
        length = int(rng.integers(spec.needle_frames[0], spec.needle_frames[1] + 1))
        start = _free_start(rng, is_free, length)
        is_free[max(0, start - _GAP_FRAMES) : start + length + _GAP_FRAMES] = False
        color = str(rng.choice(list(COLORS)))
        timeline.append(place_appearance(rng, shape=shape, color=color, start_frame=start, num_frames=length))
        return length

    for shape in needles:
        add(shape)
    frames_left = int(spec.distractor_share * num_frames)
    while frames_left > 0:
        frames_left -= add(str(rng.choice(distractors)))
    return timeline


def _free_start(rng: np.random.Generator, is_free: np.ndarray, length: int) -> int:
    windows = np.convolve(is_free, np.ones(length, dtype=int), mode="valid") == length
    starts = np.flatnonzero(windows)
    if starts.size == 0:
        raise ValueError(f"no room for {length} more frames with an object; use more frames or fewer distractors")
    return int(rng.choice(starts))


def render_frames(
    rng: np.random.Generator,
    timeline: list[Appearance],
    *,
    num_frames: int,
    repeats: int = 1,
    scene_frames: tuple[int, int] = SCENE_FRAMES,
) -> Iterator[np.ndarray]:
    """Yield ``num_frames * repeats`` pictures, ``(H, W, 3)`` uint8 RGB."""
    scenery = Scenery(rng, scene_frames=scene_frames)
    sprites = [(appearance, Sprite(appearance, rng)) for appearance in timeline]
    by_frame: dict[int, list[Sprite]] = {}
    for appearance, sprite in sprites:
        for frame in range(appearance.start_frame, appearance.end_frame):
            by_frame.setdefault(frame, []).append(sprite)
    for index in range(num_frames * repeats):
        picture = scenery.next_frame()
        for sprite in by_frame.get(index // repeats, ()):
            sprite.draw(picture, index // repeats)
        yield picture


def encode_h264(path: Path, frames: Iterator[np.ndarray], *, fps: Fraction) -> None:
    """Write an MP4 with B-frames and one keyframe every 250 frames; appears under ``path`` only when complete."""
    import av

    unfinished = path.with_name(f".tmp-{path.name}")
    with av.open(str(unfinished), "w", format="mp4") as container:
        mark_demo_video(container)
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {
            "preset": "veryfast",
            "crf": "23",
            "g": str(KEYFRAME_INTERVAL),
            "keyint_min": str(KEYFRAME_INTERVAL),
            "sc_threshold": "0",
            "threads": "1",  # the same bytes on every machine
        }
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    unfinished.rename(path)


def write_video(path: Path, spec: ArchiveSpec, *, video_index: int) -> list[Appearance]:
    """Plan, render and encode one video of the archive; returns its timeline."""
    num_frames = spec.num_frames[video_index]
    timeline = plan_timeline(generator(spec.split, spec.seed, video_index, 0), spec, num_frames)
    frames = render_frames(
        generator(spec.split, spec.seed, video_index, 1),
        timeline,
        num_frames=num_frames,
        repeats=spec.encoded_frames_per_sample,
        scene_frames=spec.scene_frames,
    )
    fps = Fraction(spec.sample_fps).limit_denominator(1000) * spec.encoded_frames_per_sample
    encode_h264(path, frames, fps=fps)
    return timeline


def plan_questions(timeline: list[Appearance], spec: ArchiveSpec, *, video_index: int) -> list[dict[str, object]]:
    """One question per needle: its colour, among four options in random order, or in words."""
    rng = generator(spec.split, spec.seed, video_index, 2)
    rows: list[dict[str, object]] = []
    for index, needle in enumerate(timeline[: spec.questions_per_video]):
        others = [str(color) for color in rng.permutation([c for c in COLORS if c != needle.color])]
        options = [str(color) for color in rng.permutation([needle.color, *others[: NUM_OPTIONS - 1]])]
        is_open = index >= spec.questions_per_video - spec.open_questions_per_video
        rows.append(
            {
                "question_id": f"s{spec.seed}-v{video_index:03d}-q{index}",
                "video": f"videos/v{video_index:03d}.mp4",
                "question": f"What color is the {needle.shape}?",
                "options": None if is_open else options,
                "expected": needle.color if is_open else "ABCD"[options.index(needle.color)],
                "needle_start_s": needle.start_frame / spec.sample_fps,
                "needle_end_s": needle.end_frame / spec.sample_fps,
            }
        )
    return rows


MANIFEST_SCHEMA = pa.schema(
    [
        ("question_id", pa.string()),
        ("video", pa.string()),
        ("question", pa.string()),
        ("options", pa.list_(pa.string())),
        ("expected", pa.string()),
        ("needle_start_s", pa.float64()),
        ("needle_end_s", pa.float64()),
    ]
)


def write_archive(
    folder: Path, spec: ArchiveSpec, *, on_video: Callable[[int, Path], None] = lambda index, path: None
) -> Path:
    """Write the videos and ``manifest.parquet`` into ``folder``; finished videos of the same spec are kept.

    Returns:
        The path of the manifest, whose video paths are relative to it.
    """
    videos = folder / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    marker, spec_text = folder / "archive.json", json.dumps({"version": 2, "spec": repr(spec)})
    if not marker.exists() or marker.read_text() != spec_text:  # another archive was here: none of it is kept
        for stale in videos.glob("*.mp4"):
            stale.unlink()
        marker.write_text(spec_text)
    rows: list[dict[str, object]] = []
    for index, num_frames in enumerate(spec.num_frames):
        path = videos / f"v{index:03d}.mp4"
        if path.exists():
            timeline = plan_timeline(generator(spec.split, spec.seed, index, 0), spec, num_frames)
        else:
            timeline = write_video(path, spec, video_index=index)
        rows += plan_questions(timeline, spec, video_index=index)
        on_video(index, path)
    manifest = folder / "manifest.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA), manifest)
    return manifest
