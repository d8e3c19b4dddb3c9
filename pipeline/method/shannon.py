"""Entropy of a few probabilities, without torch: selectors are named by light commands too."""

import math
from collections.abc import Sequence


def shannon_entropy(probabilities: Sequence[float]) -> float:
    """``-Σ p log p`` in nats; NaN where one is NaN."""
    return -sum(p * math.log(p) for p in probabilities if p != 0)
