"""What selectors share that choose whole frames by a score per patch, once all groups are in."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from pipeline.method.selectors.base import FloatArray, GroupRule, IntArray
from pipeline.method.selectors.plain import PlainSelector
from pipeline.method.selectors.ranking import Float32Array
from pipeline.settings.config import BudgetConfig


class Keyframes(PlainSelector):
    """A patch's score is the largest attention any of its tokens gets; chosen patches keep all their tokens."""

    needs_scores = True
    group_rule: ClassVar[GroupRule] = GroupRule(grouping="interleaved")
    profile: Literal["nothing", "tokens", "patches"] = "patches"

    @abstractmethod
    def choose(self, scores_P: FloatArray, count: int) -> IntArray:
        """So many different patches of the video, at most as many as there are."""

    def allocate_patches(
        self,
        scores_G: Sequence[Float32Array],
        group_indices: Sequence[int],
        config: BudgetConfig,
        *,
        tokens_per_patch: int,
    ) -> list[IntArray]:
        """All tokens of as many patches as the budget holds; where it holds none, the best tokens of one."""
        scores_P, chosen_P = in_time(scores_G, group_indices), np.zeros(sum(map(len, scores_G)), dtype=np.int64)
        count = min(len(scores_P), max(1, config.token_budget // tokens_per_patch))
        chosen_P[self.choose(scores_P, count)] = min(tokens_per_patch, config.token_budget)
        return by_group(chosen_P, group_indices)


def in_time(scores_G: Sequence[Float32Array], group_indices: Sequence[int]) -> FloatArray:
    """``(P,)`` of interleaved groups: ``[[a d] [c] [b]], groups 0 2 1  ->  a b c d``."""
    scores_P = np.zeros(sum(map(len, scores_G)))
    for scores, group in zip(scores_G, group_indices, strict=True):
        scores_P[group :: len(scores_G)] = scores
    return scores_P


def by_group(values_P: IntArray, group_indices: Sequence[int]) -> list[IntArray]:
    """The way back."""
    return [values_P[group :: len(group_indices)] for group in group_indices]


def to_unit_range(scores_P: FloatArray) -> FloatArray:
    """From 0 to 1; all zero where they do not differ."""
    low, high = float(scores_P.min()), float(scores_P.max())
    return np.zeros(len(scores_P)) if high <= low else (scores_P - low) / (high - low)
