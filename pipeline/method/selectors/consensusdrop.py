"""After the abstract of ConsensusDrop (arXiv 2602.00946): tokens that both the encoder and the question look at.

Its fusion rule is not public to us, so every number is a guess of ours, and what is not sold is dropped, not merged.
"""

import numpy as np

from pipeline.method.budget import allocate_budget
from pipeline.method.selectors.base import FloatArray, IntArray
from pipeline.method.selectors.plain import PlainSelector
from pipeline.method.selectors.ranking import Float32Array, GroupView, Ranked, RankInputs
from pipeline.settings.config import BudgetConfig


class Consensus:
    """``λ u_attention + (1 - λ) u_saliency``, where u falls evenly from 1 to 0 with the rank within the group.

    Args:
        share: λ of attention: 0 and 1 are the two alone.
    """

    inputs = RankInputs(saliency=True)

    def __init__(self, share: float) -> None:
        self.share = share

    def rank(self, view: GroupView) -> Ranked:
        """Per group."""
        assert view.saliency_N is not None
        assert view.attention_N is not None
        saliency_N = place_from_top(view.saliency_N.cpu().numpy())
        score_N = self.share * place_from_top(view.attention_N) + (1 - self.share) * saliency_N
        return Ranked(score_N.astype(np.float32))


class ConsensusDrop(PlainSelector):
    """Equal shares by size.

    Args:
        name: of the variant.
        share: λ.
    """

    needs_scores = True
    label: str = "after the abstract of ConsensusDrop (2602.00946); its fusion rule is not public to us"

    def __init__(self, name: str, share: float) -> None:
        self.name = name
        self.ranker = Consensus(share)


class ConsensusDropByCertainty(ConsensusDrop):
    """The same rank with AdaptToken's shares; nothing over-selected."""

    def allocate(
        self, certainty_G: FloatArray, num_tokens_G: IntArray, config: BudgetConfig, *, tokens_per_patch: int = 1
    ) -> IntArray:
        """By ``softmax(certainty / tau)``."""
        return allocate_budget(certainty_G, num_tokens_G, budget=config.token_budget, tau=config.tau)


_ALL = (
    ConsensusDrop("consensusdrop", 0.5),
    ConsensusDropByCertainty("consensusdrop-certainty", 0.5),
    *(ConsensusDrop(f"consensusdrop-{share:g}", share) for share in (0.0, 0.3, 0.7, 1.0)),
)
CONSENSUS_VARIANTS = {variant.name: variant for variant in _ALL}


def place_from_top(score_N: Float32Array) -> FloatArray:
    """1 for the largest, 0 for the smallest, evenly between them; of equal ones the earlier stands higher."""
    order = np.argsort(-score_N, kind="stable")
    place_N = np.empty(len(order))
    place_N[order] = np.linspace(1.0, 0.0, len(order)) if len(order) > 1 else 1.0
    return place_N
