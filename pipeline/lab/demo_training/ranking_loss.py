"""Teaches the layer that ranks tokens: text that asks about an object shall look at all tokens that decide it alike.

The cross-entropy pulls every such token up, also of an appearance that another one outshines: what a small budget
keeps of a group then depends on when an object is seen, not on how bright it is. In the second layer the text knows
what is asked: of a last value only the last appearance counts.

Shape suffixes:
- B = clips, Q = text positions, A = attention heads, N = visual tokens of a clip, S = packed sequence, D = hidden size
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb

from pipeline.lab.demo_training.batches import PackedBatch
from pipeline.lab.demo_training.examples import Example
from pipeline.models.attention_probe import attention_rows

RANKING_LAYER = 1  # the reference layer of the demo preset: the first one whose text knows what is asked
_SMALLEST_WEIGHT = 1e-12


def ranking_loss(
    model: Qwen2_5_VLForConditionalGeneration,
    batch: PackedBatch,
    hidden: Sequence[Tensor],
    examples: Sequence[Example],
) -> Tensor:
    """Mean over the questions whose object is shown; 0 where there is none.

    Args:
        model: the demo model.
        batch: the packed clips.
        hidden: ``(B, S, D)`` what enters the first layer, the second one, and so on.
        examples: the clips, for what each token shows and each question asks.
    """
    num_visual = len(examples[0].token_index_N)
    start, stop = batch.video_start, batch.video_start + num_visual
    weights_BAQN = _text_attention(model, batch, hidden[RANKING_LAYER], first_text=stop)[..., start:stop]
    scores_BQN = weights_BAQN.amax(dim=1).clamp_min(_SMALLEST_WEIGHT).log()
    losses = []
    for row, example in enumerate(examples):
        for number, evidence_N in enumerate(example.evidence_QN, start=1):
            shows_N = torch.from_numpy(evidence_N)
            if not shows_N.any():
                continue
            first, last = _suffix_range(example, number)
            ranks_N = scores_BQN[row, first:last].amax(dim=0).log_softmax(dim=0)
            losses.append(-ranks_N[shows_N].mean() - torch.log(shows_N.sum()))
    return torch.stack(losses).mean() if losses else scores_BQN.new_zeros(())


def _suffix_range(example: Example, number: int) -> tuple[int, int]:
    """Text positions of one question without its answer: what the run reads attention of."""
    inside = np.flatnonzero(example.text_segment == number)
    ends = [target.position for target in example.targets if inside[0] <= target.position <= inside[-1]]
    return int(inside[0]), min(ends) + 1


def _text_attention(
    model: Qwen2_5_VLForConditionalGeneration, batch: PackedBatch, hidden_BSD: Tensor, *, first_text: int
) -> Tensor:
    """``(B, A, Q, S)`` attention of the text behind the video, in the layer that ranks."""
    language = model.model.language_model
    layer = language.layers[RANKING_LAYER]
    attention = layer.self_attn
    hidden_BSD = layer.input_layernorm(hidden_BSD)
    query, key = (
        project(hidden_BSD).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj)
    )
    query, key = apply_rotary_pos_emb(query, key, *language.rotary_emb(hidden_BSD, batch.position_ids_3BS))
    return attention_rows(query, key, batch.mask_B1SS, attention.scaling, start=first_text, stop=hidden_BSD.shape[1])
