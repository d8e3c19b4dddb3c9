"""What selectors share that answer from the groups' own responses, without a final pass: nothing is bought."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from pipeline.method.selectors.adapttoken import AdaptToken
from pipeline.method.selectors.base import FloatArray, GroupScore, IntArray, VotedAnswer
from pipeline.method.shannon import shannon_entropy
from pipeline.method.stopping import normalize_response
from pipeline.settings.config import BudgetConfig


class GroupVoting(AdaptToken):
    """AdaptToken's groups and scores; no tokens, no evidence."""

    removes_redundancy = False
    needs_final_pass = False

    def allocate(
        self, certainty_G: FloatArray, num_tokens_G: IntArray, config: BudgetConfig, *, tokens_per_patch: int = 1
    ) -> IntArray:
        """None."""
        return np.zeros(len(num_tokens_G), dtype=np.int64)

    @abstractmethod
    def vote(self, prefix: Sequence[GroupScore], *, num_options: int | None) -> VotedAnswer:
        """The answer.

        Args:
            prefix: all groups that count, in visiting order; at least one.
            num_options: None for an open question.
        """

    def count_votes(self, prefix: Sequence[GroupScore], weights_G: FloatArray) -> VotedAnswer:
        """The response with the largest sum of weights, the earlier one in a tie; responses that agree are one."""
        votes: dict[str, float] = {}
        for score, weight in zip(prefix, weights_G.tolist(), strict=True):
            said = normalize_response(score.response)
            votes[said] = votes.get(said, 0.0) + weight
        winner = max(votes, key=lambda said: votes[said])
        total = sum(votes.values())
        best = max(
            (score for score in prefix if normalize_response(score.response) == winner),
            key=lambda score: score.certainty,
        )
        shares = {said: weight / total for said, weight in votes.items()}
        return VotedAnswer(response=best.response, shares=shares, entropy=shannon_entropy(list(shares.values())))
