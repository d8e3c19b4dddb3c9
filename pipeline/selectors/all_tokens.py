"""The ceiling: one pass over everything. Whether the model's context can hold it is the caller's check."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.config import BudgetConfig, StoppingConfig
from pipeline.selectors.base import GroupScore


class AllTokens:
    """No selection."""

    name = "all"
    needs_scores = False
    can_stop = False
    removes_redundancy = False

    def choose_patches(self, num_patches: int, *, tokens_per_patch: int, token_budget: int) -> npt.NDArray[np.int64]:
        """All of them."""
        return np.arange(num_patches, dtype=np.int64)

    def stop_after(self, prefix: Sequence[GroupScore], config: StoppingConfig) -> int | None:
        """Never before the last group."""
        return None

    def allocate(self, prefix: Sequence[GroupScore], config: BudgetConfig) -> npt.NDArray[np.int64]:
        """All that is offered."""
        return np.array([score.num_tokens for score in prefix], dtype=np.int64)

    def final_budget(self, config: BudgetConfig) -> int | None:
        """No limit."""
        return None
