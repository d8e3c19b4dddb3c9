"""FlexSelect (arXiv 2506.00993): the same attention rank, an equal quota per group, no over-selection, no removal."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.config import BudgetConfig
from pipeline.method.budget import equal_quota
from pipeline.selectors.adapttoken import AdaptToken
from pipeline.selectors.base import GroupScore


class FlexSelect(AdaptToken):
    """AdaptToken's groups and rank with an equal budget."""

    name = "flexselect"
    removes_redundancy = False

    def allocate(self, prefix: Sequence[GroupScore], config: BudgetConfig) -> npt.NDArray[np.int64]:
        """The budget in equal parts; what a group cannot fill goes to the others."""
        return equal_quota([score.num_tokens for score in prefix], budget=config.token_budget)
