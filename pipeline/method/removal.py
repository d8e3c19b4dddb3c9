"""Which bought tokens say the same: greedy removal of the most similar pair's weaker token (design.md, step 6).

Exact, on the tensors' device, with the N x N similarities in memory (240 MB at N = 7,744). Shape suffixes:

- N = bought tokens
- D = feature size
- K = kept tokens
- B = rows of one block
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

_BLOCK_ROWS = 512  # bounds the temporaries; part of the arithmetic, so not a setting


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
        ``(K,)`` int64 ascending indices on the features' device, ``K = min(keep, N)``.

    Raises:
        ValueError: shapes differ, a value is not finite, or a setting is not positive.
    """
    _check_tokens(features_ND, times_s_N, scores_N, keep=keep, proximity_s=proximity_s)
    num_tokens = features_ND.shape[0]
    is_alive_N = torch.ones(num_tokens, dtype=torch.bool, device=features_ND.device)
    if keep >= num_tokens:
        return is_alive_N.nonzero().squeeze(1)
    scores: list[float] = scores_N.tolist()
    similarity_NN = _pair_similarities(features_ND, times_s_N, proximity_s)
    best_N, partner_N = similarity_NN.max(dim=1)  # of equal values, max names the first
    for _ in range(num_tokens - keep):
        first = int(best_N.argmax())
        second = int(partner_N[first])
        dropped = first if scores[first] < scores[second] else second
        is_alive_N[dropped] = False
        similarity_NN[:, dropped] = -math.inf
        best_N[dropped] = -math.inf
        orphans = (is_alive_N & (partner_N == dropped)).nonzero().squeeze(1)
        best_N[orphans], partner_N[orphans] = similarity_NN[orphans].max(dim=1)
    return is_alive_N.nonzero().squeeze(1)


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
    times_s_N = times_s_N.to(device=features_ND.device, dtype=torch.float64)
    similarity_NN = torch.full((num_tokens, num_tokens), -math.inf, device=features_ND.device)
    for start in range(0, num_tokens, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, num_tokens)
        distance_s_BN = (times_s_N[start:stop, None] - times_s_N[None, start:]).abs()
        proximity_BN = distance_s_BN.div_(-proximity_s).float().exp_()
        pairs_BN = (unit_ND[start:stop] @ unit_ND[start:].T).mul_(proximity_BN)
        not_pairs_BN = torch.ones_like(pairs_BN, dtype=torch.bool).tril_()
        similarity_NN[start:stop, start:] = pairs_BN.masked_fill_(not_pairs_BN, -math.inf)
    return similarity_NN
