"""torch's attention kernels for CUDA that say their log-sum-exp, on host memory: what they take, give and refuse."""

from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
_HALF = (torch.bfloat16, torch.float16)
_LSE_MULTIPLE = 32


def _check(*states: Tensor, types: tuple[torch.dtype, ...]) -> None:
    for tensor in states:
        if tensor.dtype not in types:
            raise RuntimeError(f"this kernel does not take {tensor.dtype}")
        if tensor.stride(-1) != 1 or tensor.shape[-1] % 8:
            raise RuntimeError("input must have contiguous last dimension, a multiple of 8")


def _attend(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scale: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    out, lse = aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, is_causal, attn_mask=mask, scale=scale
    )
    return out, lse


def flash(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    return_debug_mask: bool = False,
    *,
    scale: float,
) -> tuple[Any, ...]:
    _check(query, key, value, types=_HALF)
    out, lse = _attend(query, key, value, is_causal, scale)
    nothing = torch.empty(0)
    return out, lse, nothing, nothing, query.shape[2], key.shape[2], nothing, nothing, nothing


def flash_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edges: Tensor,
    key_edges: Tensor,
    longest: int,
    longest_key: int,
    dropout_p: float,
    is_causal: bool,
    return_debug_mask: bool,
    *,
    scale: float,
) -> tuple[Any, ...]:
    _check(query, key, value, types=_HALF)
    if edges.dtype is not torch.int32 or not torch.equal(edges, key_edges):
        raise RuntimeError("cu_seqlens must have dtype int32")
    outs, sums = [], []
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        assert 0 < stop - start <= min(longest, longest_key)
        parts = (states[start:stop].transpose(0, 1)[None] for states in (query, key, value))
        out, lse = _attend(*parts, is_causal, scale)
        outs.append(out[0].transpose(0, 1))
        sums.append(lse[0])
    return torch.cat(outs), torch.cat(sums, dim=1), *[torch.empty(0)] * 3


def efficient(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | None,
    compute_log_sumexp: bool,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float,
) -> tuple[Any, ...]:
    _check(query, key, value, types=(*_HALF, torch.float32))
    if query.shape[1] != key.shape[1] or not compute_log_sumexp:
        raise RuntimeError("not what the stand-in does")
    if attn_bias is not None:
        _check(attn_bias, types=(query.dtype,))
        if attn_bias.shape != (*query.shape[:3], key.shape[2]) or any(stride % 8 for stride in attn_bias.stride()[:-1]):
            raise RuntimeError("attn_bias is not correctly aligned or shaped")
    out, lse = _attend(query, key, value, is_causal, scale, attn_bias)
    padded = torch.nn.functional.pad(lse, (0, -lse.shape[2] % _LSE_MULTIPLE), value=float("inf"))
    return out, padded, torch.empty(0), torch.empty(0)


STAND_INS: dict[Any, Any] = {
    aten._scaled_dot_product_flash_attention: flash,
    aten._flash_attention_forward: flash_varlen,
    aten._scaled_dot_product_efficient_attention: efficient,
}
