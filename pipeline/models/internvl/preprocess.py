"""From resized uint8 frames to InternVL's pixel values, on the frames' device.

The family was trained on 448 x 448 frames, normalised by ImageNet's mean and deviation, and so its published image
processors are configured. The stock video class falls back to 384 x 384 and CLIP's numbers where a checkpoint does not
say otherwise, and InternVL3.5 ships those by mistake (OpenGVLab/InternVL#1222): neither is read here.

Shape suffixes: F = frames, C = 3 colours, H, W = pixels
"""

from torch import Tensor

from pipeline.models.qwen.preprocess import color_scale

_RGB_MEAN = (0.485, 0.456, 0.406)
_RGB_STD = (0.229, 0.224, 0.225)


def normalize_frames(frames_FHWC: Tensor) -> Tensor:
    """``(F, H, W, 3)`` uint8 -> ``(F, 3, H, W)`` float32 pixel values."""
    mean, std = (color_scale(values, frames_FHWC.device) for values in (_RGB_MEAN, _RGB_STD))
    pixels_FHWC = (frames_FHWC.float() - mean) / std
    return pixels_FHWC.permute(0, 3, 1, 2).contiguous()
