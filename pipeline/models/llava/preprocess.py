"""From resized uint8 frames to LLaVA-OneVision's pixel values, on the frames' device.

The published checkpoints take the processor of their SigLIP tower: mean and deviation of a half. The stock video class
falls back to CLIP's numbers where a checkpoint does not say otherwise; no preprocessor file is read here.

Shape suffixes: F = frames, C = 3 colours, H, W = pixels
"""

from torch import Tensor

from pipeline.models.qwen.preprocess import color_scale

_HALF = (0.5, 0.5, 0.5)


def normalize_frames(frames_FHWC: Tensor) -> Tensor:
    """``(F, H, W, 3)`` uint8 -> ``(F, 3, H, W)`` float32 pixel values of -1 to 1."""
    half = color_scale(_HALF, frames_FHWC.device)
    return ((frames_FHWC.float() - half) / half).permute(0, 3, 1, 2).contiguous()
