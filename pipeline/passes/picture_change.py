"""How much each token's part of the picture changed since the sampled frame before, from decoded pixels.

Shape suffixes: F = frames of a group, H W 3 = pixels, R C = token rows and columns, N = tokens of the group
"""

import torch
from torch import Tensor, nn

from pipeline.models.interface import FrameGeometry

_LUMA = (0.299, 0.587, 0.114)  # BT.601


def luma_change(frames_FHW3: Tensor, geometry: FrameGeometry, *, frames_per_patch: int) -> Tensor:
    """``(N,)`` float32, 0 to 255: mean absolute difference of luma over a token's cell, mean over its patch's frames.

    The first frame of a group has none before it, so its patch is judged by its other frames; where it is the only one
    of its patch, by the change to the frame after it.
    """
    luma_FHW = frames_FHW3.float() @ torch.tensor(_LUMA, device=frames_FHW3.device)
    if len(luma_FHW) == 1:
        return torch.zeros(geometry.tokens_per_patch, device=luma_FHW.device)
    size = (geometry.token_rows, geometry.token_columns)
    # pooled: cells' borders fall between pixels where frames are not as large as the model sees them
    change_FRC = nn.functional.adaptive_avg_pool2d((luma_FHW[1:] - luma_FHW[:-1]).abs()[:, None], size)[:, 0]
    if frames_per_patch == 1:
        return torch.cat([change_FRC[:1], change_FRC]).reshape(-1)
    first_RC = change_FRC[: frames_per_patch - 1].mean(dim=0)
    others_FRC = change_FRC[frames_per_patch - 1 :]
    rest_PRC = others_FRC.view(-1, frames_per_patch, *size).mean(dim=1)
    return torch.cat([first_RC[None], rest_PRC]).reshape(-1)
