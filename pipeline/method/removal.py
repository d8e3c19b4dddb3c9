"""Which bought tokens say the same: greedy removal of the most similar pair's weaker token (design.md, step 6).

Similarities never change, so dropping from "the most similar pair left" again and again is one walk over the pairs in
falling order. Exact; the N x N similarities stay on the tensors' device (240 MB at N = 7,744), the host walks over the
top of them. Shape suffixes:

- N = bought tokens
- D = feature size
- K = kept tokens
- B = rows of one block
- M = pairs
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

_BLOCK_ROWS = 512  # bounds the temporaries; part of the arithmetic, so not a setting
_PAIRS_PER_DROP = 2  # pairs fetched at least for every token to be dropped; they may share tokens
_CHUNK_PAIRS = 4_096  # pairs whose tokens are known to be dead are skipped by the chunk


def remove_redundant(
    features_ND: Tensor, times_s_N: Tensor, scores_N: Tensor, *, keep: int, proximity_s: float
) -> Tensor:
    """Drop tokens until ``keep`` remain: of the most similar pair, the one with the lower attention score.

    Similarity is ``cos(v_i, v_j) * exp(-|t_i - t_j| / proximity_s)`` in float32. Of equally similar pairs the lowest
    ``(i, j)`` counts; of equal scores the higher index goes.

    Args:
        features_ND: ``(N, D)`` token features of any float type; a zero vector is similar to nothing.
        times_s_N: ``(N,)`` presentation time of each token.
        scores_N: ``(N,)`` raw attention scores.
        keep: tokens that remain; with N <= ``keep`` all do.
        proximity_s: time after which similarity has fallen to 1/e.

    Returns:
        ``(K,)`` int64 ascending indices on the host, which has chosen them, ``K = min(keep, N)``.

    Raises:
        ValueError: shapes differ, a value is not finite, or a setting is not positive.
    """
    _check_tokens(features_ND, times_s_N, scores_N, keep=keep, proximity_s=proximity_s)
    num_tokens = features_ND.shape[0]
    is_alive_N = np.ones(num_tokens, dtype=bool)
    if keep < num_tokens:
        scores_N = scores_N.cpu()
        similarity_NN = _pair_similarities(features_ND, times_s_N, proximity_s)
        num_left = num_tokens - keep
        while num_left:
            pairs_M2 = _most_similar_pairs(similarity_NN, num_left)
            dropped = _drop_weaker(pairs_M2, is_alive_N, scores_N.numpy(), limit=num_left)
            num_left -= len(dropped)
            if num_left:  # a second round is rare
                similarity_NN[dropped] = -math.inf
                similarity_NN[:, dropped] = -math.inf
    return torch.from_numpy(np.flatnonzero(is_alive_N))


def _most_similar_pairs(similarity_NN: Tensor, num_left: int) -> npt.NDArray[np.int64]:
    """``(M, 2)`` all pairs at least as similar as some floor, most similar first, of equals the lowest first.

    The floor is one that enough tokens reach in some pair, so that one round mostly serves.
    """
    best_N = similarity_NN.amax(dim=1)
    floor = best_N.topk(min(len(best_N), _PAIRS_PER_DROP * num_left)).values[-1]
    pairs_M2 = ((similarity_NN >= floor) & (similarity_NN > -math.inf)).nonzero()  # by first, then second token
    order_M = similarity_NN[pairs_M2[:, 0], pairs_M2[:, 1]].argsort(descending=True, stable=True)
    return np.asarray(pairs_M2[order_M].cpu().numpy())


def _drop_weaker(
    pairs_M2: npt.NDArray[np.int64], is_alive_N: npt.NDArray[np.bool_], scores_N: npt.NDArray[np.float32], *, limit: int
) -> list[int]:
    """Of each pair whose tokens are both alive the weaker goes; updates ``is_alive_N``, returns who went."""
    dropped: list[int] = []
    for start in range(0, len(pairs_M2), _CHUNK_PAIRS):
        chunk = pairs_M2[start : start + _CHUNK_PAIRS]
        for first, second in chunk[is_alive_N[chunk].all(axis=1)].tolist():
            if len(dropped) == limit:
                return dropped
            if is_alive_N[first] and is_alive_N[second]:
                dropped.append(first if scores_N[first] < scores_N[second] else second)
                is_alive_N[dropped[-1]] = False
    return dropped


def _check_tokens(features_ND: Tensor, times_s_N: Tensor, scores_N: Tensor, *, keep: int, proximity_s: float) -> None:
    if features_ND.ndim != 2 or times_s_N.shape != features_ND.shape[:1] or scores_N.shape != features_ND.shape[:1]:
        shapes = tuple(features_ND.shape), tuple(times_s_N.shape), tuple(scores_N.shape)
        raise ValueError(f"features, times and scores must be (N, D), (N,) and (N,), got {shapes}")
    for name, values in (("features_ND", features_ND), ("times_s_N", times_s_N), ("scores_N", scores_N)):
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"{name} must be finite, got NaN or infinity; check the model's dtype")
    if keep < 1:
        raise ValueError(f"keep must be at least 1 token, got {keep}")
    if not proximity_s > 0:
        raise ValueError(f"proximity_s must be positive seconds, got {proximity_s}")


def _pair_similarities(features_ND: Tensor, times_s_N: Tensor, proximity_s: float) -> Tensor:
    """``(N, N)`` float32 with pair (i, j) in row i, i < j; ``-inf`` elsewhere, so that every pair counts once."""
    num_tokens = features_ND.shape[0]
    unit_ND = functional.normalize(features_ND.float(), dim=1)
    if features_ND.is_cuda and not times_s_N.is_cuda:
        times_s_N = times_s_N.pin_memory()  # the host need not wait for the copy
    times_s_N = times_s_N.to(device=features_ND.device, dtype=torch.float64, non_blocking=True)
    similarity_NN = torch.full((num_tokens, num_tokens), -math.inf, device=features_ND.device)
    for start in range(0, num_tokens, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, num_tokens)
        distance_s_BN = (times_s_N[start:stop, None] - times_s_N[None, start:]).abs()
        proximity_BN = distance_s_BN.div_(-proximity_s).float().exp_()
        pairs_BN = (unit_ND[start:stop] @ unit_ND[start:].T).mul_(proximity_BN)
        not_pairs_BN = torch.ones_like(pairs_BN, dtype=torch.bool).tril_()
        similarity_NN[start:stop, start:] = pairs_BN.masked_fill_(not_pairs_BN, -math.inf)
    return similarity_NN
