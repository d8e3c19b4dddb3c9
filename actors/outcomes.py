"""What an executor yields, the rows of each finished video; and what ends it before that."""

from dataclasses import dataclass
from datetime import UTC, datetime

from actors.span_clock import SpanClock, StageSpan
from pipeline.engine.job_state import JobState
from pipeline.engine.rows import build_rows
from pipeline.failures import Failure, OutageError
from pipeline.results.rows import QuestionResult, RunStamp


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoOutcome:
    """All rows of one finished video: what one commit holds; ``notes`` are for the log.

    ``planned_keys``: of the rows, where they have others now, as the video was replaced while it was read. ``stages``:
    where the run is traced.
    """

    video_id: int
    rows: tuple[QuestionResult, ...]
    notes: tuple[str, ...] = ()
    planned_keys: tuple[str, ...] = ()
    stages: tuple[StageSpan, ...] = ()


def take_outcomes(state: JobState, stamp: RunStamp, clock: SpanClock | None = None) -> list[VideoOutcome]:
    """Videos that finished since the last call; ``clock``: of a run that is traced."""
    now = datetime.now(UTC)
    return [
        VideoOutcome(
            video_id=video.task.video_id,
            rows=tuple(build_rows(video, stamp=stamp, finished_at=now)),
            notes=tuple(video.spent.notes),
            planned_keys=() if video.found is None else video.task.question_keys,
            stages=() if clock is None else clock.take(video.task.video_id),
        )
        for video in state.take_finished()
    ]


def check_outage(outage: Failure | None) -> None:
    """Raise where the state machine says that the job cannot go on.

    Raises:
        OutageError: The storage of the videos has been away for too long.
    """
    if outage is not None:
        raise OutageError(outage.failure_class, outage.message)
