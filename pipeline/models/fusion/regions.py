"""Fused regions: what is compiled into one kernel or two, and how it is run.

A region's rows are its first axis and change from call to call; all other sizes are the model's. So one compilation per
width serves every length (and one more a single row), and no pass waits for a compiler after ``check`` has run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from pipeline.models.fusion import formulas, stock_formulas

_MOST_VARIANTS = 64  # compilations of one function: widths, types, single rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Formula:
    """One region's arithmetic.

    Attributes:
        name: of the region.
        fused: in one go, rounded once.
        stock: as transformers has it.
    """

    name: str
    fused: Callable[..., Any]
    stock: Callable[..., Any]


FORMULAS: Mapping[str, Formula] = MappingProxyType(
    {
        name: Formula(name=name, fused=getattr(formulas, name), stock=getattr(stock_formulas, name))
        for name in (
            "rms_norm",
            "add_rms_norm",
            "add_layer_norm",
            "scaled_add_rms_norm",
            "scaled_add_layer_norm",
            "scaled_add",
            "gated_silu",
            "rotate",
            "rotate_both",
            "norm_rotate",
            "add_deepstack",
        )
    }
)


class Region:
    """One region that is called like its formula.

    Args:
        name: a key of ``FORMULAS``, unless there is a ``formula``.
        is_compiled: by ``torch.compile``; else the formula runs step by step, for tests and for counting.
        formula: what it computes.
    """

    def __init__(self, name: str, *, is_compiled: bool, formula: Callable[..., Any] | None = None) -> None:
        self.name, self.is_compiled = name, is_compiled
        formula = formula or FORMULAS[name].fused
        self._run = _compile(formula) if is_compiled else formula

    def new_outputs(self, first: Tensor) -> list[Tensor]:
        """Not filled: the stream and its norm, or one; each has the shape of the first input."""
        count = 2 if self.name.endswith(("add_rms_norm", "add_layer_norm")) else 1
        return [torch.empty_like(first, memory_format=torch.contiguous_format) for _ in range(count)]

    @property
    def num_kernels(self) -> int:
        """That the compiler makes of it: one; heads are read for their norms first, and a second time to be turned."""
        return 2 if self.name == "norm_rotate" else 1

    def __call__(self, *inputs: Any) -> Any:
        """Inputs as the formula has them; rows first."""
        if self.is_compiled:
            for value in inputs:
                if has_rows(value):
                    torch._dynamo.maybe_mark_dynamic(value, 0)
        return self._run(*inputs)


Regions = Mapping[str, Region]
"""By name."""


def build_regions(*, is_compiled: bool) -> Regions:
    """One of each; nothing is compiled before it is called."""
    return {name: Region(name, is_compiled=is_compiled) for name in FORMULAS}


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    config: Any = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, _MOST_VARIANTS)
    compiled: Callable[..., Any] = torch.compile(function, fullgraph=True)
    return compiled


def has_rows(value: Any) -> bool:
    """Weights have one axis; of what else has one, masks and places, none is floating point."""
    return isinstance(value, Tensor) and (value.dim() > 1 or not value.is_floating_point())
