"""The ceiling: one pass over everything. Whether the model's context can hold it is the caller's check."""

from collections.abc import Sequence

import numpy as np

from pipeline.method.selectors.base import FloatArray, GroupScore, IntArray
from pipeline.settings.config import BudgetConfig, StoppingConfig


class AllTokens:
    """No selection."""

    name = "all"
    needs_scores = False
    can_stop = False
    removes_redundancy = False
    keeps_whole_patches = False
    needs_final_pass = True

    def choose_patches(self, num_patches: int, *, tokens_per_patch: int, token_budget: int) -> IntArray:
        """All of them."""
        return np.arange(num_patches, dtype=np.int64)

    def stop_after(self, prefix: Sequence[GroupScore], config: StoppingConfig) -> int | None:
        """Never before the last group."""
        return None

    def allocate(
        self, certainty_G: FloatArray, num_tokens_G: IntArray, config: BudgetConfig, *, tokens_per_patch: int = 1
    ) -> IntArray:
        """All that is offered."""
        return num_tokens_G.copy()

    def final_budget(self, config: BudgetConfig) -> int | None:
        """No limit."""
        return None
