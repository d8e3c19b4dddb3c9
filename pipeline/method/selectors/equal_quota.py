"""AdaptToken's groups and rank with an equal budget per group: no over-selection, no removal. A baseline of ours."""

from pipeline.method.budget import equal_quota
from pipeline.method.selectors.adapttoken import AdaptToken
from pipeline.method.selectors.base import FloatArray, IntArray
from pipeline.settings.config import BudgetConfig


class EqualQuota(AdaptToken):
    """What FlexSelect does with shares, without what else its authors' code does; that is ``FlexSelect``."""

    name = "equal-quota"
    removes_redundancy = False

    def allocate(
        self, certainty_G: FloatArray, num_tokens_G: IntArray, config: BudgetConfig, *, tokens_per_patch: int = 1
    ) -> IntArray:
        """The budget in equal parts; what a group cannot fill goes to the others."""
        return equal_quota(num_tokens_G, budget=config.token_budget)
