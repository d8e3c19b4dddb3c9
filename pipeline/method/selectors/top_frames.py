"""Frames chosen by attention: AdaptToken's groups, scores and shares, but a group sells whole temporal patches.

Set beside AdaptToken without removal (``budget.over_select=1``), it tells what choosing tokens instead of frames buys.
"""

import numpy as np

from pipeline.method.selectors.adapttoken import AdaptToken
from pipeline.method.selectors.base import FloatArray, IntArray
from pipeline.settings.config import BudgetConfig


class TopFrames(AdaptToken):
    """A patch ranks by its best token: by the mean, a frame with a small object would lose to a dull one.

    Nothing is bought beyond the budget, as removal would tear frames apart.
    """

    name = "top-frames"
    removes_redundancy = False
    keeps_whole_patches = True

    def allocate(
        self, certainty_G: FloatArray, num_tokens_G: IntArray, config: BudgetConfig, *, tokens_per_patch: int = 1
    ) -> IntArray:
        """As many whole patches as the budget holds; where it holds none, the best tokens of one."""
        num_patches = max(1, config.token_budget // tokens_per_patch)
        shares_G = share_patches(certainty_G, num_tokens_G // tokens_per_patch, num_patches=num_patches, tau=config.tau)
        return np.minimum(shares_G * tokens_per_patch, config.token_budget)


def share_patches(certainty_G: FloatArray, patches_G: IntArray, *, num_patches: int, tau: float) -> IntArray:
    """Share patches in proportion to ``softmax(certainty / tau)`` by Webster's (Sainte-Laguë's) method.

    A group's patches have the claims w, w/3, w/5, …; the ``num_patches`` largest are met, ties to the lower index. One
    more group therefore never raises another one's share, which largest remainders would: by a whole patch here.

    Args:
        certainty_G: ``(G,)`` nats.
        patches_G: ``(G,)`` patches each group offers.
        num_patches: to share out.
        tau: temperature in nats.

    Returns:
        ``(G,)`` int64 with the sum ``min(num_patches, patches_G.sum())``.
    """
    depth_K = np.arange(min(num_patches, int(patches_G.max())))
    claims_GK = np.round(certainty_G[:, None] / tau - np.log(2 * depth_K + 1), 9)  # logarithms: weights may vanish
    claims_GK = np.where(depth_K < patches_G[:, None], claims_GK, -np.inf)
    best = np.argsort(-claims_GK, axis=None, kind="stable")[: min(num_patches, int(patches_G.sum()))]
    return np.bincount(best // len(depth_K), minlength=len(patches_G)).astype(np.int64)
