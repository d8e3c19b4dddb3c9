"""The residual stream between fused layers: its last update is not added yet, for the next norm does both at once.

Shape suffixes: T = rows, D = width
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from pipeline.models.fusion.regions import Regions


class Pending(NamedTuple):
    """What a fused layer hands to the next one.

    Attributes:
        stream: ``(…, D)``.
        update: of the same shape, still to be added.
        scale_D: what the update is weighed with; None is 1.
    """

    stream: Tensor
    update: Tensor
    scale_D: Tensor | None = None


AddNorm = Callable[[Pending], tuple[Tensor, Tensor]]


def enter(hidden_states: Tensor | Pending, norm: Any, add_norm: AddNorm) -> tuple[Tensor, Tensor]:
    """The stream at the start of a layer, and its norm."""
    if isinstance(hidden_states, Pending):
        return add_norm(hidden_states)
    return hidden_states, norm(hidden_states)


def add_norm_of(norm: Any, regions: Regions, *, is_scaled: bool = False) -> AddNorm:
    """The region that adds an update and applies a norm."""
    name, weights = add_norm_name(norm, is_scaled=is_scaled), _weights(norm)
    region = regions[name]

    def run(pending: Pending) -> tuple[Tensor, Tensor]:
        scale = () if pending.scale_D is None else (pending.scale_D,)
        shape = pending.stream.shape
        total_TD, normed_TD = region(rows(pending.stream), rows(pending.update), *scale, *weights)
        return total_TD.view(shape), normed_TD.view(shape)

    return run


def add_norm_name(norm: Any, *, is_scaled: bool = False) -> str:
    """Of the region of ``add_norm_of``."""
    return ("scaled_" if is_scaled else "") + ("add_layer_norm" if isinstance(norm, nn.LayerNorm) else "add_rms_norm")


def rows(values: Tensor) -> Tensor:
    """``(…, D)`` -> ``(T, D)``."""
    return values.flatten(0, -2)


def _weights(norm: Any) -> tuple[Any, ...]:
    if isinstance(norm, nn.LayerNorm):
        return norm.weight, norm.bias, norm.eps
    return norm.weight, norm.variance_epsilon
