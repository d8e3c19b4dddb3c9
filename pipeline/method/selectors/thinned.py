"""What selectors share that thin every patch they look at: how many patches the budget holds."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from pipeline.method.selectors.base import IntArray
from pipeline.method.selectors.plain import PlainSelector
from pipeline.method.selectors.uniform import evenly_spaced


class ThinnedPatches(PlainSelector):
    """With ``budget.keep_ratio`` as published evenly spaced patches; without, all of them and few tokens of each."""

    settings: ClassVar[Mapping[str, object]] = {"budget.keep_ratio": 0.1}

    def choose_patches(
        self, num_patches: int, *, tokens_per_patch: int, token_budget: int, keep_ratio: float | None = None
    ) -> IntArray:
        """``floor(B / max(1, round(r n)))`` of them: 7,040 tokens, 220 per patch, a tenth of each  ->  320."""
        if keep_ratio is None:
            return np.arange(num_patches, dtype=np.int64)
        return evenly_spaced(num_patches, max(1, token_budget // max(1, round(keep_ratio * tokens_per_patch))))
