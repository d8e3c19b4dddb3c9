"""The ceiling: one pass over everything. Whether the model's context can hold it is the caller's check."""

from pipeline.method.selectors.base import FloatArray, IntArray
from pipeline.method.selectors.plain import PlainSelector
from pipeline.settings.config import BudgetConfig


class AllTokens(PlainSelector):
    """No selection."""

    name = "all"

    def allocate(
        self, certainty_G: FloatArray, num_tokens_G: IntArray, config: BudgetConfig, *, tokens_per_patch: int = 1
    ) -> IntArray:
        """All that is offered."""
        return num_tokens_G.copy()

    def final_budget(self, config: BudgetConfig) -> int | None:
        """No limit."""
        return None
