"""FlexSelect (arXiv 2506.00993): the same attention rank, an equal quota per group, no over-selection, no removal."""

from pipeline.method.budget import equal_quota
from pipeline.method.selectors.adapttoken import AdaptToken
from pipeline.method.selectors.base import FloatArray, IntArray
from pipeline.settings.config import BudgetConfig


class FlexSelect(AdaptToken):
    """AdaptToken's groups and rank with an equal budget."""

    name = "flexselect"
    removes_redundancy = False

    def allocate(
        self, certainty_G: FloatArray, num_tokens_G: IntArray, config: BudgetConfig, *, tokens_per_patch: int = 1
    ) -> IntArray:
        """The budget in equal parts; what a group cannot fill goes to the others."""
        return equal_quota(num_tokens_G, budget=config.token_budget)
