"""What is done about a failed piece of work: a pure decision, so that poison fails alone and bad luck fails nobody.

Deaths and failures in reading are the video's own fault. In scoring, all questions of the video are in it together:
from the second strike they are asked one at a time, and only the one whose turn it is can fail. Gathers and final
passes belong to one question.
"""

from enum import StrEnum

from pipeline.failures import Failure, FailureClass

LAST_RUNG = 3  # of the memory ladder: batches an eighth of what is configured
MOST_LOSSES = 50  # of one video, through workers that others made die
TOGETHER_STRIKES = 2  # before questions are asked apart


class Remedy(StrEnum):
    """The piece has been put back already; what else is to be done."""

    REDO = "redo"
    NEXT_RUNG = "next_rung"
    ASK_APART = "ask_apart"
    FAIL_QUESTION = "fail_question"
    FAIL_VIDEO = "fail_video"


def is_unblamed(failure: Failure) -> bool:
    """Whether what a piece needed went with a worker: nobody's fault."""
    return failure.failure_class is FailureClass.WORKER_LOST


def for_reading(failure: Failure, *, strikes: int, max_attempts: int) -> Remedy:
    """A probe or a stretch failed, or killed its decoder; ``strikes`` of the video include this one."""
    can_mend = failure.is_retryable and strikes < max_attempts
    return Remedy.REDO if can_mend else Remedy.FAIL_VIDEO


def for_scoring_together(failure: Failure, *, strikes: int, rung: int, max_attempts: int) -> Remedy:
    """A group failed with several questions in it. What no retry can mend may still be one question's own."""
    if failure.failure_class is FailureClass.OUT_OF_MEMORY:
        return Remedy.NEXT_RUNG if rung < LAST_RUNG else Remedy.ASK_APART
    can_mend = failure.is_retryable and strikes < min(TOGETHER_STRIKES, max_attempts)
    return Remedy.REDO if can_mend else Remedy.ASK_APART


def for_question(failure: Failure, *, strikes: int, rung: int, max_attempts: int) -> Remedy:
    """A piece failed that one question alone answers for; ``strikes`` are its own and include this one."""
    if failure.failure_class is FailureClass.OUT_OF_MEMORY:
        return Remedy.NEXT_RUNG if rung < LAST_RUNG else Remedy.FAIL_QUESTION
    can_mend = failure.is_retryable and strikes < max_attempts
    return Remedy.REDO if can_mend else Remedy.FAIL_QUESTION
