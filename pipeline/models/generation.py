"""Greedy responses of several questions over one shared prefix, with the entropy of every response token.

Shape suffixes:
- B = questions, S = padded suffix, P = prefix, V = vocabulary
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.method.entropy import token_entropies


@dataclass(frozen=True, kw_only=True, slots=True)
class GreedyResponse:
    """Token ids with their entropies in nats (the end token counts), and the first token's distribution."""

    token_ids: tuple[int, ...]
    entropies: tuple[float, ...]
    first_logits_V: Tensor


def pad_suffixes(suffixes: Sequence[Sequence[int]], *, pad_id: int) -> tuple[Tensor, Tensor]:
    """Left-pad to one length, so that all responses start in one column: ids and real-token mask, both ``(B, S)``."""
    length = max(len(suffix) for suffix in suffixes)
    ids = torch.tensor([[pad_id] * (length - len(suffix)) + list(suffix) for suffix in suffixes])
    is_real = torch.tensor([[False] * (length - len(suffix)) + [True] * len(suffix) for suffix in suffixes])
    return ids, is_real


def respond_greedily(
    model: Any,
    first_logits_BV: Tensor,
    *,
    cache: Any,
    attention_mask_BT: Tensor,
    next_position_B: Tensor,
    max_tokens: Sequence[int],
    end_ids: frozenset[int],
    rope_axes: int = 3,
) -> list[GreedyResponse]:
    """Continue from the logits after the suffix until every row has ended or used its tokens.

    Args:
        model: language model with head; called with explicit positions, never with stale internal offsets.
        first_logits_BV: logits at the last suffix token.
        cache: keys and values of prefix and suffix, extended in place.
        attention_mask_BT: ``(B, P + S)`` real tokens so far.
        next_position_B: position of the first response token.
        max_tokens: per row.
        end_ids: tokens that end a response.
        rope_axes: leading axis of the model's ``position_ids``; 1 for plain ``(B, 1)`` positions.
    """
    ids: list[list[int]] = [[] for _ in max_tokens]
    entropies: list[list[float]] = [[] for _ in max_tokens]
    logits_BV = first_logits_BV
    for step in range(max(max_tokens)):
        chosen_B = logits_BV.argmax(dim=-1)
        entropy_B = token_entropies(logits_BV).tolist()
        for row, token in enumerate(chosen_B.tolist()):
            if _is_open(ids[row], max_tokens[row], end_ids):
                ids[row].append(token)
                entropies[row].append(entropy_B[row])
        if not any(_is_open(ids[row], max_tokens[row], end_ids) for row in range(len(max_tokens))):
            break
        attention_mask_BT = torch.cat([attention_mask_BT, attention_mask_BT.new_ones(len(max_tokens), 1)], dim=1)
        position_B1 = (next_position_B + step)[:, None]
        logits_BV = model(
            input_ids=chosen_B[:, None],
            position_ids=position_B1 if rope_axes == 1 else position_B1.expand(rope_axes, -1, -1),
            attention_mask=attention_mask_BT,
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
    return [
        GreedyResponse(token_ids=tuple(ids[row]), entropies=tuple(entropies[row]), first_logits_V=first_logits_BV[row])
        for row in range(len(max_tokens))
    ]


def end_ids(model: Any) -> frozenset[int]:
    """Tokens that end a response, by the checkpoint's configuration."""
    ids: set[int] = set()
    for config in (model.generation_config, model.config.text_config):
        value = getattr(config, "eos_token_id", None)
        ids.update(value if isinstance(value, list) else [] if value is None else [value])
    return frozenset(ids)


def _is_open(ids: list[int], max_tokens: int, end_ids: frozenset[int]) -> bool:
    return len(ids) < max_tokens and not (ids and ids[-1] in end_ids)
