"""A tensor that says ``cuda:N`` and holds its numbers on the host; what it may do is ``Machine.run``'s to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.cuda_on_cpu.leaves import leaves_of

if TYPE_CHECKING:
    from tests.cuda_on_cpu.machine import Machine


class DeviceTensor(torch.Tensor):
    """``host``: the numbers; ``machine``: whose device it lies on."""

    @staticmethod
    def __new__(cls, host: torch.Tensor, device: torch.device, machine: Machine) -> DeviceTensor:
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            host.shape,
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=device,
        )
        self.host, self.machine = host, machine
        self._holder = machine.memory.hold(host, machine.timeline.current(device))
        return self

    def __repr__(self) -> str:
        return f"DeviceTensor({tuple(self.shape)}, {self.dtype}, {self.device})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"can't convert {self.device} device type tensor to numpy")

    def record_stream(self, stream: Any) -> None:
        self.machine.memory.record(self.host, stream)

    def pin_memory(self, *_: Any) -> torch.Tensor:
        raise RuntimeError("cannot pin a cuda tensor, only dense CPU tensors can be pinned")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        machine = next(leaf.machine for leaf in leaves_of((args, kwargs or {})) if isinstance(leaf, DeviceTensor))
        return machine.run(func, args, kwargs or {})


class FactoryMode(TorchDispatchMode):
    """Catches what has no tensor of the device among its arguments: factories and copies of host tensors."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and saying so costs as much as an operation

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._machine.run(func, args, kwargs or {})


def move_module(module: nn.Module, device: torch.device, machine: Machine) -> None:
    """Parameters and buffers, each on its own; weights that are one stay one."""
    moved: dict[int, nn.Parameter] = {}
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None and not isinstance(parameter, DeviceTensor):
                if id(parameter) not in moved:
                    tensor = DeviceTensor(parameter.detach().clone(), device, machine)
                    moved[id(parameter)] = nn.Parameter(tensor, requires_grad=False)
                part._parameters[name] = moved[id(parameter)]
        for name, buffer in part._buffers.items():
            if buffer is not None and not isinstance(buffer, DeviceTensor):
                part._buffers[name] = DeviceTensor(buffer.detach().clone(), device, machine)
