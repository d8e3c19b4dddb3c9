"""A machine with CUDA devices that are not there: real arithmetic on the host, under CUDA's rules.

Operations on tensors of two devices raise, but where CUDA allows them (host scalars, host indices, copies). Whatever
makes the host wait is noted, and so is what would read or write the wrong numbers on a device that runs beside it.
"""

from typing import Any

import torch
from torch import Tensor

from tests.cuda_on_cpu.breakage import KERNEL, Breakage
from tests.cuda_on_cpu.copies import Copies
from tests.cuda_on_cpu.device_tensor import DeviceTensor
from tests.cuda_on_cpu.journal import Journal
from tests.cuda_on_cpu.kernels import STAND_INS
from tests.cuda_on_cpu.leaves import leaves_of, map_leaves
from tests.cuda_on_cpu.memory import Memory, PinnedMemory, storage_of
from tests.cuda_on_cpu.streams import Stream, Timeline

aten = torch.ops.aten
_READ_BY_HOST = {  # the host must know a value, or the shape of the result
    aten._local_scalar_dense,
    aten.item,
    aten.is_nonzero,
    aten.equal,
    aten.allclose,
    aten.nonzero,
    aten.masked_select,
    aten._unique2,
    aten.unique_consecutive,
    aten.unique_dim,
    aten.bincount,
}
_INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
_COPYING = {aten._to_copy, aten.copy_, aten.copy, aten.to}
_FLOAT_ON_HOST = {aten.histc}  # of integers, which the device counts
_MIXED = "Expected all tensors to be on the same device, but found at least two devices"


class Machine:
    """Its devices, their streams and memory, and what happened."""

    def __init__(self, num_devices: int) -> None:
        self.num_devices, self.journal, self.breakage = num_devices, Journal(), Breakage()
        self.timeline = Timeline(self.journal, self.breakage)
        self.memory, self.pinned = Memory(self.timeline), PinnedMemory()
        self._copies = Copies(self)

    def place(self, host: Tensor, device: torch.device, *, stream: Stream | None = None) -> DeviceTensor:
        """Numbers that an operation of a stream wrote."""
        tensor = DeviceTensor(host, device, self)
        stream = stream or self.timeline.current(device)
        self.memory.write(host, stream, stream.clock[stream.name])
        return tensor

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """One operation of torch."""
        with torch.inference_mode(False), torch.no_grad():
            if func.overloadpacket in _COPYING:
                return self._copies.run(func, args, kwargs)
            return self._compute(func, args, kwargs)

    def wanted_device(self, kwargs: dict[str, Any]) -> torch.device | None:
        """Where the caller wants the result, with its index."""
        device = kwargs.get("device")
        if device is None:
            return None
        device = torch.device(device)
        return self.timeline.device(device) if device.type == "cuda" else device

    def _compute(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        leaves = list(leaves_of((args, kwargs)))
        tensors = [leaf for leaf in leaves if isinstance(leaf, DeviceTensor)]
        wanted = self.wanted_device(kwargs)
        if not tensors and (wanted is None or wanted.type != "cuda"):
            return self._on_host(func, args, kwargs)
        device = tensors[0].device if tensors else wanted
        assert device is not None
        self.breakage.meet(KERNEL)
        if func.overloadpacket in _INDEXING:
            self._check_index(args)
        else:
            self._check_devices(func, leaves)
        if func.overloadpacket in _READ_BY_HOST and tensors:
            self.timeline.wait(func.overloadpacket.__name__, self.timeline.current(device))
        inner_args, inner_kwargs = map_leaves(DeviceTensor, lambda tensor: tensor.host, (args, kwargs))
        if wanted is not None:
            inner_kwargs = {**inner_kwargs, "device": torch.device("cpu")}
        inner_kwargs.pop("pin_memory", None)
        if func.overloadpacket in _FLOAT_ON_HOST and not inner_args[0].is_floating_point():
            counts = func(inner_args[0].float(), *inner_args[1:], **inner_kwargs).to(inner_args[0].dtype)
            return self._take_results(counts, func, args, tensors, device)
        computed = STAND_INS.get(func.overloadpacket, func)(*inner_args, **inner_kwargs)
        return self._take_results(computed, func, args, tensors, device)

    def _on_host(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if kwargs.get("pin_memory"):
            result = func(*args, **{**kwargs, "pin_memory": False})
            return self.pinned.pin(result.fill_(77) if result.numel() else result)
        return func(*args, **kwargs)

    def _check_index(self, args: Any) -> None:
        target, indices = args[0], [index for index in leaves_of(args[1]) if isinstance(index, Tensor)]
        for index in indices:
            if isinstance(index, DeviceTensor) and index.device != target.device:
                raise RuntimeError(f"indices should be either on cpu or on the same device ({target.device})")
        if len(args) > 2 and args[2].device != target.device and args[2].dim():
            raise RuntimeError(f"{_MIXED}: values on {args[2].device}, tensor on {target.device}")
        stream = self.timeline.current(target.device)
        if any(not isinstance(index, DeviceTensor) for index in indices):
            self.timeline.wait("index from the host", stream)
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
            self.timeline.wait("boolean index", stream)

    def _check_devices(self, func: Any, leaves: list[Any]) -> None:
        everywhere = func.overloadpacket not in (aten.cat, aten.stack)  # these take no scalars of other devices
        devices = {leaf.device for leaf in leaves if isinstance(leaf, Tensor) and (leaf.dim() or not everywhere)}
        if len(devices) > 1:
            raise RuntimeError(f"{_MIXED}, {' and '.join(sorted(map(str, devices)))}! in {func}")

    def _take_results(self, results: Any, func: Any, args: Any, tensors: list[DeviceTensor], device: Any) -> Any:
        """What came of an operation lies on the device; views and tensors changed in place are no new memory."""
        known, by_host = {storage_of(t.host) for t in tensors}, {id(t.host): t for t in tensors}
        made = [result for result in leaves_of((results,)) if isinstance(result, Tensor)]
        new = [result for result in made if storage_of(result) not in known]
        changed = [
            value
            for argument, value in zip(func._schema.arguments, args, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, DeviceTensor)
        ]
        stream = self.timeline.current(device)
        if new or changed or not made:
            self.journal.num_kernels += 1
            time = stream.tick()
            for tensor in tensors:
                use = self.memory.write if any(tensor is one for one in changed) else self.memory.read
                use(tensor.host, stream, time)

        def take(result: Tensor) -> Tensor:
            if id(result) in by_host:
                return by_host[id(result)]
            is_new = storage_of(result) not in known
            return self.place(result, device) if is_new else DeviceTensor(result, device, self)

        return map_leaves(Tensor, take, results)
