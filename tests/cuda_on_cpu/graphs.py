"""CUDA graphs without CUDA: operations are noted with the tensors they read and wrote, and done again on the same ones.

What a graph cannot hold is refused: questions of the host, and copies from its memory.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
_ASKING = {aten._local_scalar_dense, aten.item, aten.is_nonzero, aten.equal, aten.nonzero, aten.masked_select}
REFUSED = "operation not permitted when stream is capturing"


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in pytree.tree_leaves(values) if isinstance(value, Tensor)]


def _memory(tensor: Tensor) -> int:
    return getattr(tensor, "host", tensor).untyped_storage().data_ptr()


class Graph(TorchDispatchMode):
    """``torch.cuda.CUDAGraph``: filled inside ``capturing``, and played by ``replay``."""

    def __init__(self) -> None:
        super().__init__()
        self._done: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = _tensors((args, kwargs))
        if func.overloadpacket in _ASKING:
            raise RuntimeError(f"{REFUSED}: {func}")
        if len({tensor.device.type for tensor in given if tensor.dim()}) > 1:
            raise RuntimeError(f"{REFUSED}: {func} on memory of the host")
        result = func(*args, **kwargs)
        known = {_memory(tensor) for tensor in given}
        new = [tensor for tensor in _tensors(result) if _memory(tensor) not in known]
        changes = any(
            argument.alias_info is not None and argument.alias_info.is_write for argument in func._schema.arguments
        )
        if new or changes:
            self._done.append((func, args, kwargs, new))
        return result

    def replay(self) -> None:
        for func, args, kwargs, written in self._done:
            known = {_memory(tensor) for tensor in _tensors((args, kwargs))}
            again = [tensor for tensor in _tensors(func(*args, **kwargs)) if _memory(tensor) not in known]
            for target, value in zip(written, again, strict=True):
                target.copy_(value)


@contextmanager
def capturing(graph: Graph, **_: Any) -> Iterator[None]:
    """``torch.cuda.graph``; what was written while capturing is no result yet."""
    with graph:
        yield
    for _, _, _, written in graph._done:
        for tensor in written:
            if tensor.is_floating_point():
                tensor.fill_(float("nan"))


def capture(step: Callable[[], None]) -> Callable[[], None]:
    """As ``pipeline.models.devices.graphs`` does it, on any device."""
    for _ in range(2):
        step()
    graph = Graph()
    with capturing(graph):
        step()
    return graph.replay
