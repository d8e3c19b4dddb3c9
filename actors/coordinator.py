"""Takes every decision of a run, by asking ``pipeline.engine.JobState``; hands out work and collects finished rows."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.engine.job_state import JobState
from pipeline.engine.messages.work import Batch, Completion, WorkKey
from pipeline.engine.progress import Progress
from pipeline.engine.rows import build_rows
from pipeline.failures import Failure
from pipeline.planning.tasks import VideoTask
from pipeline.results.rows import QuestionResult, RunStamp
from pipeline.settings.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoOutcome:
    """All rows of one finished video: what one commit holds."""

    video_id: int
    rows: tuple[QuestionResult, ...]


class CoordinatorActor:
    """Plain class; one per run. It sees scores and keys, never frames or features."""

    def __init__(self, tasks: Sequence[VideoTask], *, config: RunConfig, stamp: RunStamp) -> None:
        self._state = JobState(tasks, config=config)
        self._stamp = stamp

    def exchange(self, worker: str, completions: Sequence[Completion]) -> Batch:
        """A worker's results in, its next work out; an empty batch means nothing is ready for it yet."""
        return self._state.exchange(worker, completions)

    def with_mail(self) -> AbstractSet[str]:
        """Workers that have tokens to hand out, which others wait for."""
        return self._state.with_mail

    def lose_worker(self, worker: str, failure: Failure | None = None) -> None:
        """Redo elsewhere what a dead worker held."""
        self._state.lose_worker(worker, failure)

    def take_outcomes(self) -> list[VideoOutcome]:
        """Videos that finished since the last call."""
        now = datetime.now(UTC)
        return [
            VideoOutcome(
                video_id=video.task.video_id, rows=tuple(build_rows(video, stamp=self._stamp, finished_at=now))
            )
            for video in self._state.take_finished()
        ]

    def take_cancelled(self) -> dict[str, tuple[WorkKey, ...]]:
        """By worker, work in flight that nobody needs any more, since the last call."""
        return self._state.take_cancelled()

    def progress(self) -> Progress:
        """Counts so far."""
        return self._state.progress

    def is_finished(self) -> bool:
        """Whether every video has ended."""
        return self._state.is_finished
