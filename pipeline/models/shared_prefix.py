"""Questions over one shared prefix: the cache of everything before them, copied into one batch row per question.

Shape suffixes:
- B = questions, S = padded suffix, T = prefix and suffix, V = vocabulary
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import DynamicCache

from pipeline.config import ScoringConfig
from pipeline.models.generation import pad_suffixes, respond_greedily
from pipeline.models.interface import QuestionPrompt, Response
from pipeline.models.responses import build_probe, to_responses


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SharedPrefix:
    """Keys and values of everything before the question; never changed after prefill.

    Attributes:
        visual: key positions of the visual tokens: a slice, or indices where text stands between them.
        length: tokens of the prefix; ``next_position`` is the rotary position after them.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    visual: slice | Tensor
    length: int
    next_position: int


def score_questions(
    model: Any,
    tokenizer: Any,
    prefix: SharedPrefix,
    prompts: Sequence[QuestionPrompt],
    config: ScoringConfig,
    *,
    end_ids: frozenset[int],
    rope_axes: int = 3,
) -> list[Response]:
    """Answer each question about one prefilled group, in one batch.

    Args:
        model: language model with head; called with explicit positions.
        tokenizer: decodes the responses.
        prefix: of the group.
        prompts: one per question.
        config: which attention is read.
        end_ids: tokens that end a response.
        rope_axes: leading axis of the model's ``position_ids``; 1 for plain ``(B, S)`` positions.
    """
    ids_BS, is_real_BS = (t.to(model.device) for t in pad_suffixes([p.suffix_ids for p in prompts], pad_id=0))
    cache = DynamicCache(config=model.config)
    for index, (keys, values) in enumerate(prefix.layers):
        cache.update(keys.expand(len(prompts), -1, -1, -1), values.expand(len(prompts), -1, -1, -1), index)
    mask_BT = is_real_BS.new_ones(len(prompts), prefix.length + ids_BS.shape[1]).long()
    mask_BT[:, prefix.length :] = is_real_BS
    offsets_BS = (is_real_BS.long().cumsum(dim=1) - 1).clamp(min=0)
    position_BS = prefix.next_position + offsets_BS
    probe = build_probe(is_real_BS, prefix.visual, config)
    logits_BV = model(
        input_ids=ids_BS,
        position_ids=position_BS if rope_axes == 1 else position_BS.expand(rope_axes, -1, -1),
        attention_mask=mask_BT,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
        attention_probe=probe,
    ).logits[:, -1]
    responses = respond_greedily(
        model,
        logits_BV,
        cache=cache,
        attention_mask_BT=mask_BT,
        next_position_B=prefix.next_position + is_real_BS.sum(dim=1),
        max_tokens=[prompt.max_tokens for prompt in prompts],
        end_ids=end_ids,
        rope_axes=rope_axes,
    )
    return to_responses(tokenizer, responses, prompts, probe)
