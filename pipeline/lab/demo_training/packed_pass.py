"""Runs the language model over packed training clips.

Shape suffixes:
- B = clips, N = visual tokens of a clip, S = packed sequence, A = positions with a target
- V = vocabulary, D = hidden size
"""

import torch
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from pipeline.lab.demo_training.batches import PackedBatch


def answer_logits(model: Qwen2_5_VLForConditionalGeneration, batch: PackedBatch, visual_BND: Tensor) -> Tensor:
    """``(A, V)`` logits at the target positions of a packed batch."""
    return run_packed(model, batch, visual_BND)[0]


def run_packed(
    model: Qwen2_5_VLForConditionalGeneration, batch: PackedBatch, visual_BND: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """``(A, V)`` logits at the target positions, and the hidden states ``(B, S, D)`` before and after each layer."""
    embeddings = model.get_input_embeddings()(batch.input_ids_BS)
    start, stop = batch.video_start, batch.video_start + visual_BND.shape[1]
    embeddings = torch.cat([embeddings[:, :start], visual_BND, embeddings[:, stop:]], dim=1)
    output = model.model.language_model(
        inputs_embeds=embeddings,
        position_ids=batch.position_ids_3BS,
        attention_mask=batch.mask_B1SS,
        use_cache=False,
        output_hidden_states=True,
    )
    logits: Tensor = model.lm_head(output.last_hidden_state[batch.target_row_A, batch.target_column_A])
    return logits, output.hidden_states


def answer_loss(batch: PackedBatch, logits_AV: Tensor) -> Tensor:
    """Cross-entropy with the wanted distributions, weighted."""
    losses_A = -(batch.target_AV * logits_AV.log_softmax(-1)).sum(-1)
    return (losses_A * batch.weight_A).sum() / batch.weight_A.sum()


def right_shares(batch: PackedBatch, logits_AV: Tensor, color_ids: Tensor) -> tuple[float, float]:
    """Of the answers that have one right word: share of right colour words, and of right letters; NaN where none."""
    best_A, wanted_A = logits_AV.argmax(-1), batch.target_AV.argmax(-1)
    sure_A = (batch.target_AV.amax(-1) == 1) & (batch.weight_A == 1)
    is_color_A = torch.isin(wanted_A, color_ids)
    words, letters = ((best_A == wanted_A)[sure_A & part].float().mean().item() for part in (is_color_A, ~is_color_A))
    return words, letters
