"""Layers of a vision tower in the shape that GPU kernels like; the numbers they compute are the same.

- A width that is no multiple of 8 elements (3,420 in Qwen2.5-VL's vision MLP) keeps half-precision matrix products off
  their fast kernels. Zero rows and columns change nothing: ``silu(0) * 0`` is 0.
- A convolution whose stride is its kernel is one matrix product; the three-dimensional one in half precision has at
  times no fast kernel at all.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

ALIGNMENT = 8  # elements of 2 bytes: the 16 bytes that tensor cores load at once


def fit_layers_to_gpu(model: Any) -> None:
    """Change the vision tower of a loaded checkpoint in place, where it is a Qwen one on a GPU in half precision."""
    tower = getattr(model.model, "visual", None)
    if tower is not None and model.device.type == "cuda" and model.dtype.itemsize == 2:
        fit_tower(tower)


def fit_tower(tower: Any) -> None:
    """The same, whatever the device."""
    for module in tower.modules():
        linears = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
        if all(type(linear) is nn.Linear and linear.weight.is_floating_point() for linear in linears):  # none packed
            _pad_gated_mlp(module)
    tower.patch_embed.proj = PatchProjection(tower.patch_embed.proj)


class PatchProjection(nn.Module):
    """A convolution over whole patches, as a matrix product.

    Attributes:
        weight: ``(features, colours * frames * height * width)``.
    """

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        assert convolution.stride == convolution.kernel_size, "patches must not overlap"
        self.weight = nn.Parameter(convolution.weight.detach().flatten(1), requires_grad=False)
        self.bias = convolution.bias

    def forward(self, pixels: Tensor) -> Tensor:
        """``(patches, colours, frames, height, width)`` -> ``(patches, features)``."""
        return functional.linear(pixels.flatten(1), self.weight, self.bias)


def _pad_gated_mlp(mlp: Any) -> None:
    extra = -mlp.down_proj.in_features % ALIGNMENT
    if not extra:
        return
    for linear in (mlp.gate_proj, mlp.up_proj):
        linear.weight = _frozen(functional.pad(linear.weight, (0, 0, 0, extra)))
        linear.out_features += extra
        if linear.bias is not None:
            linear.bias = _frozen(functional.pad(linear.bias, (0, extra)))
    mlp.down_proj.weight = _frozen(functional.pad(mlp.down_proj.weight, (0, extra)))
    mlp.down_proj.in_features += extra


def _frozen(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach(), requires_grad=False)
