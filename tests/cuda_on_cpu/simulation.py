"""``torch.cuda`` of a simulated machine: inside ``simulated`` it has devices, also on a build of torch for the CPU."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch

from pipeline.lab.cost.fake_gpu import device_guard
from pipeline.models.qwen.preprocess import color_scale
from tests.cuda_on_cpu.device_tensor import DeviceTensor, FactoryMode
from tests.cuda_on_cpu.graphs import Graph, capturing
from tests.cuda_on_cpu.machine import Machine

_GIB = 1 << 30


@contextmanager
def simulated(num_devices: int = 1) -> Iterator[Machine]:
    """Inside, ``cuda`` exists."""
    machine = Machine(num_devices)
    timeline, memory = machine.timeline, machine.memory
    replaced = {
        "Stream": timeline.new_stream,
        "Event": timeline.new_event,
        "current_stream": timeline.current,
        "stream": timeline.use,
        "synchronize": timeline.synchronize,
        "current_device": lambda: timeline.device_index,
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: num_devices,
        "mem_get_info": lambda device=None: (139 * _GIB, 141 * _GIB),
        "max_memory_allocated": lambda device=None: memory.bytes_peak,
        "reset_peak_memory_stats": lambda device=None: setattr(memory, "bytes_peak", memory.bytes_now),
        "get_device_capability": lambda device=None: (9, 0),
        "empty_cache": lambda: None,
        "CUDAGraph": Graph,
        "graph": capturing,
        "graph_pool_handle": lambda: (0, 0),
        "get_device_name": lambda device=None: "simulated",
    }
    with ExitStack() as stack:
        stack.callback(color_scale.cache_clear)  # kept by device for all of a process, and there was but one machine
        stack.enter_context(device_guard())
        for name, value in replaced.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        stack.enter_context(mock.patch.object(torch.Tensor, "pin_memory", _pinner(machine)))
        stack.enter_context(mock.patch.object(torch.Tensor, "is_pinned", lambda tensor: machine.pinned.has(tensor)))
        lifted = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(…, device="cuda") makes one on the host and copies it
        stack.callback(torch._C._set_only_lift_cpu_tensors, lifted)
        stack.enter_context(FactoryMode(machine))
        yield machine


def _pinner(machine: Machine) -> Any:
    def pin_memory(tensor: torch.Tensor, *_: Any) -> torch.Tensor:
        return tensor if machine.pinned.has(tensor) else machine.pinned.pin(tensor.clone())

    return pin_memory


__all__ = ["DeviceTensor", "simulated"]
