"""Answers of the groups alone: a vote weighted by certainty, and the most certain group. What does a final pass buy?"""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.method.selectors.base import GroupScore, VotedAnswer
from pipeline.method.selectors.group_vote import GroupVoting


class EntropyVote(GroupVoting):
    """The response with the largest sum of ``(H_max - H)²`` over the groups that gave it.

    ``H_max`` is ``ln`` of the number of options, from where on a group knows nothing; of an open question the largest
    entropy that any group has. Probabilities are shares of the votes; a tie goes to the response that came first.
    """

    name = "entropy-vote"

    def vote(self, prefix: Sequence[GroupScore], *, num_options: int | None) -> VotedAnswer:
        """See ``GroupVoting``."""
        entropies = np.array([score.entropy for score in prefix])
        most = math.log(num_options) if num_options else float(entropies.max())
        weights = np.maximum(0.0, most - entropies) ** 2
        if not weights.any():
            weights = np.ones(len(prefix))
        return self.count_votes(prefix, weights)


class MostCertain(GroupVoting):
    """The response of the group with the lowest entropy; the first of them in a tie."""

    name = "most-certain"

    def vote(self, prefix: Sequence[GroupScore], *, num_options: int | None) -> VotedAnswer:
        """See ``GroupVoting``."""
        weights = np.zeros(len(prefix))
        weights[int(np.argmin([score.entropy for score in prefix]))] = 1.0
        return self.count_votes(prefix, weights)
