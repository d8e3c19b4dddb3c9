"""Who does what: the roles of workers, the stages of work, and the key that names one piece of it."""

from enum import StrEnum
from typing import NamedTuple


class Role(StrEnum):
    """What a worker can do. Scorers also run final passes where there are no answerers, or too few."""

    DECODER = "decoder"
    SCORER = "scorer"
    ANSWERER = "answerer"


_ROLES = {role.value: role for role in Role}


def role_of(worker: str) -> Role:
    """Workers are known by name; the part before ``-`` is their role: ``scorer-3 -> SCORER``."""
    return _ROLES[worker.partition("-")[0]]


class Stage(StrEnum):
    """What is done in one piece of work."""

    PROBE = "probe"
    DECODE = "decode"
    SCORE = "score"
    GATHER = "gather"
    ANSWER = "answer"

    @property
    def is_reading(self) -> bool:
        """Whether it reads the file, so that only the video itself can be to blame."""
        return self is Stage.PROBE or self is Stage.DECODE

    @property
    def is_of_one_question(self) -> bool:
        """Whether ``WorkKey.index`` is a question, which alone answers for it."""
        return self is Stage.GATHER or self is Stage.ANSWER


class WorkKey(NamedTuple):
    """Which piece of work; a named tuple, because the coordinator compares and hashes little else.

    Attributes:
        attempt: of scoring the video; candidates are kept apart by it, so that those of an abandoned one are not used.
        index: stretch of a decode pass, position of the group, or question.
        turn: tells apart the times that a piece is handed out, so that late results of an earlier one are recognised.
    """

    video_id: int
    attempt: int
    stage: Stage
    index: int = 0  # type: ignore[assignment]  # tuple.index is not used on keys
    turn: int = 0
