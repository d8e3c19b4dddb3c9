"""The attention kernels of torch, as a recorder of costs sees them: shapes of their results, bytes and FLOPs.

Bytes are those of a kernel that keeps no matrix of scores. Masked pairs of causal attention are not computed by it;
those that an explicit mask hides are.

Shape suffixes: A = query heads, D = head size, S = rows of all sequences
"""

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

aten = torch.ops.aten
_PLAIN = {aten.scaled_dot_product_attention}
_WITH_SUMS = {aten._scaled_dot_product_flash_attention, aten._scaled_dot_product_cudnn_attention}
_WITH_BIAS = {aten._scaled_dot_product_efficient_attention}
_PACKED = {aten._flash_attention_forward}
ATTENTION = _PLAIN | _WITH_SUMS | _WITH_BIAS | _PACKED


def attend(packet: Any, args: Any, kwargs: dict[str, Any], mode: FakeTensorMode) -> tuple[Any, list[Tensor], int]:
    """Results of an attention kernel, the tensors that it touches, and its FLOPs."""
    if packet in _PACKED:
        return _attend_packed(args, kwargs, mode)
    query, key, value = args[:3]
    bias, is_causal = _options(packet, args, kwargs)
    with mode:
        # memory as the fused kernels leave it: tokens first, so that heads lie side by side
        batch, heads, rows, _ = query.shape
        output = query.new_empty((batch, rows, heads, value.shape[-1])).transpose(1, 2)
        sums = query.new_empty((batch, heads, rows), dtype=torch.float32)
    touched = [query, key, value, output] + ([bias] if bias is not None else [])
    flops = count_flops(query, key.shape[2], is_causal=is_causal)
    if packet in _PLAIN:
        return output, touched, flops
    return (output, sums, *_rest(packet, query, mode)), [*touched, sums], flops


def count_flops(query: Tensor, num_keys: int, *, is_causal: bool) -> int:
    """Of both products; a causal query sees the keys up to its own place, the first of them the first key."""
    batch, heads, rows, size = query.shape
    pairs = rows * num_keys
    if is_causal:
        seen = min(rows, num_keys)
        pairs = seen * (seen + 1) // 2 + max(0, rows - num_keys) * num_keys
    return int(4 * batch * heads * size * pairs)


def _options(packet: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Tensor | None, bool]:
    """The mask, and whether attention is causal."""
    if packet in _PLAIN:  # query, key, value, attn_mask, dropout_p, is_causal
        bias = args[3] if len(args) > 3 else kwargs.get("attn_mask")
        return bias, bool(args[5] if len(args) > 5 else kwargs.get("is_causal", False))
    if packet in _WITH_BIAS:  # query, key, value, attn_bias, compute_log_sumexp, dropout_p, is_causal
        bias = args[3] if len(args) > 3 else kwargs.get("attn_bias")
        return bias, bool(args[6] if len(args) > 6 else kwargs.get("is_causal", False))
    if packet is aten._scaled_dot_product_cudnn_attention:  # as the one before
        bias = args[3] if len(args) > 3 else kwargs.get("attn_bias")
        return bias, bool(args[6] if len(args) > 6 else kwargs.get("is_causal", False))
    return None, bool(args[4] if len(args) > 4 else kwargs.get("is_causal", False))


def _attend_packed(args: Any, kwargs: dict[str, Any], mode: FakeTensorMode) -> tuple[Any, list[Tensor], int]:
    """Sequences in one row, ``(S, A, D)``; each is taken to be as long as the longest, which is an upper bound."""
    query, key, value, _, _, most_rows, most_keys = args[:7]
    is_causal = bool(args[8])
    with mode:
        output = torch.empty_like(query)
        sums = query.new_empty((query.shape[1], query.shape[0]), dtype=torch.float32)
    num = -(-query.shape[0] // most_rows)
    pairs = most_rows * (most_rows + 1) // 2 if is_causal else most_rows * most_keys
    flops = int(4 * query.shape[1] * query.shape[2] * num * pairs)
    return (output, sums, *_rest(aten._flash_attention_forward, query, mode)), [query, key, value, output, sums], flops


def _rest(packet: Any, query: Tensor, mode: FakeTensorMode) -> list[Any]:
    """What a kernel hands out behind its output and sums: seeds and bounds that nobody reads."""
    with mode:
        kinds = [str(one.type) for one in packet.default._schema.returns[2:]]
        return [query.new_empty(0) if kind == "Tensor" else 0 for kind in kinds]
