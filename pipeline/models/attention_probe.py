"""Reads the attention of text to visual tokens at one layer, beside the fast kernel and never as an n × n matrix.

Shape suffixes:
- B = questions, A = attention heads, G = key heads, Q = query positions, T = all keys, N = visual tokens, D = head size
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

PROBED_ATTENTION = "adapttoken_probed"

_RECORD: ContextVar[dict[int, Tensor] | None] = ContextVar("attention_by_layer", default=None)


@contextmanager
def record_layers() -> Iterator[dict[int, Tensor]]:
    """Read every layer of the passes inside, not only the reference layer: layer -> ``(B, N)``, float32.

    Of several passes over the same tokens, as of micro-batches, rows follow each other.

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
    """Filled by one forward pass over one row of tokens, in which several questions may stand one after the other.

    Attributes:
        layer: the reference layer.
        segments: per question, the half-open range of its query positions among those of the pass.
        visual: key positions of the visual tokens: a slice, or ``(N,)`` indices where text stands between them.
        reduce: over heads and query positions.
        scores_BN: the result, float32; None until the layer has run.
    """

    layer: int
    segments: Sequence[tuple[int, int]]
    visual: slice | Tensor
    reduce: Literal["max", "mean"]
    scores_BN: Tensor | None = field(default=None)

    def read(self, query_1AQD: Tensor, key_1GTD: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
        """``(B, N)`` from one layer's rotated queries and keys; one question at a time, which bounds the memory."""
        device = query_1AQD.device  # with several GPUs the layer need not lie where the inputs do
        visual = self.visual if isinstance(self.visual, slice) else self.visual.to(device)
        scores = []
        for start, stop in self.segments:
            weights_AQT = attention_rows(query_1AQD, key_1GTD, mask, scaling, start=start, stop=stop)[0]
            visual_AQN = weights_AQT[..., visual]
            scores.append(visual_AQN.amax(dim=(0, 1)) if self.reduce == "max" else visual_AQN.mean(dim=(0, 1)))
        return torch.stack(scores)


def attention_rows(
    query_BAQD: Tensor, key_BGTD: Tensor, mask: Tensor | None, scaling: float, *, start: int, stop: int
) -> Tensor:
    """``(B, A, stop - start, T)`` float32 softmax over all keys, for some of the query positions.

    Args:
        query_BAQD: rotated queries of a pass.
        key_BGTD: rotated keys of all positions, the last Q of which are the pass's own; G divides A.
        mask: ``(B, 1, Q, T)``, boolean (True = attend) or additive; None means causal.
        scaling: factor on q · k.
        start: first query position that is read.
        stop: the one after the last.
    """
    rows_BAQD = query_BAQD[:, :, start:stop].float()
    by_key_head = rows_BAQD.reshape(*key_BGTD.shape[:2], -1, rows_BAQD.shape[3])
    products = by_key_head @ key_BGTD.float().transpose(2, 3) * scaling
    logits = products.view(*rows_BAQD.shape[:3], key_BGTD.shape[2])
    if mask is None:
        place = torch.arange(key_BGTD.shape[2], device=logits.device)
        own = place[place.shape[0] - query_BAQD.shape[2] :][start:stop]
        logits = logits.masked_fill(place[None, :] > own[:, None], float("-inf"))
    elif mask.dtype == torch.bool:
        logits = logits.masked_fill(~mask[:, :, start:stop], float("-inf"))
    else:
        logits = logits + mask[:, :, start:stop].float()
    return logits.softmax(dim=-1)


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
            record[layer] = torch.cat([record[layer], scores_BN]) if layer in record else scores_BN
        if layer == attention_probe.layer:
            attention_probe.scores_BN = scores_BN
    output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    return output, None


# No mask function is registered with it: transformers then builds no mask, which would be read back from the device.
AttentionInterface.register(PROBED_ATTENTION, probed_attention)
