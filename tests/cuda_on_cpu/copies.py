"""Copies between host and devices: which of them the host waits for, and when their numbers are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tests.cuda_on_cpu.breakage import DOWNLOAD, UPLOAD
from tests.cuda_on_cpu.device_tensor import DeviceTensor

if TYPE_CHECKING:
    from tests.cuda_on_cpu.machine import Machine

aten = torch.ops.aten


class Copies:
    """``to``, ``_to_copy`` and ``copy_`` of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._timeline = machine, machine.timeline

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        given = {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)} | kwargs
        if func.overloadpacket is aten.copy_:
            return self._fill(args[0], args[1], is_async=bool(given.get("non_blocking")))
        if func.overloadpacket is aten.copy:
            raise NotImplementedError("aten.copy")
        source, other = given["self"], given.get("other")
        dtype = (other.dtype if other is not None else given.get("dtype")) or source.dtype
        device = other.device if other is not None else self._machine.wanted_device(given)
        device = source.device if device is None else device
        is_there = (dtype, device) == (source.dtype, source.device)
        if func.overloadpacket is aten.to and is_there and not given.get("copy"):
            return source
        if source.device.type == device.type == "cpu":
            return func(*args, **kwargs)
        return self._copy(source, dtype, device, given)

    def _copy(self, source: Tensor, dtype: torch.dtype, device: torch.device, given: dict[str, Any]) -> Tensor:
        is_async, layout = bool(given.get("non_blocking")), given.get("memory_format") or torch.preserve_format
        if not isinstance(source, DeviceTensor):
            host = source.to(dtype, copy=True, memory_format=layout)
            self._upload(source, device, is_async=is_async)
            return self._machine.place(host, device)
        if device.type == "cpu":
            target = torch.empty_like(source.host, dtype=dtype, memory_format=layout)
            return self._download(source, target, is_async=is_async)
        stream = self._timeline.current(source.device)
        self._machine.memory.read(source.host, stream, stream.tick())
        host = source.host.to(dtype, copy=True, memory_format=layout)
        if device != source.device:  # CUDA lets the current streams of both devices wait for each other
            self._timeline.current(device).wait_stream(stream)
            self._timeline.current(device).tick()
        self._machine.journal.num_kernels += 1
        return self._machine.place(host, device)

    def _fill(self, target: Tensor, source: Tensor, *, is_async: bool) -> Tensor:
        if not isinstance(target, DeviceTensor):
            if isinstance(source, DeviceTensor):
                return self._download(source, target, is_async=is_async)
            return target.copy_(source)
        stream = self._timeline.current(target.device)
        if isinstance(source, DeviceTensor):
            other = self._timeline.current(source.device)
            self._machine.memory.read(source.host, other, other.tick())
            if other is not stream:
                stream.wait_stream(other)
            target.host.copy_(source.host)
        else:
            self._upload(source, target.device, is_async=is_async)
            target.host.copy_(source)
        self._machine.memory.write(target.host, stream, stream.tick())
        return target

    def _upload(self, source: Tensor, device: torch.device, *, is_async: bool) -> None:
        """The host waits unless the copy is asynchronous, and from pinned memory, which must then stay as it is."""
        if not source.numel():
            return
        self._machine.breakage.meet(UPLOAD)
        stream, is_pinned = self._timeline.current(device), self._machine.pinned.has(source)
        time = stream.tick()
        if not (is_async and is_pinned):
            self._timeline.wait("copy to the device", stream)
            return
        before = source.clone()

        def check() -> None:
            if not torch.equal(source.view(torch.uint8), before.view(torch.uint8)):
                self._machine.journal.fault("pinned memory was changed before its copy had ended")

        stream.pending.append((time, check))

    def _download(self, source: DeviceTensor, target: Tensor, *, is_async: bool) -> Tensor:
        """An asynchronous copy leaves garbage until its stream, or an event after it, has been waited for."""
        self._machine.breakage.meet(DOWNLOAD)
        stream = self._timeline.current(source.device)
        time = stream.tick()
        self._machine.memory.read(source.host, stream, time)
        if not (is_async and self._machine.pinned.has(target)):
            if source.numel():
                self._timeline.wait("copy to the host", stream)
            return target.copy_(source.host)
        value = source.host.clone()
        if target.dtype is not torch.bool:
            target.fill_(float("nan") if target.dtype.is_floating_point else -77)

        def arrive() -> None:
            target.copy_(value)

        stream.pending.append((time, arrive))
        return target
