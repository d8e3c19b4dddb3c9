"""AdaQ (arXiv 2606.24187): frames drawn by what they say to the question, sharper where scores differ less.

Without a frame embedder: a frame's similarity is the attention of its group's pass. Drawn systematically, so that a run
can be repeated, where the paper draws at random three times.
"""

import numpy as np

from pipeline.method.selectors.base import FloatArray, IntArray
from pipeline.method.selectors.keyframes import Keyframes, to_unit_range

_GAMMA = 0.5
_MASS = 0.997  # the 3σ interval


class AdaQ(Keyframes):
    """Systematic draws along the cumulative probability."""

    name = "adaq"
    label: str = "AdaQ (2606.24187), its sampling on attention in place of an embedder, drawn systematically"

    def choose(self, scores_P: FloatArray, count: int) -> IntArray:
        """See ``Keyframes``."""
        return draw_systematically(probabilities(scores_P), count)


def probabilities(scores_P: FloatArray) -> FloatArray:
    """``softmax(s / (0.5 Var s))`` of scores between 0 and 1, over the fewest best frames that hold 99.7 % of it.

    All alike where scores do not differ.
    """
    scaled_P = to_unit_range(scores_P)
    temperature = _GAMMA * float(scaled_P.var())
    if temperature <= 0:
        return np.full(len(scores_P), 1 / len(scores_P))
    weights_P = np.exp((scaled_P - 1) / temperature)
    shares_P = weights_P / weights_P.sum()
    order = np.argsort(-shares_P, kind="stable")
    num_kept = int(np.searchsorted(np.cumsum(shares_P[order]), _MASS - 1e-12)) + 1
    shares_P[order[num_kept:]] = 0.0
    return np.asarray(shares_P / shares_P.sum())


def draw_systematically(shares_P: FloatArray, count: int) -> IntArray:
    """``count`` different ones: at the middles of as many equal steps of the cumulative share.

    A frame hit twice counts once; what is missing is filled by the largest shares not drawn, ties to the earlier.
    """
    steps = (np.arange(count) + 0.5) / count
    drawn = np.unique(np.minimum(np.searchsorted(np.cumsum(shares_P), steps), len(shares_P) - 1))
    left = np.setdiff1d(np.arange(len(shares_P)), drawn)
    fill = left[np.argsort(-shares_P[left], kind="stable")][: count - len(drawn)]
    return np.sort(np.concatenate([drawn, fill])).astype(np.int64)
