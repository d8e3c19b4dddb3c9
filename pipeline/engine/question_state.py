"""One question's scores, in visiting order: which groups count, when it stops, what each group may keep."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from pipeline.config import BudgetConfig, StoppingConfig
from pipeline.engine.work import AnswerDone, StageSeconds
from pipeline.failures import Failure
from pipeline.selectors.base import GroupScore, Selector


class Phase(StrEnum):
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
        bought: per prefix position, tokens bought; set when scoring ends.
        limits: per position of the prefix, how many candidates may still be needed.
        num_wasted: groups handed out for it beyond the prefix that counts.
    """

    num_groups: int
    phase: Phase = Phase.SCORING
    scores: dict[int, GroupScore] = field(default_factory=dict)
    prefix: list[GroupScore] = field(default_factory=list)
    stop_reason: str | None = None
    bought: npt.NDArray[np.int64] | None = None
    limits: dict[int, int] = field(default_factory=dict)
    answer: AnswerDone | None = None
    failure: Failure | None = None
    seconds: StageSeconds = field(default_factory=StageSeconds)
    num_wasted: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.phase in (Phase.DONE, Phase.FAILED)

    def add_score(self, position: int, score: GroupScore, *, selector: Selector, stopping: StoppingConfig) -> bool:
        """Take in one group; returns whether the prefix grew."""
        self.scores[position] = score
        before = len(self.prefix)
        while self.phase is Phase.SCORING and len(self.prefix) in self.scores:
            self.prefix.append(self.scores[len(self.prefix)])
            if selector.stop_after(self.prefix, stopping) is not None:
                self.phase, self.stop_reason = Phase.STOPPED, "confident"
            elif len(self.prefix) == self.num_groups:
                self.phase, self.stop_reason = Phase.EXHAUSTED, "all_groups"
        return len(self.prefix) > before

    def fail(self, failure: Failure) -> None:
        """End it without an answer."""
        self.failure, self.phase = failure, Phase.FAILED

    def update_shares(self, *, selector: Selector, budget: BudgetConfig) -> dict[int, int]:
        """Shares over the prefix so far; returns the limits that shrank, by group position.

        While scoring goes on, one token more than the share is held: a longer prefix never raises a share by more.
        """
        shares = selector.allocate(self.prefix, budget)
        spare = 1 if self.phase is Phase.SCORING else 0
        shrunk = {}
        for position, score in enumerate(self.prefix):
            limit = min(int(shares[position]) + spare, score.num_tokens)
            if limit < self.limits.get(position, score.num_tokens):
                shrunk[position] = limit
            self.limits[position] = min(limit, self.limits.get(position, limit))
        if self.phase is not Phase.SCORING:
            self.bought = shares
        return shrunk
