"""Where a video stands, and what it knows there before it is planned and where it cannot be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.one_video.question_state import QuestionState


class Phase(StrEnum):
    """Where a video stands; a step back is always to scoring."""

    PROBING = "probing"
    SCORING = "scoring"
    ANSWERING = "answering"
    OVER = "over"


@dataclass(frozen=True, kw_only=True, slots=True)
class At:
    """When something failed, in seconds of the caller's clock; it does not count where it may be an outage."""

    now_s: float = 0.0
    is_outage: bool = False


@dataclass(kw_only=True, slots=True, eq=False)
class Probing:
    """The timeline is not known: ``key`` of the probe in flight."""

    key: WorkKey | None = None
    questions: Sequence[QuestionState] = ()


@dataclass(kw_only=True, slots=True, eq=False)
class Unreadable:
    """It ended without a plan, and every question of it has failed."""

    questions: Sequence[QuestionState]
