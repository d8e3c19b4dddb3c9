"""When a video's stages began and ended, by the coordinator's wall clock; kept only where a run is traced."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.work import Completion


@dataclass(slots=True, kw_only=True)
class StageSpan:
    """One stage of one video, all of its pieces together, those of abandoned attempts included.

    Attributes:
        stage: gathering counts as ``answer``.
        start_s: seconds since 1970: the first piece was handed out, which may lie before a worker began with it.
        end_s: the last piece was reported.
        num_pieces: stretches, groups or questions that were reported.
        busy_s: what they took the workers together.
    """

    stage: Stage
    start_s: float
    end_s: float
    num_pieces: int = 0
    busy_s: float = 0.0


class SpanClock:
    """Of the videos in flight; grows with them, not with their groups."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._videos: dict[int, dict[Stage, StageSpan]] = {}

    def note_given(self, keys: Iterable[WorkKey]) -> None:
        """Handed out."""
        now_s = self._now_s()
        for key in keys:
            stage = _shown(key.stage)
            self._videos.setdefault(key.video_id, {}).setdefault(
                stage, StageSpan(stage=stage, start_s=now_s, end_s=now_s)
            )

    def note_done(self, completions: Iterable[Completion]) -> None:
        """Reported; of a video that has ended meanwhile nobody wants to know."""
        now_s = self._now_s()
        for key, _, seconds in completions:
            span = self._videos.get(key.video_id, {}).get(_shown(key.stage))
            if span is not None:
                span.end_s, span.num_pieces = now_s, span.num_pieces + 1
                span.busy_s += seconds.total_s - seconds.scorer_wait_s

    def take(self, video_id: int) -> tuple[StageSpan, ...]:
        """Those of a video that has ended, in the order of their beginnings."""
        return tuple(sorted(self._videos.pop(video_id, {}).values(), key=lambda span: span.start_s))


def _shown(stage: Stage) -> Stage:
    return Stage.ANSWER if stage is Stage.GATHER else stage
