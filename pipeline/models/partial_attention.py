"""Attention over a part of the keys, with the log-sum-exp of each row's scores: what makes parts one whole again.

For disjoint parts i of the keys, ``lse = log Σ exp(lse_i)`` and ``out = Σ exp(lse_i - lse) out_i`` are attention over
their union (cascade attention, arXiv 2501.01005; Hydragen, arXiv 2402.05099). Keys and values of grouped heads are
never repeated for it: a row that sees all keys may stand anywhere, so the query heads of one key head become rows.

Shape suffixes:
- B = batch, A = G * R = query heads, G = key heads, Q = queries, T = keys, D = head size
- S = tokens of all suffixes in one row, M = suffixes, L = tokens of the longest
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.models.devices.transfer import upload

_HALF = (torch.bfloat16, torch.float16)


class Partial(NamedTuple):
    """``out`` ``(B, G, R, Q, D)`` in the type of the queries; ``lse`` ``(B, G, R, Q)`` in nats, at least float32."""

    out: Tensor
    lse: Tensor


class Merged(NamedTuple):
    """Attention over all parts: ``out`` ``(B, A, Q, D)``, whose memory is ``(B, Q, A, D)``."""

    out: Tensor
    parts: tuple[Tensor, ...]

    @property
    def lse(self) -> Tensor:
        """``(B, A, Q)`` in nats over all keys; few layers are asked for it."""
        first, *others = self.parts
        for other in others:
            first = torch.logaddexp(first, other)
        return first.flatten(1, 2)


class SuffixPlaces:
    """Where suffixes stand one after the other in a row: ``[(0, 3), (3, 5)]``; each is causal and sees only itself.

    Args:
        bounds: half-open, ascending, without gaps, from 0.
        device: where the indices are needed first; on others they are copied once.
    """

    def __init__(self, bounds: Sequence[tuple[int, int]], device: torch.device) -> None:
        lengths = [stop - start for start, stop in bounds]
        self.count, self.longest, self.total = len(bounds), max(lengths), bounds[-1][1]
        self.is_even = min(lengths) == self.longest
        steps_L = np.arange(self.longest)
        # beyond its end a suffix repeats its last token, which no token before it sees
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
    """Every query sees every key."""
    batch, heads, num_queries, size = query_BAQD.shape
    key_heads = key_BGTD.shape[1]
    rows = query_BAQD.reshape(batch, key_heads, -1, size)
    out, lse = _run_kernel(rows, key_BGTD, value_BGTD, scaling=scaling)
    grouped = batch, key_heads, heads // key_heads, num_queries
    return Partial(out.view(*grouped, size), lse.view(grouped))


def attend_suffixes(
    query_1ASD: Tensor, key_1GSD: Tensor, value_1GSD: Tensor, places: SuffixPlaces, *, scaling: float
) -> Partial:
    """Every query sees the tokens of its own suffix up to itself."""
    _, heads, num_queries, size = query_1ASD.shape
    grouped = 1, key_1GSD.shape[1], heads // key_1GSD.shape[1], num_queries
    device = query_1ASD.device
    padded, back, edges = places.on(device)
    if device.type == "cuda" and query_1ASD.dtype in _HALF:
        packed = (states[0].transpose(0, 1) for states in (query_1ASD, key_1GSD, value_1GSD))
        out_SAD, lse_AS, *_ = torch.ops.aten._flash_attention_forward(
            *packed, edges, edges, places.longest, places.longest, 0.0, True, False, scale=scaling
        )
        return Partial(out_SAD.transpose(0, 1).view(*grouped, size), lse_AS.view(grouped))

    def split(states_1HSD: Tensor) -> Tensor:
        """``(M, H, L, D)``."""
        states_SHD = states_1HSD[0].transpose(0, 1)
        if not places.is_even:
            states_SHD = states_SHD.index_select(0, padded)
        return states_SHD.reshape(places.count, places.longest, *states_SHD.shape[1:]).transpose(1, 2)

    out_MALD, lse_MAL = _run_kernel(*map(split, (query_1ASD, key_1GSD, value_1GSD)), scaling=scaling, is_causal=True)
    out_SAD, lse_SA = out_MALD.transpose(1, 2).flatten(0, 1), lse_MAL.transpose(1, 2).flatten(0, 1)
    if not places.is_even:
        out_SAD, lse_SA = out_SAD.index_select(0, back), lse_SA.index_select(0, back)
    return Partial(out_SAD.transpose(0, 1).view(*grouped, size), lse_SA.transpose(0, 1).view(grouped))


def attend_slots(
    query_1AQD: Tensor, key_QGTD: Tensor, value_QGTD: Tensor, mask_QT: Tensor, *, scaling: float
) -> Partial:
    """Every query sees few keys of its own; the mask is additive, in the type of the queries, and hides not all."""
    count, key_heads, num_keys, size = key_QGTD.shape
    rows_QGRD = query_1AQD[0].transpose(0, 1).reshape(count, key_heads, -1, size)
    mask = mask_QT[:, None, None].expand(-1, key_heads, rows_QGRD.shape[2], num_keys)
    out, lse = _run_kernel(rows_QGRD, key_QGTD, value_QGTD, scaling=scaling, mask=mask)
    return Partial(out.permute(1, 2, 0, 3)[None], lse.permute(1, 2, 0)[None])


def merge(one: Partial, other: Partial, dtype: torch.dtype) -> Merged:
    """Attention over both parts; arithmetic in at least float32, ``out`` in ``dtype``."""
    batch, key_heads, ratio, num_queries, size = other.out.shape
    share = torch.sigmoid(one.lse - other.lse)[..., None]  # exp(lse_one) / (exp(lse_one) + exp(lse_other))
    out = (one.out * share).addcmul_(other.out, 1 - share)
    target = torch.empty((batch, num_queries, key_heads, ratio, size), dtype=dtype, device=out.device)
    target.copy_(out.permute(0, 3, 1, 2, 4))
    return Merged(target.flatten(2, 3).transpose(1, 2), (one.lse, other.lse))


def alone(part: Partial, dtype: torch.dtype) -> Merged:
    """Attention over a part that is all."""
    out_BQGRD = part.out.permute(0, 3, 1, 2, 4).to(dtype)
    return Merged(out_BQGRD.flatten(2, 3).transpose(1, 2), (part.lse,))


def _run_kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scaling: float,
    is_causal: bool = False,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The fastest of torch's kernels that says its log-sum-exp. Heads of queries are those of keys unless causal."""
    aten, device = torch.ops.aten, query.device.type
    if device == "cpu":
        out, lse = aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, is_causal, attn_mask=mask, scale=scaling
        )
    elif device == "cuda" and query.dtype in _HALF and mask is None:
        out, lse, *_ = aten._scaled_dot_product_flash_attention(query, key, value, 0.0, is_causal, scale=scaling)
    elif device == "cuda":
        key, value = _repeat(key, query), _repeat(value, query)
        out, lse, *_ = aten._scaled_dot_product_efficient_attention(
            query, key, value, mask, True, 0.0, is_causal, scale=scaling
        )
        lse = lse[..., : query.shape[2]]  # its rows are padded to a multiple of 32
    else:
        out, lse = _attend_eagerly(query, key, value, scaling=scaling, is_causal=is_causal, mask=mask)
    return out, lse


def _repeat(states_BGTD: Tensor, query: Tensor) -> Tensor:
    """One key head per query head; only suffixes in float32 need the copy."""
    ratio = query.shape[1] // states_BGTD.shape[1]
    return states_BGTD if ratio == 1 else states_BGTD.repeat_interleave(ratio, dim=1)


def _attend_eagerly(
    query: Tensor, key: Tensor, value: Tensor, *, scaling: float, is_causal: bool = False, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    scores = query.float() @ _repeat(key, query).float().transpose(2, 3) * scaling
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    if mask is not None:
        scores = scores + mask
    weights = scores.softmax(dim=-1)
    return (weights @ _repeat(value, query).float()).to(query.dtype), scores.logsumexp(dim=-1)
