"""What a run has to do about one video."""

from dataclasses import dataclass

from pipeline.manifest.questions import Question
from pipeline.manifest.time_range import TimeRange


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoTask:
    """One video, or one part of it, and its pending questions, in manifest order."""

    video_id: int
    uri: str
    fingerprint: str
    questions: tuple[Question, ...]
    question_keys: tuple[str, ...]
    time_range: TimeRange | None = None
