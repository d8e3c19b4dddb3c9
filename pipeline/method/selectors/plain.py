"""What a selector does unless it says otherwise: a new method is a subclass that changes one thing or two.

Every patch is encoded, nothing is scored, no question stops early, and each group sells its share of the budget, by its
size, in the order of its ranker.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np

from pipeline.method.budget import allocate_budget
from pipeline.method.selectors.base import FloatArray, GroupRule, GroupScore, IntArray
from pipeline.method.selectors.ranking import Float32Array, Ranker
from pipeline.settings.config import BudgetConfig, StoppingConfig


class PlainSelector:
    """See ``Selector``; a subclass has at least a name, and a ranker or scores."""

    name = ""
    needs_scores = False
    can_stop = False
    removes_redundancy = False
    keeps_whole_patches = False
    needs_final_pass = True
    group_rule: ClassVar[GroupRule] = GroupRule()
    settings: ClassVar[Mapping[str, object]] = {}
    ranks_separators: ClassVar[bool] = False
    ranker: Ranker | None = None
    profile: Literal["nothing", "tokens", "patches"] = "nothing"
    label: str = ""

    def refusal(self, num_groups: int, config: BudgetConfig, *, tokens_per_patch: int) -> str | None:
        """Never."""
        return None

    def choose_patches(
        self, num_patches: int, *, tokens_per_patch: int, token_budget: int, keep_ratio: float | None = None
    ) -> IntArray:
        """All of them."""
        return np.arange(num_patches, dtype=np.int64)

    def stop_after(self, prefix: Sequence[GroupScore], config: StoppingConfig) -> int | None:
        """Never before the last group."""
        return None

    def allocate(
        self, certainty_G: FloatArray, num_tokens_G: IntArray, config: BudgetConfig, *, tokens_per_patch: int = 1
    ) -> IntArray:
        """The budget in proportion to what each group offers."""
        with np.errstate(divide="ignore"):
            size_G = np.log(np.maximum(num_tokens_G, 1e-9))
        return allocate_budget(size_G, num_tokens_G, budget=config.token_budget, tau=1.0)

    def allocate_tokens(self, scores_G: Sequence[Float32Array], config: BudgetConfig) -> IntArray:
        """The best tokens of all groups together; ties to the lower position."""
        group_T = np.repeat(np.arange(len(scores_G)), [len(scores) for scores in scores_G])
        best = np.argsort(-np.concatenate(scores_G), kind="stable")[: config.token_budget]
        return np.bincount(group_T[best], minlength=len(scores_G)).astype(np.int64)

    def allocate_patches(
        self,
        scores_G: Sequence[Float32Array],
        group_indices: Sequence[int],
        config: BudgetConfig,
        *,
        tokens_per_patch: int,
    ) -> list[IntArray]:
        """Only a selector that compares patches is asked.

        Raises:
            NotImplementedError: It compares none.
        """
        raise NotImplementedError(f"{self.name} compares no patches")

    def final_budget(self, config: BudgetConfig) -> int | None:
        """The budget itself."""
        return config.token_budget
