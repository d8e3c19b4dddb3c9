"""AKS (arXiv 2502.21271): the best frames of a stretch where some stand out, else half as many of each of its halves.

Without a frame embedder: a frame's score is the attention of its group's pass.
"""

import numpy as np

from pipeline.method.selectors.base import FloatArray, IntArray
from pipeline.method.selectors.keyframes import Keyframes, to_unit_range

_STANDS_OUT = 0.8
_DEEPEST = 5


class Aks(Keyframes):
    """Recursive bisection, at most five times."""

    name = "aks"
    label: str = "AKS (2502.21271), its rule on attention in place of an embedder"

    def choose(self, scores_P: FloatArray, count: int) -> IntArray:
        """See ``Keyframes``."""
        return np.sort(bisect(to_unit_range(scores_P), np.arange(len(scores_P)), count, depth=0))


def bisect(scores_P: FloatArray, part: IntArray, count: int, *, depth: int) -> IntArray:
    """``count`` frames of ``part``: its best, if they are better than the mean by 0.8, or if it is cut no further.

    An odd one goes to the half with the larger best score, the earlier in a tie; a half that has too few hands on.
    """
    best = part[np.argsort(-scores_P[part], kind="stable")][:count]
    if depth == _DEEPEST or count <= 1 or len(part) <= count:
        return best.astype(np.int64)
    if scores_P[best].mean() - scores_P[part].mean() > _STANDS_OUT:
        return best.astype(np.int64)
    left, right = np.array_split(part, 2)
    is_right = scores_P[right].max() > scores_P[left].max()
    of_left = min(len(left), count // 2 + (count % 2 if not is_right else 0))
    of_right = min(len(right), count - of_left)
    of_left = count - of_right
    parts = [bisect(scores_P, half, n, depth=depth + 1) for half, n in ((left, of_left), (right, of_right)) if n]
    return np.concatenate(parts)
