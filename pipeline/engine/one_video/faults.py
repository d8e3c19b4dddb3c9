"""What is done about failed work: counters and decisions, so that poison fails alone and bad luck fails nobody.

Failures and deaths in reading are the video's own fault. In scoring, all questions of the video are in it together:
from the second failure they are isolated, asked one at a time, and only the one whose turn it is can fail. Gathers and
final passes belong to one question. Memory is another matter: batches are halved, rung by rung of a fixed ladder.
What is counted, and what takes a count back, is in ``tries``.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.one_video.question_state import QuestionState
from pipeline.engine.one_video.tries import Rest, Tries
from pipeline.failures import Failure, FailureClass

LAST_RUNG = 3  # of the memory ladder: batches an eighth of what is configured
MOST_LOSSES = 50  # of one video, through workers that others made die, with no group scored in between
MOST_RESTARTS = 2  # of one video, as its file was replaced: what is written all the time is not read today
_FEWEST_TIMEOUTS = 3  # half of max_attempts, but not fewer than this: each took half an hour
TOGETHER_FAILURES = 2  # before questions are isolated
_FATAL_ALIKE = 2  # questions asked alone whose turns only kill: then it is the video's fault, not theirs


class Remedy(StrEnum):
    """The piece has been put back already; what else is to be done."""

    REDO = "redo"
    NEXT_RUNG = "next_rung"
    ISOLATE = "isolate"
    FAIL_QUESTION = "fail_question"
    FAIL_VIDEO = "fail_video"


def is_unblamed(failure: Failure) -> bool:
    """Whether what a piece needed went with a worker: nobody's fault."""
    return failure.failure_class is FailureClass.WORKER_LOST


def for_reading(failure: Failure, *, num_failures: int, max_attempts: int) -> Remedy:
    """A probe or a stretch failed, or killed its decoder; ``num_failures`` of the video include this one."""
    is_timeout = failure.failure_class is FailureClass.DECODE_TIMEOUT
    most = min(max_attempts, max(_FEWEST_TIMEOUTS, max_attempts // 2)) if is_timeout else max_attempts
    can_mend = failure.is_retryable and num_failures < most
    return Remedy.REDO if can_mend else Remedy.FAIL_VIDEO


def for_scoring_together(failure: Failure, *, num_failures: int, rung: int, max_attempts: int) -> Remedy:
    """A group failed with several questions in it. What no retry can mend may still be one question's own."""
    if failure.failure_class is FailureClass.OUT_OF_MEMORY:
        return Remedy.NEXT_RUNG if rung < LAST_RUNG else Remedy.ISOLATE
    can_mend = failure.is_retryable and num_failures < min(TOGETHER_FAILURES, max_attempts)
    return Remedy.REDO if can_mend else Remedy.ISOLATE


def for_question(failure: Failure, *, num_failures: int, rung: int, max_attempts: int) -> Remedy:
    """A piece failed that one question alone answers for; ``num_failures`` are its own and include this one."""
    if failure.failure_class is FailureClass.OUT_OF_MEMORY:
        return Remedy.NEXT_RUNG if rung < LAST_RUNG else Remedy.FAIL_QUESTION
    can_mend = failure.is_retryable and num_failures < max_attempts
    return Remedy.REDO if can_mend else Remedy.FAIL_QUESTION


@dataclass(kw_only=True, slots=True, eq=False)
class Faults:
    """One video's record.

    Attributes:
        num_redone: how often anything was done again; ``num_losses`` since it got on, through no fault of its own;
            ``num_restarts`` because its file was replaced.
        is_suspect: a worker died that had work of it among other work; from then on its work is handed out alone.
        num_fatal: questions that failed alone, by turns that only killed workers.
        excluded: workers on which something of it failed; others try again, as long as there are others.
        reading_rest: until when nothing of it is read; ``model_rest`` likewise scored and answered.
    """

    max_attempts: int
    reading: Tries = field(default_factory=Tries)
    scoring: Tries = field(default_factory=Tries)
    reading_rest: Rest = field(default_factory=Rest)
    model_rest: Rest = field(default_factory=Rest)
    num_redone: int = 0
    num_losses: int = 0
    num_restarts: int = 0
    is_suspect: bool = False
    num_fatal: int = 0
    excluded: set[str] = field(default_factory=set)

    def note_loss(self) -> bool:
        """Something was lost through no fault of the video's; returns whether it is done again, which has an end."""
        self.num_losses += 1
        self.num_redone += 1
        return self.num_losses <= MOST_LOSSES

    def note_replaced(self) -> bool:
        """Its file was replaced while it was read; returns whether it starts over, which has an end."""
        if self.num_restarts == MOST_RESTARTS:
            return False
        self.num_restarts += 1
        self.num_redone += 1
        return True

    def rest_of(self, key: WorkKey) -> Rest:
        """The pause that a piece of work has to keep."""
        return self.reading_rest if key.stage.is_reading else self.model_rest

    def judge_reading(self, failure: Failure, key: WorkKey, *, last_turn: int) -> Remedy:
        """A probe or a stretch failed."""
        num_failures = self.reading.note(key, last_turn=last_turn)
        remedy = for_reading(failure, num_failures=num_failures, max_attempts=self.max_attempts)
        self.num_redone += remedy is not Remedy.FAIL_VIDEO
        return remedy

    def judge_scoring(self, failure: Failure, key: WorkKey, *, rung: int, last_turn: int) -> Remedy:
        """A group failed that was scored for several questions."""
        is_memory = failure.failure_class is FailureClass.OUT_OF_MEMORY
        num_failures = 0 if is_memory else self.scoring.note(key, last_turn=last_turn)
        self.num_redone += 1
        return for_scoring_together(failure, num_failures=num_failures, rung=rung, max_attempts=self.max_attempts)

    def judge_question(
        self, failure: Failure, question: QuestionState, key: WorkKey, *, rung: int, last_turn: int
    ) -> Remedy:
        """A piece of one question failed."""
        is_memory = failure.failure_class is FailureClass.OUT_OF_MEMORY
        tries = question.own if key.stage.is_of_one_question else question.scoring
        num_failures = 0 if is_memory else tries.note(key, last_turn=last_turn)
        remedy = for_question(failure, num_failures=num_failures, rung=rung, max_attempts=self.max_attempts)
        self.num_redone += remedy is not Remedy.FAIL_QUESTION
        return remedy

    def note_fatal(self, *, is_death: bool, has_answered: bool) -> bool:
        """A question asked alone has failed; returns whether the others are spared the try.

        So it is when its turn only killed workers, and that is all that ever happens.
        """
        self.num_fatal += is_death
        return self.num_fatal >= _FATAL_ALIKE and not has_answered
