"""Counts the kernels that operations on a fake GPU would be: bytes, FLOPs, and what memory tensors hold meanwhile.

One operation of torch that is no view is one kernel, as in stock eager execution on CUDA; a fused region is one, too.
Every value is counted as read once and written once; dimensions that are broadcast count once.
"""

import math
import weakref
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from pipeline.lab.cost.attention_ops import ATTENTION, attend
from pipeline.lab.cost.roofline import KernelKind, Launch
from pipeline.models.fusion.regions import Region

aten = torch.ops.aten
_FREE = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided, aten._unsafe_view}
_FREE |= {aten.lift_fresh, aten.lift, aten.detach, aten.alias}
_PRODUCTS = {aten.mm: (0, 1), aten.bmm: (0, 1), aten.addmm: (1, 2), aten.baddbmm: (1, 2), aten._scaled_mm: (0, 1)}
_GATHERS = {aten.index, aten.index_select, aten.embedding, aten.gather}
_COPIES = {aten.cat, aten.copy_, aten.clone, aten._to_copy, aten.index_copy_}
_UNREAD = {aten.copy_, aten.fill_, aten.zero_}  # what they write to is not read
_TO_HOST = {aten._to_copy, aten.copy_}
_KIND_BY_BYTES = {1: KernelKind.MATRIX_FP8, 4: KernelKind.MATRIX_SINGLE}


