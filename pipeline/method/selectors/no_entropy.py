"""AdaptToken as if nothing were known of the groups' entropy: τ without end. The baseline for what certainty buys."""

import numpy as np

from pipeline.method.selectors.adapttoken import AdaptToken
from pipeline.method.selectors.base import FloatArray, IntArray
from pipeline.settings.config import BudgetConfig


class NoEntropy(AdaptToken):
    """The same rank, over-selection and removal; every group has the same share."""

    name = "no-entropy"

    def allocate(
        self, certainty_G: FloatArray, num_tokens_G: IntArray, config: BudgetConfig, *, tokens_per_patch: int = 1
    ) -> IntArray:
        """The over-selected budget in equal parts; what a group cannot fill goes to the others."""
        return super().allocate(np.zeros(len(certainty_G)), num_tokens_G, config, tokens_per_patch=tokens_per_patch)
