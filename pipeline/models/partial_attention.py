"""Attention over a part of the keys, with the log-sum-exp of each row's scores: what makes parts one whole again.

For disjoint parts i of the keys, ``lse = log Σ exp(lse_i)`` and ``out = Σ exp(lse_i - lse) out_i`` are attention over
their union (cascade attention, arXiv 2501.01005; Hydragen, arXiv 2402.05099). Keys and values of grouped heads are
never repeated for it: a row that sees all keys may stand anywhere, so the query heads of one key head become rows.

Shape suffixes:
- B = batch, A = query heads, G = key heads, Q = queries, T = keys, D = head size, S = tokens of all segments in one row
- L = tokens of the longest segment, M = segments
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.models.devices.transfer import upload

_HALF = (torch.bfloat16, torch.float16)


class Partial(NamedTuple):
    """``out`` ``(B, A, Q, D)`` in the type of the queries; ``lse`` ``(B, A, Q)`` in nats, at least float32."""

    out: Tensor
    lse: Tensor


class SuffixPlaces:
    """Where sequences stand one after the other in a row: ``[(0, 3), (3, 5)]``; each is causal and sees only itself.

    Args:
        bounds: half-open, ascending, without gaps, from 0.
        device: where the indices are needed first; on others they are copied once.
    """

    def __init__(self, bounds: Sequence[tuple[int, int]], device: torch.device) -> None:
        lengths = [stop - start for start, stop in bounds]
        self.count, self.longest, self.total = len(bounds), max(lengths), bounds[-1][1]
        self.is_even = min(lengths) == self.longest
        steps_L = np.arange(self.longest)
        # beyond its end a segment repeats its last token, which no token before it sees
        padded = np.concatenate([start + np.minimum(steps_L, stop - start - 1) for start, stop in bounds])
        places = np.concatenate([row * self.longest + np.arange(length) for row, length in enumerate(lengths)])
        edges = np.append(0, np.cumsum(lengths)).astype(np.int32)
        self._home = torch.device(device)
        self._there = {self._home: tuple(upload(values, self._home) for values in (padded, places, edges))}

    def on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Row place of each padded token ``(M * L,)``, padded place of each ``(S,)``, int32 edges ``(M + 1,)``."""
        if device not in self._there:
            self._there[device] = tuple(values.to(device, non_blocking=True) for values in self._there[self._home])
        padded, places, edges = self._there[device]
        return padded, places, edges


def attend(query_BAQD: Tensor, key_BGTD: Tensor, value_BGTD: Tensor, *, scaling: float) -> Partial:
    """Every query sees every key; G divides A."""
    batch, heads, num_queries, size = query_BAQD.shape
    rows = query_BAQD.reshape(batch, key_BGTD.shape[1], -1, size)
    out, lse = _run_kernel(rows, key_BGTD, value_BGTD, scaling=scaling, is_causal=False)
    return Partial(out.reshape(query_BAQD.shape), lse.reshape(batch, heads, num_queries))


def attend_segments(
    query_1ASD: Tensor, key_1GSD: Tensor, value_1GSD: Tensor, segments: SuffixPlaces, *, scaling: float
) -> Partial:
    """Every query sees the tokens of its own segment up to itself."""
    device = query_1ASD.device
    padded, places, edges = segments.on(device)
    if device.type == "cuda" and query_1ASD.dtype in _HALF:
        packed = (states[0].transpose(0, 1) for states in (query_1ASD, key_1GSD, value_1GSD))
        longest = segments.longest
        out_SAD, lse_AS, *_ = torch.ops.aten._flash_attention_forward(
            *packed, edges, edges, longest, longest, 0.0, True, False, scale=scaling
        )
        return Partial(out_SAD.transpose(0, 1)[None], lse_AS[None])

    def split(states_1HSD: Tensor) -> Tensor:
        """``(M, H, L, D)``."""
        states_SHD = states_1HSD[0].transpose(0, 1)
        if not segments.is_even:
            states_SHD = states_SHD.index_select(0, padded)
        return states_SHD.reshape(segments.count, segments.longest, *states_SHD.shape[1:]).transpose(1, 2)

    out_MALD, lse_MAL = _run_kernel(*map(split, (query_1ASD, key_1GSD, value_1GSD)), scaling=scaling, is_causal=True)
    out_SAD, lse_SA = out_MALD.transpose(1, 2).flatten(0, 1), lse_MAL.transpose(1, 2).flatten(0, 1)
    if not segments.is_even:
        out_SAD, lse_SA = out_SAD.index_select(0, places), lse_SA.index_select(0, places)
    return Partial(out_SAD.transpose(0, 1)[None], lse_SA.transpose(0, 1)[None])


def attend_own_slots(
    query_BAD: Tensor, key_BGTD: Tensor, value_BGTD: Tensor, hidden_BT: Tensor, *, scaling: float
) -> Partial:
    """One query per row over few keys of its own, some of them hidden; in float32, ``(B, A, 1, D)``."""
    rows = query_BAD.reshape(*key_BGTD.shape[:2], -1, key_BGTD.shape[3]).float()
    scores = (rows @ key_BGTD.float().transpose(2, 3)).mul_(scaling).masked_fill_(hidden_BT[:, None, None], -torch.inf)
    out, lse = scores.softmax(dim=-1) @ value_BGTD.float(), scores.logsumexp(dim=-1)
    return Partial(out.flatten(1, 2)[:, :, None], lse.flatten(1, 2)[:, :, None])


def merge(one: Partial, other: Partial, dtype: torch.dtype) -> Partial:
    """Attention over both parts; arithmetic in at least float32, ``out`` in ``dtype``."""
    share = torch.sigmoid(one.lse - other.lse)[..., None]  # exp(lse_one) / (exp(lse_one) + exp(lse_other))
    wide = share.dtype
    out = torch.lerp(other.out.to(wide), one.out.to(wide), share)
    return Partial(out.to(dtype), torch.logaddexp(one.lse, other.lse))


def _run_kernel(query: Tensor, key: Tensor, value: Tensor, *, scaling: float, is_causal: bool) -> Partial:
    """The fastest of torch's kernels that says its log-sum-exp. Heads of queries are those of keys unless causal."""
    aten, device = torch.ops.aten, query.device.type
    if device == "cpu":
        out, lse = aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, is_causal, scale=scaling)
    elif device == "cuda" and query.dtype in _HALF:
        out, lse, *_ = aten._scaled_dot_product_flash_attention(query, key, value, 0.0, is_causal, scale=scaling)
    elif device == "cuda":
        key, value = _repeat(key, query), _repeat(value, query)
        out, lse, *_ = aten._scaled_dot_product_efficient_attention(
            query, key, value, None, True, 0.0, is_causal, scale=scaling
        )
        lse = lse[..., : query.shape[2]]  # its rows are padded to a multiple of 32
    else:
        out, lse = _attend_eagerly(query, key, value, scaling=scaling, is_causal=is_causal)
    return Partial(out, lse)


def _repeat(states_BGTD: Tensor, query: Tensor) -> Tensor:
    """One key head per query head; only segments in float32 need the copy."""
    return states_BGTD.repeat_interleave(query.shape[1] // states_BGTD.shape[1], dim=1)


def _attend_eagerly(query: Tensor, key: Tensor, value: Tensor, *, scaling: float, is_causal: bool) -> Any:
    scores = query.float() @ _repeat(key, query).float().transpose(2, 3) * scaling
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    weights = scores.softmax(dim=-1)
    return (weights @ _repeat(value, query).float()).to(query.dtype), scores.logsumexp(dim=-1)
