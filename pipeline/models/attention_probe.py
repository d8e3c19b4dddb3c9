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

from pipeline.models.key_parts import KeyParts

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

    def read_merged(self, query_1AQD: Tensor, prefix_1GPD: Tensor, lse_1AQ: Tensor, scaling: float) -> Tensor:
        """The same from the prefix's keys alone and the log-sum-exp over all keys of each row of the pass."""
        device = query_1AQD.device
        visual = self.visual if isinstance(self.visual, slice) else self.visual.to(device)
        key_GND = prefix_1GPD[0][:, visual].float()
        scores = []
        for start, stop in self.segments:
            rows = query_1AQD[0, :, start:stop].float().reshape(key_GND.shape[0], -1, key_GND.shape[2])
            logits = (rows @ key_GND.transpose(1, 2)).mul_(scaling)
            logits -= lse_1AQ[0, :, start:stop].reshape(*rows.shape[:2], 1)
            if self.reduce == "max":  # exp keeps the order: one pass over the large matrix less
                scores.append(logits.amax(dim=(0, 1)).exp())
            else:
                scores.append(logits.exp_().mean(dim=(0, 1)))
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
    key_parts: KeyParts | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """SDPA, and the probe's rows where ``attention_probe`` reaches this layer as a keyword of the forward call.

    ``key_parts`` attends itself, and says what its rows add up to.
    """
    layer = cast(int, module.layer_idx)
    if key_parts is not None:
        whole = key_parts.attend(layer, query, key, value, scaling=scaling)
        if attention_probe is not None and _is_read(attention_probe, layer):
            prefix = key_parts.prefix_keys(layer)
            _note(attention_probe, layer, attention_probe.read_merged(query, prefix, whole.lse, scaling))
        return whole.out.transpose(1, 2), None
    if attention_probe is not None and _is_read(attention_probe, layer):
        _note(attention_probe, layer, attention_probe.read(query, key, attention_mask, scaling))
    output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    return output, None


def _is_read(probe: AttentionProbe, layer: int) -> bool:
    return _RECORD.get() is not None or layer == probe.layer


def _note(probe: AttentionProbe, layer: int, scores_BN: Tensor) -> None:
    record = _RECORD.get()
    if record is not None:
        record[layer] = torch.cat([record[layer], scores_BN]) if layer in record else scores_BN
    if layer == probe.layer:
        probe.scores_BN = scores_BN


# No mask function is registered with it: transformers then builds no mask, which would be read back from the device.
AttentionInterface.register(PROBED_ATTENTION, probed_attention)
