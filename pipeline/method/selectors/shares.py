"""How many tokens each group of a prefix sells, and of which patches where the selector says that too.

Shape suffixes: G = groups of the prefix, P = patches of a group
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.method.selectors.base import FloatArray, GroupScore, IntArray, Selector
from pipeline.settings.config import BudgetConfig


class Shares(NamedTuple):
    """``(G,)`` tokens; ``by_patch``: ``(P,)`` of each group, where they are not simply its best ones."""

    tokens_G: IntArray
    by_patch: tuple[IntArray, ...] | None = None


def share_out(
    selector: Selector,
    prefix: Sequence[GroupScore],
    config: BudgetConfig,
    *,
    certainty_G: FloatArray | None = None,
    num_tokens_G: IntArray | None = None,
    is_complete: bool,
) -> Shares:
    """Over the groups that count so far.

    A selector that compares patches decides once all are in: before, anything may still be bought.

    Args:
        selector: whose rule it is.
        prefix: scores in visiting order, at least one.
        config: the budget.
        certainty_G: of the prefix, where it is at hand.
        num_tokens_G: likewise.
        is_complete: no group will follow.
    """
    if num_tokens_G is None:
        num_tokens_G = np.array([score.num_tokens for score in prefix])
    if certainty_G is None:
        certainty_G = np.array([score.certainty for score in prefix])
    per_patch = prefix[0].tokens_per_patch
    if selector.profile == "nothing":
        return Shares(selector.allocate(certainty_G, num_tokens_G, config, tokens_per_patch=per_patch))
    profiles = [np.frombuffer(score.profile, dtype=np.float32) for score in prefix]
    if selector.profile == "tokens":
        return Shares(selector.allocate_tokens(profiles, config))
    if not is_complete:
        return Shares(num_tokens_G.copy())
    indices = [score.group_index for score in prefix]
    by_patch = selector.allocate_patches(profiles, indices, config, tokens_per_patch=per_patch)
    return Shares(np.array([int(tokens.sum()) for tokens in by_patch], dtype=np.int64), tuple(by_patch))
