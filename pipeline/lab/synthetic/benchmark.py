"""Writes a synthetic long-video benchmark: real H.264 files by seed, and a manifest of questions of all kinds."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.demo.archive import encode_h264, generator, render_frames
from pipeline.demo.scenes import Appearance, place_appearance
from pipeline.lab.synthetic.questions import KINDS, MOST_QUESTIONS_PER_KIND, DrawnQuestion, Kind, draw_questions
from pipeline.lab.synthetic.timeline import Timeline, TimelineSpec, draw_timeline

_VERSION = 3
_PLAN, _LOOKS, _PIXELS, _QUESTIONS = range(4)  # independent random streams of one video

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
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkSpec:
    """What to make: ``videos_per_length`` videos of each number of sampled frames, each asked ``kinds``.

    Leaving kinds or questions out changes neither the videos nor the other questions.
    """

    num_frames: tuple[int, ...]
    videos_per_length: int
    seed: int
    kinds: tuple[Kind, ...] = KINDS
    questions_per_kind: int = MOST_QUESTIONS_PER_KIND
    timeline: TimelineSpec = field(default_factory=TimelineSpec)
    sample_fps: float = 2.0

    def __post_init__(self) -> None:
        if not self.num_frames or len(set(self.num_frames)) < len(self.num_frames):
            raise ValueError(f"num_frames must name at least one length, each once, got {self.num_frames}")
        if self.videos_per_length < 1:
            raise ValueError(f"videos_per_length must be at least 1, got {self.videos_per_length}")
        if not 1 <= self.questions_per_kind <= MOST_QUESTIONS_PER_KIND:
            raise ValueError(
                f"questions_per_kind must be between 1 and {MOST_QUESTIONS_PER_KIND} (a video has that many shapes "
                f"for it), got {self.questions_per_kind}"
            )
        if not self.kinds or set(self.kinds) - set(KINDS):
            raise ValueError(f"kinds must be some of {', '.join(KINDS)}, got {self.kinds}")
        for length in self.num_frames:
            self.timeline.check_room(length)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Video:
    """One video to make; its random streams depend on seed, length and number only."""

    spec: BenchmarkSpec
    num_frames: int
    number: int

    @property
    def name(self) -> str:
        return f"n{self.num_frames:05d}-v{self.number:03d}"

    def plan(self) -> Timeline:
        return draw_timeline(self._rng(_PLAN), self.spec.timeline, self.num_frames)

    def questions(self, plan: Timeline) -> list[DrawnQuestion]:
        spec = self.spec
        return draw_questions(self._rng(_QUESTIONS), plan, kinds=spec.kinds, per_kind=spec.questions_per_kind)

    def write(self, path: Path, plan: Timeline) -> None:
        rng = self._rng(_LOOKS)
        timeline: list[Appearance] = [
            place_appearance(
                rng,
                shape=event.shape,
                color=event.color,
                start_frame=event.start_frame,
                num_frames=event.end_frame - event.start_frame,
            )
            for event in plan.events
        ]
        frames = render_frames(self._rng(_PIXELS), timeline, num_frames=self.num_frames)
        encode_h264(path, frames, fps=Fraction(self.spec.sample_fps).limit_denominator(1000))

    def _rng(self, stream: int) -> np.random.Generator:
        return generator("synthetic", self.spec.seed, self.num_frames, self.number, stream)


def write_benchmark(
    folder: Path, spec: BenchmarkSpec, *, on_video: Callable[[int, Path], None] = lambda number, path: None
) -> Path:
    """Write ``videos/`` and ``manifest.parquet`` into ``folder``.

    Finished videos of the same seed and timeline are kept, so an interrupted call goes on, and more lengths, videos or
    kinds may be added later. The manifest is written last and always lists exactly what ``spec`` asks for.

    Returns:
        The path of the manifest, whose video paths are relative to it.

    Raises:
        ValueError: If the folder holds a benchmark of another seed or timeline.
    """
    videos = folder / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    _claim(folder / "benchmark.json", spec)
    rows: list[dict[str, object]] = []
    for length in spec.num_frames:
        for number in range(spec.videos_per_length):
            video = _Video(spec=spec, num_frames=length, number=number)
            plan, path = video.plan(), videos / f"{video.name}.mp4"
            if not path.exists():
                video.write(path, plan)
            rows += _manifest_rows(video, video.questions(plan))
            on_video(len(rows), path)
    manifest = folder / "manifest.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA), manifest)
    return manifest


def _claim(marker: Path, spec: BenchmarkSpec) -> None:
    described = {"version": _VERSION, "seed": spec.seed, "fps": spec.sample_fps, "timeline": repr(spec.timeline)}
    text = json.dumps(described, indent=2) + "\n"
    if marker.exists() and marker.read_text() != text:
        raise ValueError(
            f"{marker.parent} holds another benchmark ({marker.read_text().strip()}), not {text.strip()}; "
            "choose another folder"
        )
    marker.write_text(text)


def _manifest_rows(video: _Video, questions: Sequence[DrawnQuestion]) -> list[dict[str, object]]:
    spec = video.spec
    return [
        {
            "question_id": f"s{spec.seed}-{video.name}-{question.kind}-{'-'.join(question.shapes)}",
            "video": f"videos/{video.name}.mp4",
            "question": question.text,
            "options": list(question.options),
            "expected": question.expected,
            "kind": question.kind,
            "num_frames_asked": video.num_frames,
            "needle_frames": sum(event.end_frame - event.start_frame for event in question.evidence),
            "distractor_density": spec.timeline.distractor_density,
            "needle_start_s": [event.start_frame / spec.sample_fps for event in question.evidence],
            "needle_end_s": [event.end_frame / spec.sample_fps for event in question.evidence],
        }
        for question in questions
    ]
