"""Visual tokens of training pictures, as the vision tower makes them.

Shape suffixes: T = temporal patches, D = hidden size
"""

import numpy as np
import torch
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from pipeline.lab.demo_training.augment import jitter_patches
from pipeline.lab.demo_training.patches import TOKENS_PER_SIDE, PatchPool
from pipeline.models.qwen.preprocess import PatchGeometry, flatten_patches

GRID_SIDE = 4  # patches of 14 pixels per frame side


def encode_patches(
    model: Qwen2_5_VLForConditionalGeneration,
    pool: PatchPool,
    patches: np.ndarray,
    *,
    rng: np.random.Generator,
    augments: bool,
) -> Tensor:
    """``(T,)`` pool indices -> ``(T * 4, D)`` visual tokens; tokens of mirrored pictures are mirrored back."""
    frames_TFHWC = torch.from_numpy(pool.frames_NFHW3[patches])
    is_mirrored = torch.from_numpy(rng.random(len(patches)) < (0.5 if augments else 0.0))[:, None, None, None]
    if augments:
        frames_TFHWC = torch.where(is_mirrored[..., None], frames_TFHWC.flip(3), frames_TFHWC)
        frames_TFHWC = jitter_patches(rng, frames_TFHWC)
    pixels = flatten_patches(frames_TFHWC.flatten(0, 1), geometry=PatchGeometry())
    grid = torch.tensor([[len(patches), GRID_SIDE, GRID_SIDE]])
    features: Tensor = model.model.visual(pixels, grid_thw=grid).pooler_output
    tokens = features.view(len(patches), TOKENS_PER_SIDE, TOKENS_PER_SIDE, -1)
    return torch.where(is_mirrored, tokens.flip(2), tokens).flatten(0, 2)
