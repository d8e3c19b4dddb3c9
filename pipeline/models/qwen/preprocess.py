"""From uint8 frames to Qwen's flattened patches, in torch on the frames' device; equals the family's own processor.

Shape suffixes:
- F = frames, T = temporal patches (F / 2), H, W = pixels, C = 3 colours
- P = patches of all frames (T * H/14 * W/14), X = C * 2 * 14 * 14 = 1176; 16 in place of 14 for Qwen3-VL
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from pipeline.models.devices.transfer import upload

_RGB_MEAN = (0.48145466, 0.4578275, 0.40821073)
_RGB_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchGeometry:
    """Sizes that define the patch layout, read from the checkpoint's vision config, and the family's colour scale.

    Attributes:
        mean: of red, green and blue, as shares of 255; ``std`` likewise.
    """

    patch_size: int = 14
    merge_size: int = 2
    temporal_patch_size: int = 2
    mean: tuple[float, float, float] = _RGB_MEAN
    std: tuple[float, float, float] = _RGB_STD

    @property
    def factor(self) -> int:
        """Frame sides are multiples of this many pixels."""
        return self.patch_size * self.merge_size


def fit_size(height: int, width: int, *, geometry: PatchGeometry, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Frame size the model sees: sides multiples of the factor, area in bounds, aspect ratio kept (``smart_resize``).

    Raises:
        ValueError: If one side is more than 200 times the other, as in the family's processor.
    """
    if min(height, width) < 1 or max(height, width) / min(height, width) > 200:
        raise ValueError(f"frame sides must differ by a factor of at most 200, got {height} x {width} pixels")
    factor = geometry.factor
    fitted = round(height / factor) * factor, round(width / factor) * factor
    if fitted[0] * fitted[1] > max_pixels:
        scale = math.sqrt(height * width / max_pixels)
        return (
            max(factor, math.floor(height / scale / factor) * factor),
            max(factor, math.floor(width / scale / factor) * factor),
        )
    if fitted[0] * fitted[1] < min_pixels:
        scale = math.sqrt(min_pixels / (height * width))
        return math.ceil(height * scale / factor) * factor, math.ceil(width * scale / factor) * factor
    return fitted


def resize_frames(frames_FHWC: Tensor, *, height: int, width: int) -> Tensor:
    """Resize ``(F, H, W, 3)`` uint8 frames, bicubic with antialiasing, as the family's processors do.

    Width first, rounded and clipped to uint8, then height: torchvision's order, and Pillow's before 13, which
    now takes the cheaper one. The clipping between the passes shows at hard edges only.
    """
    frames_FCHW = frames_FHWC.permute(0, 3, 1, 2)
    for size in ((frames_FHWC.shape[1], width), (height, width)):
        if tuple(frames_FCHW.shape[2:]) != size:
            resized = nn.functional.interpolate(frames_FCHW.float(), size, mode="bicubic", antialias=True)
            frames_FCHW = (resized + 0.5).floor().clamp(0, 255).to(torch.uint8)  # halves go up, as in PIL
    return frames_FCHW.permute(0, 2, 3, 1)


@lru_cache(maxsize=16)
def color_scale(shares: tuple[float, float, float], device: torch.device) -> Tensor:
    """``(3,)`` float32 values of 0 to 255 from shares of 255; kept on the device, so that none waits for it."""
    return upload(torch.tensor(shares).mul(255), device)


def flatten_patches(frames_FHWC: Tensor, *, geometry: PatchGeometry) -> Tensor:
    """Normalise and cut ``(F, H, W, 3)`` uint8 frames, whole temporal patches, into ``(P, X)`` float32 rows.

    Rows run over temporal patch, merged row, merged column, row in merge, column in merge, so that four rows in a
    run become one visual token.

    Raises:
        ValueError: If the frames are not whole temporal patches, or a side is no multiple of the factor.
    """
    frames, height, width, colors = frames_FHWC.shape
    patch, merge, temporal = geometry.patch_size, geometry.merge_size, geometry.temporal_patch_size
    if frames % temporal or height % geometry.factor or width % geometry.factor:
        raise ValueError(
            f"frames must come in whole patches of {temporal} frames with sides of {geometry.factor} pixels, got "
            f"{frames} frames of {height} x {width}; repeat the last frame, and resize to fit_size first"
        )
    mean, std = (color_scale(values, frames_FHWC.device) for values in (geometry.mean, geometry.std))
    pixels = (frames_FHWC.float() - mean) / std
    grid_h, grid_w = height // patch // merge, width // patch // merge
    blocks = pixels.view(frames // temporal, temporal, grid_h, merge, patch, grid_w, merge, patch, colors)
    rows = blocks.permute(0, 2, 5, 3, 6, 8, 1, 4, 7)
    return rows.reshape(-1, colors * temporal * patch * patch)
