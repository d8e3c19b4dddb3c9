"""Writes the benchmark of moments: real H.264 files by seed, and a manifest of questions of all kinds."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.lab.moments.films import FilmLook, draw_look, render_film, write_film
from pipeline.lab.moments.plan import Story, StorySpec, draw_story
from pipeline.lab.moments.questions import KINDS, MOST_QUESTIONS_PER_KIND, Asked, Kind, draw_questions

_VERSION = 1
_TAG = 53  # of this benchmark's random streams
_LOOK, _PLAN, _PIXELS, _QUESTIONS = range(4)

MANIFEST_SCHEMA = pa.schema(
    [
        ("question_id", pa.string()),
        ("video", pa.string()),
        ("question", pa.string()),
        ("options", pa.list_(pa.string())),
        ("expected", pa.string()),  # the letter; null where the video holds no answer
        ("kind", pa.string()),
        ("num_frames_asked", pa.int64()),  # sampled frames of the video
        ("needle_frames", pa.int64()),  # sampled frames that show what decides the answer
        ("distractor_density", pa.float64()),
        ("needle_start_s", pa.list_(pa.float64())),  # what decides the answer, by time, half open
        ("needle_end_s", pa.list_(pa.float64())),
        ("shape", pa.string()),  # aspect ratio of the frame
        ("has_bars", pa.bool_()),
        ("is_turned", pa.bool_()),
        ("is_held_out", pa.bool_()),  # drawn in styles that training never sees
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class MomentBenchmarkSpec:
    """What to make: ``videos_per_length`` videos of each number of sampled frames, each asked ``kinds``.

    Leaving kinds or questions out changes neither the videos nor the other questions.
    """

    num_frames: tuple[int, ...]
    videos_per_length: int
    seed: int
    kinds: tuple[Kind, ...] = KINDS
    questions_per_kind: int = MOST_QUESTIONS_PER_KIND
    story: StorySpec = field(default_factory=StorySpec)
    bars_share: float = 0.3
    held_out_share: float = 0.3
    sample_fps: float = 2.0

    def __post_init__(self) -> None:
        if not self.num_frames or len(set(self.num_frames)) < len(self.num_frames):
            raise ValueError(f"num_frames must name at least one length, each once, got {self.num_frames}")
        if self.videos_per_length < 1:
            raise ValueError(f"videos_per_length must be at least 1, got {self.videos_per_length}")
        if not 1 <= self.questions_per_kind <= MOST_QUESTIONS_PER_KIND:
            raise ValueError(
                f"questions_per_kind must be between 1 and {MOST_QUESTIONS_PER_KIND}, got {self.questions_per_kind}"
            )
        if not self.kinds or set(self.kinds) - set(KINDS):
            raise ValueError(f"kinds must be some of {', '.join(KINDS)}, got {self.kinds}")
        for name, share in (("bars_share", self.bars_share), ("held_out_share", self.held_out_share)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {share}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Video:
    """One video to make; its random streams depend on seed, length and number only."""

    spec: MomentBenchmarkSpec
    num_frames: int
    number: int

    @property
    def name(self) -> str:
        return f"m{self.num_frames:05d}-v{self.number:03d}"

    def rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng(
            np.random.SeedSequence([_TAG, self.spec.seed, self.num_frames, self.number, stream])
        )

    def look(self) -> FilmLook:
        spec = self.spec
        return draw_look(self.rng(_LOOK), bars_share=spec.bars_share, held_out_share=spec.held_out_share)


def write_moment_benchmark(
    folder: Path, spec: MomentBenchmarkSpec, *, on_video: Callable[[int, Path], None] = lambda number, path: None
) -> Path:
    """Write ``videos/`` and ``manifest.parquet`` into ``folder``; finished videos are kept, so a second call goes on.

    Returns:
        The path of the manifest, whose video paths are relative to it.

    Raises:
        ValueError: If the folder holds another benchmark, or a video is too short for its moments.
    """
    videos = folder / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    _claim(folder / "benchmark.json", spec)
    rows: list[dict[str, object]] = []
    for length in spec.num_frames:
        for number in range(spec.videos_per_length):
            video = _Video(spec=spec, num_frames=length, number=number)
            look, path = video.look(), videos / f"{video.name}.mp4"
            story = draw_story(video.rng(_PLAN), spec.story, length, aspect=look.canvas.aspect)
            if not path.exists():
                write_film(
                    path,
                    render_film(video.rng(_PIXELS), story, look, fps=spec.sample_fps),
                    look,
                    fps=spec.sample_fps,
                )
            rows += _manifest_rows(video, story, look)
            on_video(len(rows), path)
    manifest = folder / "manifest.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA), manifest)
    return manifest


def _claim(marker: Path, spec: MomentBenchmarkSpec) -> None:
    described = {
        "version": _VERSION,
        "seed": spec.seed,
        "fps": spec.sample_fps,
        "story": repr(spec.story),
        "bars_share": spec.bars_share,
        "held_out_share": spec.held_out_share,
    }
    text = json.dumps(described, indent=2) + "\n"
    if marker.exists() and marker.read_text() != text:
        raise ValueError(
            f"{marker.parent} holds another benchmark ({marker.read_text().strip()}), not {text.strip()}; "
            "choose another folder"
        )
    marker.write_text(text)


def _manifest_rows(video: _Video, story: Story, look: FilmLook) -> list[dict[str, object]]:
    spec = video.spec
    asked: Sequence[Asked] = draw_questions(
        video.rng(_QUESTIONS), story, kinds=spec.kinds, per_kind=spec.questions_per_kind
    )
    return [
        {
            "question_id": f"m{spec.seed}-{video.name}-{question.kind}-{question.subject}",
            "video": f"videos/{video.name}.mp4",
            "question": question.text,
            "options": list(question.options),
            "expected": question.expected,
            "kind": question.kind,
            "num_frames_asked": video.num_frames,
            "needle_frames": sum(moment.end_frame - moment.start_frame for moment in question.evidence),
            "distractor_density": spec.story.distractor_density,
            "needle_start_s": [moment.start_frame / spec.sample_fps for moment in question.evidence],
            "needle_end_s": [moment.end_frame / spec.sample_fps for moment in question.evidence],
            "shape": look.shape,
            "has_bars": look.content_aspect is not None,
            "is_turned": look.is_turned,
            "is_held_out": look.is_held_out,
        }
        for question in asked
    ]
