"""Which tokens a training clip keeps of some groups: bought by rank, then thinned as a run thins them.

Shape suffixes:
- P = temporal patches of the groups, K = visual tokens per patch (4), D = size of a token's features
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.lab.demo_training.patches import TOKENS_PER_SIDE
from pipeline.method.removal import remove_redundant

_TOKENS_PER_PATCH = TOKENS_PER_SIDE**2


def buy_tokens(liking_PK: NDArray[np.float64], group_P: NDArray[np.int64], *, num_tokens: int) -> NDArray[np.bool_]:
    """``(P, K)`` the best-liked tokens of every group, an equal number of each, at least ``num_tokens`` in all."""
    groups = np.unique(group_P)
    quota = math.ceil(num_tokens / len(groups))
    is_bought_PK = np.zeros(liking_PK.shape, dtype=bool)
    for group in groups:
        inside = np.flatnonzero(group_P == group)
        best = np.argsort(-liking_PK[inside].reshape(-1), kind="stable")[:quota]
        is_bought_PK[inside[best // _TOKENS_PER_PATCH], best % _TOKENS_PER_PATCH] = True
    return is_bought_PK


def drop_surplus(rng: np.random.Generator, is_bought_PK: NDArray[np.bool_], *, num_tokens: int) -> NDArray[np.bool_]:
    """Any ``num_tokens`` of the bought ones."""
    is_kept_PK = is_bought_PK.copy()
    surplus = rng.permutation(np.flatnonzero(is_bought_PK))[num_tokens:]
    is_kept_PK.reshape(-1)[surplus] = False
    return is_kept_PK


def drop_redundant(
    is_bought_PK: NDArray[np.bool_],
    features_PKD: Tensor,
    liking_PK: NDArray[np.float64],
    times_s_P: NDArray[np.float64],
    *,
    num_tokens: int,
    proximity_s: float,
) -> NDArray[np.bool_]:
    """Of the bought tokens those that a run would keep: of the most similar pair the less liked goes."""
    bought = np.flatnonzero(is_bought_PK)
    kept = remove_redundant(
        features_PKD.flatten(0, 1)[torch.from_numpy(bought)],
        torch.from_numpy(times_s_P[bought // _TOKENS_PER_PATCH]),
        torch.from_numpy(liking_PK.reshape(-1)[bought]).float(),
        keep=num_tokens,
        proximity_s=proximity_s,
    )
    is_kept_PK = np.zeros(is_bought_PK.shape, dtype=bool)
    is_kept_PK.reshape(-1)[bought[kept.numpy()]] = True
    return is_kept_PK
