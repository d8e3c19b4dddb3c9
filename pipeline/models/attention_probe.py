"""Reads the attention of text to visual tokens at one layer, beside the fast kernel and never as an n × n matrix.

Shape suffixes:
- B = questions, A = attention heads, G = key heads, Q = query positions, T = all keys, N = visual tokens, D = head size
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

PROBED_ATTENTION = "adapttoken_probed"

_RECORD: ContextVar[dict[int, Tensor] | None] = ContextVar("attention_by_layer", default=None)


@contextmanager
def record_layers() -> Iterator[dict[int, Tensor]]:
    """Read every layer of the pass inside, not only the reference layer: layer -> ``(B, N)``, float32.

    For choosing a reference layer. What the pass itself yields is the same with and without.
    """
    by_layer: dict[int, Tensor] = {}
    token = _RECORD.set(by_layer)
    try:
        yield by_layer
    finally:
        _RECORD.reset(token)


@dataclass(kw_only=True, slots=True, eq=False)
class AttentionProbe:
    """Filled by one forward pass.

    Attributes:
        layer: the reference layer.
        num_queries: the last so many positions of the sequence are read (the text after the video).
        is_query_BQ: which of those are real, not padding.
        visual: key positions of the visual tokens: a slice, or ``(N,)`` indices where text stands between them.
        reduce: over heads and query positions.
        scores_BN: the result, float32; None until the layer has run.
    """

    layer: int
    num_queries: int
    is_query_BQ: Tensor
    visual: slice | Tensor
    reduce: Literal["max", "mean"]
    scores_BN: Tensor | None = field(default=None)

    def read(self, query_BAQD: Tensor, key_BGTD: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
        """``(B, N)`` from one layer's rotated queries and keys."""
        weights = attention_rows(query_BAQD[:, :, -self.num_queries :], key_BGTD, mask, scaling)
        device = weights.device  # with several GPUs the layer need not lie where the inputs do
        visual_BAQN = weights[..., self.visual if isinstance(self.visual, slice) else self.visual.to(device)]
        is_query_BQ = self.is_query_BQ.to(device)
        is_query = is_query_BQ[:, None, :, None]
        if self.reduce == "max":
            return visual_BAQN.masked_fill(~is_query, 0.0).amax(dim=(1, 2))
        total = (visual_BAQN * is_query).sum(dim=(1, 2))
        return total / (is_query_BQ.sum(dim=1, keepdim=True) * query_BAQD.shape[1])


def attention_rows(query_BAQD: Tensor, key_BGTD: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    """``(B, A, Q, T)`` float32 softmax over all keys, for the last Q positions only.

    Args:
        query_BAQD: rotated queries of the last Q positions.
        key_BGTD: rotated keys of all positions; G divides A.
        mask: ``(B, 1, Q', T)``, Q' >= Q, boolean (True = attend) or additive; None means causal.
        scaling: factor on q · k.
    """
    num_queries, num_keys = query_BAQD.shape[2], key_BGTD.shape[2]
    by_key_head = query_BAQD.float().reshape(*key_BGTD.shape[:2], -1, query_BAQD.shape[3])
    products = by_key_head @ key_BGTD.float().transpose(2, 3) * scaling
    logits = products.view(*query_BAQD.shape[:3], num_keys)
    if mask is None:
        last = torch.arange(num_keys - num_queries, num_keys, device=logits.device)
        allowed = torch.arange(num_keys, device=logits.device)[None, :] <= last[:, None]
        logits = logits.masked_fill(~allowed, float("-inf"))
    elif mask.dtype == torch.bool:
        logits = logits.masked_fill(~mask[:, :, -num_queries:, :num_keys], float("-inf"))
    else:
        logits = logits + mask[:, :, -num_queries:, :num_keys].float()
    return logits.softmax(dim=-1).nan_to_num(0.0)  # a padding row may see nothing


def probed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    attention_probe: AttentionProbe | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """SDPA, and the probe's rows where ``attention_probe`` reaches this layer as a keyword of the forward call."""
    record, layer = _RECORD.get(), cast(int, module.layer_idx)
    if attention_probe is not None and (record is not None or layer == attention_probe.layer):
        scores_BN = attention_probe.read(query, key, attention_mask, scaling)
        if record is not None:
            record[layer] = scores_BN
        if layer == attention_probe.layer:
            attention_probe.scores_BN = scores_BN
    output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    return output, None


AttentionInterface.register(PROBED_ATTENTION, probed_attention)
AttentionMaskInterface.register(PROBED_ATTENTION, sdpa_mask)
