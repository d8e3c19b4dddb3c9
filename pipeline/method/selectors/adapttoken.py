"""AdaptToken (arXiv 2603.28696): every group is scored, certainty shares out the budget, redundancy is removed."""

from collections.abc import Sequence

import numpy as np

from pipeline.method.budget import allocate_budget, overselected
from pipeline.method.selectors.base import FloatArray, GroupScore, IntArray
from pipeline.settings.config import BudgetConfig, StoppingConfig


class AdaptToken:
    """The full method."""

    name = "adapttoken"
    needs_scores = True
    can_stop = False
    removes_redundancy = True
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
        """The over-selected budget, by ``softmax(certainty / tau)``."""
        budget = overselected(config.token_budget, config.over_select)
        return allocate_budget(certainty_G, num_tokens_G, budget=budget, tau=config.tau)

    def final_budget(self, config: BudgetConfig) -> int | None:
        """The budget itself."""
        return config.token_budget
