"""Whether fused regions are exact on this machine: against stock arithmetic and against double precision.

Random rows of the model's width in its working type, among them rows of zeros and rows with a few very large values as
the residual streams of these models have them. A region passes if its error against double precision is no larger than
that of stock arithmetic: the root mean square within 2 %, the largest error within half a unit in the last place of the
row's highest value.

Shape suffixes as in ``formulas``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from pipeline.models.fusion.regions import FORMULAS, Region, has_rows
from pipeline.models.fusion.swap import Need

ROW_COUNTS = (4_096, 67, 1)  # a prefill, for whose size a kernel is tuned; an odd number; a response token
_COMPARED = 64  # of the rows: they do not know of each other
_SLACK = 1.02
_MOST_MORE = 0.5  # of a unit in the last place
_COLUMNS = 4  # of Qwen3-VL's visual tokens: merged features and three layers' deepstack features
_NEGLIGIBLE = 1e-3  # of one: where stock arithmetic rounds nothing
_OUTLIER = 1_000.0
_EPS = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionCheck:
    """What one region's check found.

    Attributes:
        is_exact: whether the region may be used.
        found: one line, with numbers or with what went wrong.
    """

    need: Need
    is_exact: bool
    found: str


@torch.inference_mode()
def check_region(need: Need, region: Region, *, row_counts: tuple[int, ...] = ROW_COUNTS) -> RegionCheck:
    """Run a region, which may compile it, and compare; what it raises is a reason not to use it."""
    worst, largest = 0.0, 0.0
    try:
        for num_rows in row_counts:
            inputs = make_inputs(need, num_rows)
            fused, stock, exact = run_all(need.region, region, inputs)
            for one, other, truth in zip(fused, stock, exact, strict=True):
                ours, theirs = (_errors(values, truth, need.dtype) for values in (one, other))
                worst = max(worst, _rms(ours) / max(_rms(theirs), _NEGLIGIBLE))
                largest = max(largest, float(ours.max()) - float(theirs.max()))
                if not bool(ours.isfinite().all()):
                    return RegionCheck(need=need, is_exact=False, found="values that are not finite")
    except (RuntimeError, ImportError, OSError, AssertionError, TypeError, ValueError, AttributeError) as error:
        line = next(iter(str(error).strip().splitlines()), "")
        return RegionCheck(need=need, is_exact=False, found=f"{type(error).__name__}: {line[:200]}")
    found = f"error {worst:.2f} times stock's"
    is_exact = worst <= _SLACK and largest <= _MOST_MORE
    return RegionCheck(
        need=need, is_exact=is_exact, found=found + ("" if is_exact else f", the largest {largest:+.2f} ulp")
    )


def run_all(name: str, region: Region, inputs: tuple[Any, ...]) -> tuple[tuple[Tensor, ...], ...]:
    """The first rows of what the region, stock arithmetic and stock arithmetic in double precision give."""
    few = [value[:_COMPARED] if has_rows(value) else value for value in inputs]
    if name == "add_deepstack":  # features are those of the visual tokens alone
        few[-1] = few[-1][: int(few[2].sum())]
    double = [value.double() if isinstance(value, Tensor) and value.is_floating_point() else value for value in few]
    stock = FORMULAS[name].stock
    fused = tuple(one[:_COMPARED] for one in _as_tuple(region(*inputs)))
    return fused, _as_tuple(stock(*few)), _as_tuple(stock(*double))


def make_inputs(need: Need, num_rows: int) -> tuple[Any, ...]:
    """Random inputs of a region, the same in every run; the first rows are the odd ones."""
    random = torch.Generator(device="cpu").manual_seed(len(need.region) + num_rows)

    def draw(*shape: int) -> Tensor:
        count = min(shape[0], _COMPARED)
        few = torch.randn(count, *shape[1:], generator=random)
        few = few.repeat(-(-shape[0] // count), *[1] * (len(shape) - 1))[: shape[0]]
        return few.to(device=need.device, dtype=need.dtype)

    def draw_stream(*shape: int) -> Tensor:
        values = draw(*shape)
        if len(values) > 3:
            values[0] = 0
            values[1:3, ..., :: max(1, shape[-1] // 4)] *= _OUTLIER
        return values

    def draw_weights(size: int) -> Tensor:
        return (1 + 0.3 * torch.randn(size, generator=random)).to(device=need.device, dtype=need.dtype)

    def draw_angles(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        angles = torch.rand(min(num_rows, _COMPARED), need.sizes[-1] // 2, generator=random) * 100
        angles = angles.repeat(-(-num_rows // len(angles)), 2)[:num_rows].to(need.device)
        return angles.cos().to(dtype), angles.sin().to(dtype)

    return _MAKERS[need.region](need, num_rows, draw_stream, draw_weights, draw_angles)


def _as_tuple(values: Any) -> tuple[Tensor, ...]:
    return values if isinstance(values, tuple) else (values,)


def _errors(values: Tensor, exact: Tensor, dtype: torch.dtype) -> Tensor:
    """In units in the last place of each row's highest value, so that no row hides behind a larger one."""
    highest = exact.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(dtype).tiny)
    return (values.double() - exact).abs() / (highest * torch.finfo(dtype).eps)


