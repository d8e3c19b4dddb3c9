"""AdaptToken whose groups have a say in the end: their vote is a prior of the final pass. Beyond the paper."""

from collections.abc import Sequence

import numpy as np

from pipeline.method.selectors.adapttoken import AdaptToken
from pipeline.method.selectors.base import GroupScore
from pipeline.method.selectors.entropy_vote import EntropyVote
from pipeline.method.stopping import normalize_response

_WEIGHT = 0.5
_UNHEARD = 1e-3  # share of an option that no group gave


class AdaptTokenVote(AdaptToken):
    """``p ∝ p_final · (v + 0.001)^0.5``, where ``v`` are the shares of ``entropy-vote``; open questions are left alone.

    What a final pass forgets because its tokens do not show it, such as how often something appears, single groups
    may know; what no group sees as a whole, such as the order of two of them, the final pass decides.
    """

    name = "adapttoken-vote"

    def weigh(
        self, probabilities: Sequence[float], prefix: Sequence[GroupScore], letters: Sequence[str]
    ) -> tuple[float, ...]:
        """Probabilities of the options after the groups were heard.

        Args:
            probabilities: of the final pass.
            prefix: all groups that count, at least one.
            letters: of the options.
        """
        shares = EntropyVote().vote(prefix, num_options=len(letters)).shares
        votes = np.array([shares.get(normalize_response(letter), 0.0) for letter in letters])
        product = np.asarray(probabilities, dtype=np.float64) * (votes + _UNHEARD) ** _WEIGHT
        return tuple((product / product.sum()).tolist())
