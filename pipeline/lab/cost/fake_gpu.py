"""A CUDA device without memory or arithmetic: tensors on it have shapes only, host tensors are real.

For counting what the product's own code would launch, on a build of torch for the CPU. Whatever is read back from the
device is ones.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from pipeline.models.qwen.preprocess import color_scale

DEVICE = torch.device("cuda", 0)
_CUDA, _META, _NUM_TYPES = 1, 14, 20  # c10::DeviceType
_GIB = 1 << 30


class _Stream:
    """Takes part in nothing: order is not counted."""

    def record_event(self) -> "_Stream":
        return self

    def synchronize(self) -> None:
        return None

    def wait_stream(self, other: Any) -> None:
        return None

    wait_event = wait_stream


@contextmanager
def fake_gpu() -> Iterator[FakeTensorMode]:
    """Inside, ``cuda`` exists; under the mode that is handed out, tensors can be made on it."""
    replaced: dict[str, Any] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "current_stream": lambda device=None: _Stream(),
        "Stream": lambda *_, **__: _Stream(),
        "Event": lambda *_, **__: _Stream(),
        "mem_get_info": lambda device=None: (139 * _GIB, 141 * _GIB),
        "get_device_capability": lambda device=None: (9, 0),
        "synchronize": lambda device=None: None,
    }
    with ExitStack() as stack:
        color_scale.cache_clear()  # kept by device for all of a process
        stack.callback(color_scale.cache_clear)
        stack.enter_context(device_guard())
        for name, value in replaced.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        stack.enter_context(mock.patch.object(torch.Tensor, "pin_memory", lambda tensor, *_: tensor))
        stack.enter_context(mock.patch.object(torch.Tensor, "is_pinned", return_value=True))
        lifted = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(…, device="cuda") makes one on the host and copies it
        stack.callback(torch._C._set_only_lift_cpu_tensors, lifted)
        yield FakeTensorMode(allow_non_fake_inputs=True)


def place_module(module: nn.Module, mode: FakeTensorMode) -> None:
    """Parameters and buffers of a module on the meta device; weights that are one stay one."""
    placed: dict[int, nn.Parameter] = {}

    def make(tensor: torch.Tensor) -> torch.Tensor:
        with mode:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device=DEVICE)

    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                if id(parameter) not in placed:
                    placed[id(parameter)] = nn.Parameter(make(parameter), requires_grad=False)
                part._parameters[name] = placed[id(parameter)]
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = make(buffer)


@contextmanager
def device_guard() -> Iterator[None]:
    """C++ code switches to a tensor's device before it indexes it, which takes a guard, even if one that does nothing.

    A build for CUDA that finds no GPU has one. In one for the CPU that of the meta device takes its place.
    """
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * _NUM_TYPES).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    before = guards[_CUDA]
    if not before:
        guards[_CUDA] = guards[_META]
    ensure: Callable[[], None] = torch._C._ensureCUDADeviceGuardSet
    ensure()
    try:
        yield
    finally:
        if not before:
            guards[_CUDA] = None