def _rms(errors: Tensor) -> float:
    return float(errors.square().mean().sqrt())


_Maker = Callable[[Need, int, Callable[..., Tensor], Callable[[int], Tensor], Callable[..., Any]], tuple[Any, ...]]


def _make_rms(need: Need, rows: int, stream: Any, weights: Any, angles: Any) -> tuple[Any, ...]:
    return stream(rows, *need.sizes), weights(*need.sizes), _EPS


def _make_add_rms(need: Need, rows: int, stream: Any, weights: Any, angles: Any) -> tuple[Any, ...]:
    return stream(rows, *need.sizes), stream(rows, *need.sizes), weights(*need.sizes), _EPS


def _make_add_layer(need: Need, rows: int, stream: Any, weights: Any, angles: Any) -> tuple[Any, ...]:
    return (*_make_add_rms(need, rows, stream, weights, angles)[:3], weights(*need.sizes), _EPS)


def _make_scaled_rms(need: Need, rows: int, stream: Any, weights: Any, angles: Any) -> tuple[Any, ...]:
    first, *others = _make_add_rms(need, rows, stream, weights, angles)
    return (first, others[0], weights(*need.sizes), *others[1:])


def _make_scaled_layer(need: Need, rows: int, stream: Any, weights: Any, angles: Any) -> tuple[Any, ...]:
    first, *others = _make_add_layer(need, rows, stream, weights, angles)
    return (first, others[0], weights(*need.sizes), *others[1:])


def _make_scaled_add(need: Need, rows: int, stream: Any, weights: Any, angles: Any) -> tuple[Any, ...]:
    return stream(rows, *need.sizes), stream(rows, *need.sizes), weights(*need.sizes)


def _make_gated(need: Need, rows: int, stream: Any, weights: Any, angles: Any) -> tuple[Any, ...]:
    return stream(rows, *need.sizes), stream(rows, *need.sizes).clamp_(-8, 8)  # the product of two outliers overflows


def _make_rotate(need: Need, rows: int, stream: Any, weights: Any, angles: Any) -> tuple[Any, ...]:
    return stream(rows, *need.sizes), *angles(need.dtype)


def _make_rotate_both(need: Need, rows: int, stream: Any, weights: Any, angles: Any) -> tuple[Any, ...]:
    return stream(rows, 3, *need.sizes)[:, :2], *angles(torch.promote_types(need.dtype, torch.float32))


def _make_norm_rotate(need: Need, rows: int, stream: Any, weights: Any, angles: Any) -> tuple[Any, ...]:
    return stream(rows, *need.sizes), weights(need.sizes[-1]), _EPS, *angles(need.dtype)


def _make_deepstack(need: Need, rows: int, stream: Any, weights: Any, angles: Any) -> tuple[Any, ...]:
    is_visual = torch.arange(rows, device=need.device) % 3 != 1
    place = (torch.cumsum(is_visual, 0) - 1).clamp_(min=0)
    features = stream(rows - (rows + 1) // 3, _COLUMNS, *need.sizes)[:, 1]  # they lie beside the merged ones
    return stream(rows, *need.sizes), stream(rows, *need.sizes), is_visual, place, features


_MAKERS: Mapping[str, _Maker] = MappingProxyType(
    {
        "rms_norm": _make_rms,
        "add_rms_norm": _make_add_rms,
        "add_layer_norm": _make_add_layer,
        "scaled_add_rms_norm": _make_scaled_rms,
        "scaled_add_layer_norm": _make_scaled_layer,
        "scaled_add": _make_scaled_add,
        "gated_silu": _make_gated,
        "rotate": _make_rotate,
        "rotate_both": _make_rotate_both,
        "norm_rotate": _make_norm_rotate,
        "add_deepstack": _make_deepstack,
    }
)
