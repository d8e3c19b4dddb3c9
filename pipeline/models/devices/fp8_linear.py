"""Linear layers in 8 bits: weights once while loading, one scale per output channel; inputs as they come, one per row.

A scale makes the largest magnitude of its channel or row 448, the largest number of e4m3. Products are added up in
single precision by ``torch._scaled_mm``; results are in the working type.

Shape suffixes: T = rows (tokens, patches), I = input width, O = output channels
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.models.devices.gpu_layers import ALIGNMENT
from pipeline.models.fusion.regions import Region

HIGHEST = 448.0
MULTIPLE = 16  # of both widths, which kernels for 8 bits ask for
_STACKED = re.compile(r"\.(?:blocks|layers|layer)\.\d+\.")  # of a tower or a decoder: no merger, no projector, no head
_SMALL = ("gate", "shared_expert_gate", "in_proj_a", "in_proj_b")  # routers and decays: a few channels, much depends on


@dataclass(frozen=True, kw_only=True, slots=True)
class NarrowPart:
    """What of a part of a model can be in 8 bits: weights, and output channels with a scale in float32 each."""

    elements: int = 0
    channels: int = 0

    def saved_bytes(self, element_bytes: int) -> int:
        """Of ``element_bytes`` for each weight."""
        return self.elements * (element_bytes - 1) - 4 * self.channels


def narrow_rows(rows_TI: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers in e4m3 and what to multiply them with: ``(T, I)`` and ``(T, 1)``."""
    single_TI = rows_TI.to(torch.promote_types(rows_TI.dtype, torch.float32))
    highest_T1 = single_TI.abs().amax(-1, keepdim=True)
    scale_T1 = torch.where(highest_T1 > 0, highest_T1 / HIGHEST, 1.0)
    narrow_TI = (single_TI / scale_T1).clamp(-HIGHEST, HIGHEST).to(torch.float8_e4m3fn)
    return narrow_TI, scale_T1.to(torch.float32)


class NarrowRows(Region):
    """``narrow_rows`` as one kernel."""

    def __init__(self, *, is_compiled: bool) -> None:
        super().__init__("narrow_rows", is_compiled=is_compiled, formula=narrow_rows)

    def new_outputs(self, first: Tensor) -> list[Tensor]:
        """See ``Region``."""
        scale_T1 = torch.empty((len(first), 1), dtype=torch.float32, device=first.device)
        return [torch.empty_like(first, dtype=torch.float8_e4m3fn), scale_T1]


class Fp8Linear(nn.Module):
    """Stands in for a linear layer.

    Args:
        linear: of 16 or 32 bits; both widths multiples of ``MULTIPLE``.
        narrow: for the inputs.

    Attributes:
        weight: ``(O, I)`` in e4m3; like its scale no parameter, so that the model's type stays what it is.
    """

    weight: Tensor
    scale_1O: Tensor

    def __init__(self, linear: nn.Linear, narrow: Region) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = linear.in_features, linear.out_features, linear.bias
        self.narrow = narrow
        weight_OI, scale_O1 = narrow_rows(linear.weight.detach())
        self.register_buffer("weight", weight_OI)
        self.register_buffer("scale_1O", scale_O1.t().contiguous())

    def forward(self, inputs: Tensor) -> Tensor:
        """``(…, I)`` -> ``(…, O)``."""
        return self.multiply(inputs.flatten(0, -2), self.bias).view(*inputs.shape[:-1], self.out_features)

    def multiply(self, rows_TI: Tensor, bias_O: Tensor | None = None) -> Tensor:
        """``(T, I)`` -> ``(T, O)``."""
        narrow_TI, scale_T1 = self.narrow(rows_TI)
        product: Tensor = torch._scaled_mm(
            narrow_TI,
            self.weight.t(),
            scale_a=scale_T1,
            scale_b=self.scale_1O,
            bias=bias_O,
            out_dtype=rows_TI.dtype,
        )
        return product


def find_linears(model: Any, *, is_padded: bool = True) -> Iterator[tuple[str, nn.Linear]]:
    """Linear layers that can be of 8 bits, by name; experts that are one parameter are none.

    Args:
        model: stock.
        is_padded: as ``gpu_layers`` leaves it; else widths count as if it had been there.
    """
    for name, module in model.named_modules():
        is_large = name.rpartition(".")[2] not in _SMALL and _STACKED.search(f".{name}") is not None
        if type(module) is nn.Linear and is_large:
            widths = (module.in_features, module.out_features)
            if all((width if is_padded else width + -width % ALIGNMENT) % MULTIPLE == 0 for width in widths):
                yield name, module


def narrow_linears(model: Any, narrow: Region) -> list[str]:
    """Put layers of 8 bits in place, one after the other, so that little more than the model is held; their names."""
    names = [name for name, _ in find_linears(model)]
    for name in names:
        model.set_submodule(name, Fp8Linear(model.get_submodule(name), narrow))
    return names


def count_narrow(model: Any, parts: Sequence[str]) -> dict[str, NarrowPart]:
    """Part -> what of it can be in 8 bits; on whatever device the model is.

    Args:
        model: stock.
        parts: names of modules that have no other of them inside.
    """
    counted: dict[str, NarrowPart] = {}
    for name, linear in find_linears(model, is_padded=False):
        part = next(one for one in parts if name.startswith(f"{one}."))
        before = counted.get(part, NarrowPart())
        counted[part] = NarrowPart(
            elements=before.elements + linear.weight.numel(), channels=before.channels + linear.out_features
        )
    return counted
