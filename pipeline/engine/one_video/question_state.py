"""One question's scores, in visiting order: which groups count, when it stops, what each group may keep."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.one_video.tries import Tries
from pipeline.failures import Failure
from pipeline.manifest.questions import Question
from pipeline.method.selectors.base import GroupScore, Selector
from pipeline.method.selectors.shares import share_out
from pipeline.method.stopping import normalize_response
from pipeline.passes.records import FinalAnswer
from pipeline.settings.config import BudgetConfig, StoppingConfig

LARGEST_LAG = 4  # groups of the prefix that may wait for their cut
WORTH_TELLING = 5, 4  # a limit is told once 5 times the new one is at most 4 times the one told before


class QuestionPhase(StrEnum):
    """Where a question stands."""

    SCORING = "scoring"
    STOPPED = "stopped"
    EXHAUSTED = "exhausted"
    ANSWERING = "answering"
    DONE = "done"
    FAILED = "failed"


@dataclass(kw_only=True, slots=True, eq=False)
class QuestionState:
    """Grows with every scored group. Only the gapless prefix in visiting order counts: the rest is early, or wasted.

    Attributes:
        scores: group position -> score, early ones included.
        prefix: the scores that count.
        bought: per prefix position, tokens bought; set when scoring ends. ``bought_by_patch``: of each patch, where a
            group's are not simply its best ones.
        limits: per prefix position, how many candidates its holder was told to keep; the last few may not be cut yet.
        num_wasted: groups scored for it beyond the prefix that counts.
        last_ahead: highest position handed out when scoring ended; what comes in up to there was speculation.
        scoring: failures of groups that were scored for it alone; ``own`` of its gathers and its final pass.
        rung: of the memory ladder at which it was scored; ``answer_rung`` at which its final pass runs.
    """

    num_groups: int
    phase: QuestionPhase = QuestionPhase.SCORING
    scores: dict[int, GroupScore] = field(default_factory=dict)
    prefix: list[GroupScore] = field(default_factory=list)
    stop_reason: str | None = None
    bought: npt.NDArray[np.int64] | None = None
    bought_by_patch: tuple[npt.NDArray[np.int64], ...] | None = None
    limits: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    answer: FinalAnswer | None = None
    failure: Failure | None = None
    seconds: StageSeconds = field(default_factory=StageSeconds)
    num_wasted: int = 0
    last_ahead: int = -1
    scoring: Tries = field(default_factory=Tries)
    own: Tries = field(default_factory=Tries)
    rung: int = 0
    answer_rung: int = 0
    _support: Counter[str] = field(default_factory=Counter)
    _certainty_G: npt.NDArray[np.float64] = field(init=False)  # of the prefix
    _num_tokens_G: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self._certainty_G, self._num_tokens_G = np.zeros(self.num_groups), np.zeros(self.num_groups, dtype=np.int64)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.phase in (QuestionPhase.DONE, QuestionPhase.FAILED)

    @property
    def memory_rung(self) -> int:
        """How often batches were halved for it, at most."""
        return max(self.rung, self.answer_rung)

    def restart(self, *, rung: int) -> None:
        """Score it from the start; failures, seconds and what was wasted stay."""
        self.phase, self.rung, self.stop_reason = QuestionPhase.SCORING, rung, None
        self.bought = self.bought_by_patch = self.answer = None
        self.scores, self.prefix, self._support = {}, [], Counter()
        self.limits, self.last_ahead = np.zeros(0, dtype=np.int64), -1

    def add_score(self, position: int, score: GroupScore, *, selector: Selector, stopping: StoppingConfig) -> bool:
        """Take in one group; returns whether the prefix grew."""
        self.scores[position] = score
        before = len(self.prefix)
        while self.phase is QuestionPhase.SCORING and len(self.prefix) in self.scores:
            self._append(self.scores[len(self.prefix)], selector=selector, stopping=stopping)
        return len(self.prefix) > before

    def _append(self, score: GroupScore, *, selector: Selector, stopping: StoppingConfig) -> None:
        self._certainty_G[len(self.prefix)], self._num_tokens_G[len(self.prefix)] = score.certainty, score.num_tokens
        self.prefix.append(score)
        is_confident = selector.can_stop and score.entropy <= stopping.stop_entropy
        if is_confident:
            self._support[normalize_response(score.response)] += 1
        if is_confident and selector.stop_after(self.prefix, stopping) is not None:
            self.phase, self.stop_reason = QuestionPhase.STOPPED, "confident"
        elif len(self.prefix) == self.num_groups:
            self.phase, self.stop_reason = QuestionPhase.EXHAUSTED, "all_groups"

    def end_scoring(self, *, last_ahead: int) -> None:
        """Its prefix is known; what was scored beyond it, or is on its way up to ``last_ahead``, is wasted."""
        self.num_wasted += len(self.scores) - len(self.prefix)
        self.last_ahead = last_ahead

    def certain_end(self, *, selector: Selector, stopping: StoppingConfig) -> int:
        """Positions below this are scored in any case: it cannot stop before enough groups can have agreed."""
        if not selector.can_stop:
            return self.num_groups
        best = max(self._support.values(), default=0)
        return min(self.num_groups, len(self.prefix) + max(1, stopping.confident_groups - best))

    def fail(self, failure: Failure) -> None:
        """End it without an answer."""
        self.failure, self.phase = failure, QuestionPhase.FAILED

    def update_shares(self, *, selector: Selector, budget: BudgetConfig) -> dict[int, int]:
        """Shares over the prefix so far; returns the limits that shrank enough to be told, by group position.

        While scoring goes on, one token more than the share is held: a longer prefix never raises a share by more.
        """
        length = len(self.prefix)
        shares, by_patch = share_out(
            selector,
            self.prefix,
            budget,
            certainty_G=self._certainty_G[:length],
            num_tokens_G=self._num_tokens_G[:length],
            is_complete=self.phase is not QuestionPhase.SCORING,
        )
        spare = 1 if self.phase is QuestionPhase.SCORING else 0
        before = np.concatenate([self.limits, self._num_tokens_G[len(self.limits) : length]])
        wanted = np.minimum(shares + spare, before)
        of_new, of_old = WORTH_TELLING
        is_told = (of_new * wanted <= of_old * before) & (wanted < before)
        if selector.profile == "patches":  # a group's best tokens are not what is bought of it: all of them, or none
            is_told &= wanted == 0
        self.limits = np.where(is_told, wanted, before)
        told = np.flatnonzero(is_told)
        if self.phase is not QuestionPhase.SCORING:
            self.bought, self.bought_by_patch = shares, by_patch
        return dict(zip(told.tolist(), wanted[told].tolist(), strict=True))

    def wants(self, position: int) -> bool:
        """Whether it may still buy, or has bought, tokens of a group."""
        limit = self.known_limit(position)
        return limit is None or limit > 0

    @property
    def is_due(self) -> bool:
        """Whether shares are worked out again before scoring ends: after each group at first, later after every fourth.

        A group more or less changes little by then, and the arithmetic is what the coordinator spends its time on.
        """
        num_uncut = len(self.prefix) - len(self.limits)
        lag = 1 if len(self.prefix) <= 4 * LARGEST_LAG else LARGEST_LAG
        return num_uncut >= lag and self.phase is QuestionPhase.SCORING

    def known_limit(self, position: int) -> int | None:
        """Candidates of a group that it may need; None where that may be all of them."""
        if self.phase is QuestionPhase.SCORING:
            return int(self.limits[position]) if position < len(self.limits) else None
        is_bought = not self.is_over and self.bought is not None and position < len(self.bought)
        return int(self.bought[position]) if is_bought and self.bought is not None else 0

    def needed(self) -> npt.NDArray[np.bool_]:
        """``(G,)`` what ``wants`` says of every group."""
        if self.phase is QuestionPhase.SCORING:
            needed_G = np.ones(self.num_groups, dtype=bool)
            needed_G[: len(self.limits)] = self.limits > 0
            return needed_G
        needed_G = np.zeros(self.num_groups, dtype=bool)
        if self.bought is not None and not self.is_over:
            needed_G[: len(self.bought)] = self.bought > 0
        return needed_G


def begin_questions(
    questions: Sequence[Question], *, num_groups: int, refused: Mapping[int, Failure]
) -> list[QuestionState]:
    """All of a video; those that cannot be asked have failed before the others begin."""
    states = [QuestionState(num_groups=num_groups) for _ in questions]
    for index, failure in refused.items():
        states[index].fail(failure)
    return states


def open_batches(
    questions: Sequence[QuestionState], position: int, *, scope: range, refused: Container[int], size: int
) -> Iterator[tuple[int, ...]]:
    """Fixed micro-batches in manifest order; one goes on whole until none of its questions needs the group.

    Args:
        questions: all of a video.
        position: of the group.
        scope: those that are asked now.
        refused: those that cannot be asked: batches are as if the manifest did not have them, so that none of them
            moves a bit of another's row.
        size: questions per micro-batch.
    """
    order = [index for index in range(len(questions)) if index not in refused]
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        if any(index in scope and questions[index].wants(position) for index in batch):
            yield tuple(batch)
