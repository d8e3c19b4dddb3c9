"""Fresh variants of training patches: mirrored, a little moved and scaled, brighter or darker. Labels stay true.

Shape suffixes:
- T = temporal patches, F = frames per patch (2), H, W = 56, C = 3
"""

import numpy as np
import torch
from torch import Tensor, nn

_MOVE = 0.1  # of half the picture: 2.8 pixels
_SCALE = 0.1


def jitter_patches(rng: np.random.Generator, frames_TFHWC: Tensor) -> Tensor:
    """uint8 in, uint8 out; each patch gets its own place, size, brightness and contrast, the same in its two frames."""
    count, num_frames, height, width, channels = frames_TFHWC.shape
    pictures = frames_TFHWC.permute(0, 1, 4, 2, 3).reshape(count, num_frames * channels, height, width).float()
    scale = torch.from_numpy(rng.uniform(1 - _SCALE, 1 + _SCALE, count)).float()
    move = torch.from_numpy(rng.uniform(-_MOVE, _MOVE, (count, 2))).float()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = move
    grid = nn.functional.affine_grid(theta, list(pictures.shape), align_corners=False)
    pictures = nn.functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    gain = torch.from_numpy(rng.uniform(0.85, 1.15, count)).float()
    shift = torch.from_numpy(rng.uniform(-18, 18, count)).float()
    pictures = (pictures * gain[:, None, None, None] + shift[:, None, None, None]).clamp(0, 255).to(torch.uint8)
    return pictures.view(count, num_frames, channels, height, width).permute(0, 1, 3, 4, 2)
