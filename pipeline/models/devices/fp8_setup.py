"""``model.quantization=fp8``: where it is refused, and the test that every shape of a loaded model has to pass.

Two bounds, both as root mean square over that of the result. A kernel may differ by 1 % from the exact product of the
numbers it was given: bfloat16 alone rounds by 0.17 %. And rounding both sides to the 3 bits of e4m3 costs 3.5 to 3.8 %
on many random rows, one bit less 7 %; 6 % says that scales or numbers are wrong.
"""

import logging
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.devices.fp8_linear import Fp8Linear, NarrowRows, find_linears, narrow_linears

MOST_KERNEL_ERROR = 0.01
MOST_ERROR = 0.06
ROW_COUNTS = (4_096, 67, 1)  # as of ``fusion.check``: what the kernel for inputs is compiled for, too
_LEAST_CAPABILITY = (8, 9)
_SOUND_ON_ADA = (2, 12)  # torch before it launches this product beside the stream it belongs to on 8.9
_COMPARED = 64  # of rows, and as many channels as four tiles of a kernel have
_CHANNELS = 512
_OUTLIER = 100.0
_KEPT_AS = "adapttoken_fp8"
_INSTEAD = "leave model.quantization=off"
_LOG = logging.getLogger("adapttoken.models")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapeCheck:
    """Of the linear layers of one shape on one device.

    Attributes:
        kernel_error: against the exact product of the same 8-bit numbers.
        error: against the layer with its own weights in double precision.
    """

    shape: tuple[int, int]
    device: torch.device
    kernel_error: float
    error: float

    @property
    def is_accurate(self) -> bool:
        """Within both bounds; NaN is not."""
        return self.kernel_error <= MOST_KERNEL_ERROR and self.error <= MOST_ERROR

    def __str__(self) -> str:
        return (
            f"{self.shape[1]} to {self.shape[0]}: error {self.error:.2%} (at most {MOST_ERROR:.0%}), of the kernel "
            f"{self.kernel_error:.2%} (at most {MOST_KERNEL_ERROR:.0%})"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Fp8Layers:
    """What of a model is in 8 bits."""

    num_layers: int
    checks: tuple[ShapeCheck, ...]

    def __str__(self) -> str:
        worst = max(self.checks, key=lambda check: check.error)
        return f"{self.num_layers} linear layers in e4m3, of {len(self.checks)} shapes; the worst {worst}"


def refuse_fp8(name: str, config: Any, dtype: torch.dtype, devices: list[str]) -> None:
    """Before weights are fetched.

    Args:
        name: of the checkpoint.
        config: its configuration.
        dtype: the working type.
        devices: that it would be loaded on.

    Raises:
        PipelineError: Class ``model``: a device or a type that there is no such product for, or packed weights.
    """
    refuse_packed(name, config)
    for device in devices:
        _refuse_device(device)
    if dtype is not torch.bfloat16:
        found = str(dtype).removeprefix("torch.")
        raise _error(f"works beside bfloat16, got model.dtype={found}; set model.dtype=bfloat16, or {_INSTEAD}")


def refuse_packed(name: str, config: Any) -> None:
    """A checkpoint whose weights are packed already; see ``refuse_fp8``."""
    if any(getattr(part, "quantization_config", None) for part in (config, getattr(config, "text_config", None))):
        raise _error(f"is for weights of 16 or 32 bits, but model {name!r} is quantised already; {_INSTEAD}")


def set_up_fp8(model: Any) -> Fp8Layers:
    """Put layers of 8 bits in place and test one of every shape; what was found is kept with the model.

    Raises:
        PipelineError: Class ``model``: nothing to quantise, or a shape that is not accurate on this device.
    """
    return narrow_checked(model, is_compiled=True)


@torch.inference_mode()
def narrow_checked(model: Any, *, is_compiled: bool, row_counts: tuple[int, ...] = ROW_COUNTS) -> Fp8Layers:
    """See ``set_up_fp8``; on the CPU, too."""
    firsts: dict[tuple[int, int, torch.device], nn.Linear] = {}
    for _, linear in find_linears(model):
        firsts.setdefault((linear.out_features, linear.in_features, linear.weight.device), linear)
    if not firsts:
        raise _error(f"finds no linear layers of fitting widths in this model; {_INSTEAD}")
    narrow = NarrowRows(is_compiled=is_compiled)
    checks = tuple(check_linear(linear, Fp8Linear(linear, narrow), row_counts=row_counts) for linear in firsts.values())
    for check in checks:
        if not check.is_accurate:
            raise _error(f"is not accurate on {check.device}, from {check}; {_INSTEAD}")
    firsts.clear()  # nothing else holds the weights of 16 bits
    layers = Fp8Layers(num_layers=len(narrow_linears(model, narrow)), checks=checks)
    setattr(model, _KEPT_AS, layers)
    _LOG.info("quantization: %s", layers)
    return layers


def fp8_layers_of(model: Any) -> Fp8Layers | None:
    """What ``set_up_fp8`` left with a model."""
    found: Fp8Layers | None = getattr(model, _KEPT_AS, None)
    return found


def check_linear(linear: nn.Linear, narrow: Fp8Linear, *, row_counts: tuple[int, ...] = ROW_COUNTS) -> ShapeCheck:
    """Random rows of the layer's width, one of zeros and two with large values among them, without the bias."""
    kernel_errors, errors = [], []
    device, dtype = linear.weight.device, linear.weight.dtype
    for num_rows in row_counts:
        rows_TI = _make_rows(num_rows, linear.in_features).to(device, dtype)
        found_TO = narrow.multiply(rows_TI)[:_COMPARED, :_CHANNELS].double()
        rows_TI = rows_TI[:_COMPARED]
        numbers_TI, scale_T1 = narrow.narrow(rows_TI)
        weights_OI = narrow.weight[:_CHANNELS].double() * narrow.scale_1O.t()[:_CHANNELS].double()
        same_TO = (numbers_TI.double() * scale_T1.double()) @ weights_OI.t()
        exact_TO = rows_TI.double() @ linear.weight[:_CHANNELS].double().t()
        kernel_errors.append(_distance(found_TO, same_TO))
        errors.append(_distance(found_TO, exact_TO))
    shape = linear.out_features, linear.in_features
    return ShapeCheck(shape=shape, device=device, kernel_error=_worst(kernel_errors), error=_worst(errors))


def _refuse_device(device: str) -> None:
    if not device.startswith("cuda"):
        raise _error(f"needs a GPU of compute capability 8.9 or more, got {device}; {_INSTEAD}")
    capability = torch.cuda.get_device_capability(device)
    if capability < _LEAST_CAPABILITY:
        found = ".".join(map(str, capability))
        raise _error(f"needs a GPU of compute capability 8.9 or more, got {found} of {device}; {_INSTEAD}")
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if capability == _LEAST_CAPABILITY and version < _SOUND_ON_ADA:
        raise _error(
            f"needs torch 2.12 or later on a GPU of compute capability 8.9, got torch {torch.__version__}; {_INSTEAD}"
        )


def _make_rows(num_rows: int, width: int) -> Tensor:
    """The same in every run; the first ones are the odd ones, and a single row is none of them."""
    random = torch.Generator(device="cpu").manual_seed(num_rows)
    few = torch.randn(min(num_rows, _COMPARED), width, generator=random)
    if len(few) > 3:
        few[0] = 0
        few[1:3, :: max(1, width // 4)] *= _OUTLIER
    return few.repeat(-(-num_rows // len(few)), 1)[:num_rows]


def _distance(found: Tensor, exact: Tensor) -> float:
    """Root mean square over rows, each by its own size, so that none hides behind a larger one; zeros stay zeros."""
    sizes = exact.norm(dim=-1)
    errors = (found - exact).norm(dim=-1) / torch.where(sizes > 0, sizes, 1.0)
    return float(errors.square().mean().sqrt()) if bool(errors.isfinite().all()) else float("nan")


def _worst(errors: list[float]) -> float:
    """NaN is worse than any number."""
    return max(errors, key=lambda error: (math.isnan(error), error))


def _error(what: str) -> PipelineError:
    return PipelineError(FailureClass.MODEL, f"model.quantization=fp8 {what}")
