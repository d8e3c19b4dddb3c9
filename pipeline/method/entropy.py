"""How sure the model is of a group's response: token entropies, and the certainty made of the least sure tokens.

Shape suffixes:

- N = response tokens
- V = vocabulary
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.method.rounding import ceil_product


def token_entropies(logits_NV: Tensor) -> Tensor:
    """Entropy of each next-token distribution over the full vocabulary.

    Args:
        logits_NV: ``(N, V)`` of any float type; ``-inf`` marks a token that cannot follow.

    Returns:
        ``(N,)`` float32 nats in ``[0, log V]``; NaN where a row has no distribution (NaN, or all ``-inf``).

    Raises:
        ValueError: the logits are not two-dimensional or the vocabulary is empty.
    """
    if logits_NV.ndim != 2 or logits_NV.shape[1] == 0:
        raise ValueError(f"logits_NV must have the shape (tokens, vocabulary), got {tuple(logits_NV.shape)}")
    log_probs_NV = torch.log_softmax(logits_NV.float(), dim=-1)
    # 0 · log 0 counts as 0, where floats would say NaN
    terms_NV = torch.where(log_probs_NV == -math.inf, 0.0, log_probs_NV.exp() * log_probs_NV)
    return (-terms_NV.sum(dim=-1)).clamp_min(0.0)


def response_certainty(entropies_N: Sequence[float] | Tensor, *, share: float = 0.1) -> float:
    """Minus the mean of the ``ceil(share * N)`` largest entropies: the least sure tokens speak for the response.

    Args:
        entropies_N: nats, one per response token (the end token counts); N >= 1.
        share: part of the tokens that counts, in (0, 1]; at least one token does.

    Returns:
        Certainty in nats, at most 0; one-token answers give minus that token's entropy.

    Raises:
        ValueError: there is no token, an entropy is not finite (the model's logits were not), or share is out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    values = [float(value) for value in (entropies_N.tolist() if isinstance(entropies_N, Tensor) else entropies_N)]
    if not values:
        raise ValueError("entropies_N must hold at least one token, got none; the end token counts as one")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(
            f"entropies_N must be finite, got {values}; check the model's logits for NaN (dtype too narrow?)"
        )
    num_counted = max(1, ceil_product(share, len(values)))
    least_sure = sorted(values, reverse=True)[:num_counted]
    return 0.0 - math.fsum(least_sure) / num_counted
