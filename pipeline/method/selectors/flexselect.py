"""FlexSelect (arXiv 2506.00993) as its authors' code has it, with the model itself as selector.

Groups of 64 temporal patches, ``int(B / G)`` tokens of each by attention alone, none of it poured over; B is rounded up
to whole temporal patches. Positions are the checkpoint's own of the whole clip: ``answering.positions=patch-index``.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from pipeline.method.selectors.adapttoken import AdaptToken
from pipeline.method.selectors.base import FloatArray, GroupRule, IntArray
from pipeline.settings.config import BudgetConfig

PATCHES_PER_GROUP = 64


class FlexSelect(AdaptToken):
    """An equal quota per group, which a group that has less does not hand on."""

    name = "flexselect"
    removes_redundancy = False
    group_rule: ClassVar[GroupRule] = GroupRule(patches_per_group=PATCHES_PER_GROUP, grouping="interleaved")
    settings: ClassVar[Mapping[str, object]] = {"answering.positions": "patch-index"}
    ranks_separators: ClassVar[bool] = True
    label: str = "FlexSelect (2506.00993) as its authors' code has it, the model as its own selector"

    def refusal(self, num_groups: int, config: BudgetConfig, *, tokens_per_patch: int) -> str | None:
        """A quota of 0 leaves nothing to answer from."""
        budget = whole_patches(config.token_budget, tokens_per_patch)
        if budget >= num_groups:
            return None
        return (
            f"its quota int({budget} / {num_groups}) per group is 0; raise budget.token_budget to {num_groups}, lower "
            "sampling.max_frames, or use method equal-quota, which shares out what there is"
        )

    def allocate(
        self, certainty_G: FloatArray, num_tokens_G: IntArray, config: BudgetConfig, *, tokens_per_patch: int = 1
    ) -> IntArray:
        """``int(B / G)`` of each, at most what it has."""
        quota = whole_patches(config.token_budget, tokens_per_patch) // len(num_tokens_G)
        return np.minimum(num_tokens_G, quota)


def whole_patches(token_budget: int, tokens_per_patch: int) -> int:
    """Rounded up: ``7,000 of 220 -> 7,040``."""
    return -(-token_budget // tokens_per_patch) * tokens_per_patch
