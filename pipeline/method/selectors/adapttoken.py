"""AdaptToken (arXiv 2603.28696): every group is scored, certainty shares out the budget, redundancy is removed."""

from pipeline.method.budget import allocate_budget, overselected
from pipeline.method.selectors.base import FloatArray, IntArray
from pipeline.method.selectors.plain import PlainSelector
from pipeline.settings.config import BudgetConfig


class AdaptToken(PlainSelector):
    """The full method."""

    name = "adapttoken"
    needs_scores = True
    removes_redundancy = True

    def allocate(
        self, certainty_G: FloatArray, num_tokens_G: IntArray, config: BudgetConfig, *, tokens_per_patch: int = 1
    ) -> IntArray:
        """The over-selected budget, by ``softmax(certainty / tau)``."""
        budget = overselected(config.token_budget, config.over_select)
        return allocate_budget(certainty_G, num_tokens_G, budget=budget, tau=config.tau)
