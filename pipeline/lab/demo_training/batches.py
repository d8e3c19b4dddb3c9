"""Packs training examples into tensors: one prefix and clip, then all questions side by side under a block mask.

Shape suffixes:
- B = clips, N = visual tokens of a clip, S = packed sequence
- A = positions with a target, V = vocabulary, D = hidden size
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.lab.demo_training.examples import Example
from pipeline.lab.demo_training.patches import TOKENS_PER_SIDE

STEP_PER_PATCH = 2  # temporal positions per patch: tokens_per_second 2 x 1 s per patch at 2 sampled frames per second


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedBatch:
    """Everything the language model needs but the visual features."""

    input_ids_BS: Tensor
    position_ids_3BS: Tensor
    mask_B1SS: Tensor
    video_start: int
    target_row_A: Tensor
    target_column_A: Tensor
    target_AV: Tensor
    weight_A: Tensor


def pack_examples(
    examples: list[Example],
    *,
    prefix_ids: tuple[int, ...],
    video_token_id: int,
    pad_id: int,
    vocab_size: int,
    grid: tuple[int, int] = (TOKENS_PER_SIDE, TOKENS_PER_SIDE),
) -> PackedBatch:
    """All examples must keep the same number of visual tokens of patches of ``grid`` rows and columns."""
    num_prefix, num_tokens = len(prefix_ids), len(examples[0].token_index_N)
    start = num_prefix + num_tokens
    length = start + max(len(example.text_ids) for example in examples)
    ids = np.full((len(examples), length), pad_id)
    positions = np.zeros((3, len(examples), length), dtype=np.int64)
    segment = np.full((len(examples), length), -1)
    ids[:, :num_prefix], ids[:, num_prefix:start], segment[:, :start] = prefix_ids, video_token_id, 0
    positions[:, :, :num_prefix] = np.arange(num_prefix)
    for row, example in enumerate(examples):
        end = start + len(example.text_ids)
        visual = visual_positions(example.temporal_N * STEP_PER_PATCH, example.token_index_N, grid=grid) + num_prefix
        positions[:, row, num_prefix:start] = visual
        ids[row, start:end] = example.text_ids
        segment[row, start:end] = example.text_segment
        positions[:, row, start:end] = visual.max() + 1 + example.text_offset
    return PackedBatch(
        input_ids_BS=torch.from_numpy(ids),
        position_ids_3BS=torch.from_numpy(positions),
        mask_B1SS=_block_mask(torch.from_numpy(segment)),
        video_start=num_prefix,
        **_targets(examples, start=start, vocab_size=vocab_size),
    )


def visual_positions(
    temporal_N: np.ndarray, token_index_N: np.ndarray, *, grid: tuple[int, int] = (TOKENS_PER_SIDE, TOKENS_PER_SIDE)
) -> np.ndarray:
    """``(3, N)`` temporal, row and column positions of ``grid`` rows and columns of tokens per patch."""
    rows, columns = grid
    within = token_index_N % (rows * columns)
    return np.stack([temporal_N, within // columns, within % columns])


def _block_mask(segment_BS: Tensor) -> Tensor:
    """Causal; a question sees the shared part (segment 0) and itself, never another question."""
    same = segment_BS[:, :, None] == segment_BS[:, None, :]
    shared = (segment_BS == 0)[:, None, :]
    causal = torch.ones(segment_BS.shape[1], segment_BS.shape[1], dtype=torch.bool).tril()
    return ((same | shared) & causal)[:, None]


def _targets(examples: list[Example], *, start: int, vocab_size: int) -> dict[str, Tensor]:
    flat = [(row, target) for row, example in enumerate(examples) for target in example.targets]
    target_AV = torch.zeros(len(flat), vocab_size)
    for index, (_, target) in enumerate(flat):
        target_AV[index, list(target.token_ids)] = 1.0 / len(target.token_ids)
    return {
        "target_row_A": torch.tensor([row for row, _ in flat]),
        "target_column_A": torch.tensor([start + target.position for _, target in flat]),
        "target_AV": target_AV,
        "weight_A": torch.tensor([target.weight for _, target in flat]),
    }