def count_bytes(tensor: Tensor) -> int:
    """That an operation touches: what is broadcast lies in memory once."""
    sizes = (size if stride else 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return math.prod(sizes) * tensor.element_size()


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts while it is entered.

    Attributes:
        launches: in their order; each belongs to the ``stage`` that was set.
        peak_bytes: by stage, of all tensors on the device.
        moved: bytes between host and device, by stage and direction.
    """

    def __init__(self, mode: FakeTensorMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.mode, self.stage = mode, ""
        self.launches: list[Launch] = []
        self.peak_bytes: dict[str, int] = defaultdict(int)
        self.moved: Counter[tuple[str, str]] = Counter()
        self.live_bytes, self.is_replayed = 0, False
        self._sizes = dict[int, int]()
        self._num_true = dict[int, int]()  # of boolean tensors that came from the host, by storage

    def of(self, stage: str) -> list[Launch]:
        """A stage's launches."""
        return [launch for launch in self.launches if launch.stage == stage]

    @contextmanager
    def counting_regions(self) -> Iterator[None]:
        """Inside, a fused region is as many launches as it has kernels: inputs are read, outputs written once."""

        def call(region: Region, *inputs: Any) -> Any:
            with self.mode:
                outputs = region.new_outputs(inputs[0])
            for output in outputs:
                self.track(output)
            read, wrote = (sum(map(count_bytes, tensors)) for tensors in (filter(_is_tensor, inputs), outputs))
            for _ in range(region.num_kernels - 1):  # one that reads everything, and leaves next to nothing
                self._add(f"region {region.name}, first", KernelKind.FUSED, read)
            self._add(f"region {region.name}", KernelKind.FUSED, read + wrote)
            return outputs[0] if len(outputs) == 1 else tuple(outputs)

        with mock.patch.object(Region, "__call__", call):
            yield

    def track(self, tensor: Tensor) -> None:
        """Count a tensor's memory until it is gone."""
        storage = tensor.untyped_storage()
        key = id(storage)
        if tensor.device.type != "cuda" or key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.live_bytes += storage.nbytes()
        self.peak_bytes[self.stage] = max(self.peak_bytes[self.stage], self.live_bytes)
        weakref.finalize(storage, self._forget, key)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default:
            return func(*args, **kwargs)
        leaves = pytree.tree_leaves((args, kwargs))
        is_fake = any(isinstance(leaf, FakeTensor) and leaf.device.type == "cuda" for leaf in leaves)
        wants_gpu = torch.device(kwargs.get("device") or "cpu").type == "cuda"
        if not is_fake and not wants_gpu:
            return self._on_host(func, args, kwargs)
        packet = func.overloadpacket
        if packet in ATTENTION:
            return self._attend(packet, args, kwargs)
        is_composite = torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")
        if is_composite and packet not in _FREE:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        if packet in _TO_HOST and (moved := self._move(packet, args, kwargs)) is not None:
            return moved
        if packet in (aten.index, aten.index_put_, aten._index_put_impl_) and (mask := _mask_of(args)) is not None:
            return self._index_by_mask(packet, args, mask)
        with self.mode:
            result = func(*args, **kwargs)
        self._count(func, args, kwargs, result)
        return result

    def _on_host(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        kwargs.pop("pin_memory", None)
        with _disable_current_modes():
            return func(*args, **kwargs)

    def _count(self, func: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        packet = func.overloadpacket
        outputs = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
        inputs = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        for output in outputs:
            self.track(output)
        changed = [
            value
            for argument, value in zip(func._schema.arguments, args, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        own = {id(tensor.untyped_storage()) for tensor in inputs}
        is_view = not changed and bool(outputs) and all(id(out.untyped_storage()) in own for out in outputs)
        if func.is_view or packet in _FREE or is_view:
            return
        unread = {id(value) for value in changed} if packet in _UNREAD else set[int]()
        read = _sum_bytes(tensor for tensor in inputs if id(tensor) not in unread)
        wrote = _sum_bytes(outputs)
        if packet in _GATHERS:
            read = wrote + _sum_bytes(inputs[1:])
        kind, flops, shape = _arithmetic(packet, args, outputs)
        self._add(str(func).removeprefix("aten."), kind, read + wrote, flops=flops, shape=shape)

    def _add(self, name: str, kind: KernelKind, num_bytes: int, *, flops: int = 0, shape: Any = None) -> None:
        self.launches.append(
            Launch(
                stage=self.stage,
                name=name,
                kind=kind,
                num_bytes=num_bytes,
                flops=flops,
                shape=shape,
                is_replayed=self.is_replayed,
            )
        )

    def _attend(self, packet: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        outputs, tensors, flops = attend(packet, args, kwargs, self.mode)
        for output in pytree.tree_leaves(outputs):
            if isinstance(output, Tensor):
                self.track(output)
        self._add(packet.__name__, KernelKind.ATTENTION, sum(map(count_bytes, tensors)), flops=flops)
        return outputs

    def _move(self, packet: Any, args: Any, kwargs: dict[str, Any]) -> Tensor | None:
        """Between host and device; None for what stays where it is."""
        target, source = (args[0], args[1]) if packet is aten.copy_ else (None, args[0])
        device = target.device if target is not None else torch.device(kwargs.get("device") or source.device)
        if device.type == source.device.type:
            return None
        is_download = device.type == "cpu"
        self.moved[self.stage, "to host" if is_download else "to device"] += count_bytes(source)
        if is_download:
            with _disable_current_modes():
                host = target if target is not None else torch.empty(source.shape, dtype=source.dtype)
                return host.fill_(1)  # whatever it says
        with self.mode:
            there = (
                target
                if target is not None
                else torch.empty_strided(
                    source.shape, source.stride(), dtype=kwargs.get("dtype") or source.dtype, device=device
                )
            )
        self.track(there)
        if source.dtype is torch.bool:
            self._num_true[id(there.untyped_storage())] = int(source.sum())
        return there

    def _index_by_mask(self, packet: Any, args: Any, mask: Tensor) -> Tensor:
        """The host waits for the number of places here; it is known from where the mask was made."""
        values, count = args[0], self._num_true[id(mask.untyped_storage())]
        self._add("nonzero", KernelKind.ELEMENTWISE, count_bytes(mask) + 8 * count)
        if packet is aten.index:
            with self.mode:
                result = torch.empty((count, *values.shape[mask.dim() :]), dtype=values.dtype, device=values.device)
            self.track(result)
            self._add("index", KernelKind.GATHER, 2 * count_bytes(result) + 8 * count)
            return result
        self._add("index_put_", KernelKind.GATHER, 2 * count_bytes(args[2]) + 8 * count)
        return values  # type: ignore[no-any-return]

    def _forget(self, key: int) -> None:
        self.live_bytes -= self._sizes.pop(key)
        self._num_true.pop(key, None)


def _arithmetic(packet: Any, args: Any, outputs: Sequence[Tensor]) -> tuple[KernelKind, int, Any]:
    if packet in _PRODUCTS:
        first, second = (args[index] for index in _PRODUCTS[packet])
        count = first.shape[0] if first.dim() == 3 else 1
        shape = (count, first.shape[-2], second.shape[-1], first.shape[-1])
        kind = _KIND_BY_BYTES.get(first.element_size(), KernelKind.MATRIX)
        return kind, 2 * math.prod(shape), shape
    if packet is aten.convolution:
        (output,), weight = outputs, args[1]
        depth = math.prod(weight.shape[1:])
        shape = (1, output.numel() // weight.shape[0], weight.shape[0], depth)
        return KernelKind.MATRIX, 2 * math.prod(shape), shape
    kind = KernelKind.GATHER if packet in _GATHERS else KernelKind.COPY if packet in _COPIES else KernelKind.ELEMENTWISE
    return kind, 0, None


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _mask_of(args: Any) -> Tensor | None:
    masks = [index for index in args[1] if isinstance(index, Tensor) and index.dtype is torch.bool]
    return masks[0] if masks else None


def _sum_bytes(tensors: Any) -> int:
    """Of tensors on the device; one that is given twice is read once."""
    return sum({id(tensor): count_bytes(tensor) for tensor in tensors if tensor.device.type == "cuda"}.values())
