"""What a Qwen vision tower knows of its tokens beside their features: attention received, features before the merger.

Queries and keys of the last block are worked out once more from what goes into it, so that how the tower attends does
not matter, and nothing of it is changed.

Shape suffixes: L = patches of a batch in the tower's order, U = tokens (units of merged patches), H = heads, S = head
size, C = width of the tower
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

from pipeline.models.qwen.window_attention import segments_of

_PIECES_AT_ONCE = 4  # of a full frame each: heads times patches squared is what one takes


@dataclass(kw_only=True, slots=True, eq=False)
class ReceivedAttention:
    """``(L,)`` float32 per batch, in the tower's order."""

    batches: list[Tensor] = field(default_factory=list)


@contextmanager
def watch_last_block(tower: Any) -> Iterator[ReceivedAttention]:
    """While it is open, each pass of the tower leaves the attention that its last block pays to each patch."""
    received, attention = ReceivedAttention(), tower.blocks[-1].attn

    def look(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden_LC = args[0] if args else kwargs["hidden_states"]
        received.batches.append(_received(module, hidden_LC, kwargs))

    handle = attention.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield received
    finally:
        handle.remove()


def per_token(values_LX: Tensor, *, unit: int, order_U: Tensor | None) -> Tensor:
    """Means over each token's patches, tokens in temporal, row, column order.

    Args:
        values_LX: in the tower's order.
        unit: patches per token.
        order_U: which token stands where in the tower; None: in order.
    """
    means_UX: Tensor = values_LX.float().view(-1, unit, *values_LX.shape[1:]).mean(dim=1)
    return means_UX if order_U is None else means_UX[order_U.to(means_UX.device).argsort()]


def _received(module: Any, hidden_LC: Tensor, kwargs: dict[str, Any]) -> Tensor:
    """``softmax(q kᵀ)`` within each piece, mean over heads and queries."""
    num_rows = len(hidden_LC)
    query_LHS, key_LHS, _ = module.qkv(hidden_LC).view(num_rows, 3, module.num_heads, -1).unbind(1)
    query_LHS, key_LHS = apply_rotary_pos_emb_vision(query_LHS, key_LHS, *kwargs["position_embeddings"])
    known = segments_of(kwargs["cu_seqlens"], kwargs.get("segments", ()))
    if known.gather_L is not None:
        query_LHS, key_LHS = query_LHS[known.gather_L], key_LHS[known.gather_L]
    ends = list(accumulate(count * length for count, length in known.runs))
    parts = []
    for end, (count, length) in zip(ends, known.runs, strict=True):
        begin = end - count * length
        shape = (count, length, *query_LHS.shape[1:])
        queries, keys = (one[begin:end].view(shape).transpose(1, 2).float() for one in (query_LHS, key_LHS))
        for start in range(0, count, _PIECES_AT_ONCE):
            some = slice(start, start + _PIECES_AT_ONCE)
            logits = queries[some] @ keys[some].transpose(-1, -2) * module.scaling
            parts.append(logits.softmax(dim=-1).mean(dim=(1, 2)).reshape(-1))
    received_L = torch.cat(parts)
    return received_L if known.scatter_L is None else received_L[known.scatter_L]
