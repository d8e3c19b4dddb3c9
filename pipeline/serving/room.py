"""How much may be kept for further questions: bytes that several holders share, the one used longest ago gives way."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor


class Room:
    """A bound on bytes. For one thread."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._held: OrderedDict[str, int] = OrderedDict()
        self._drop: dict[str, Callable[[], None]] = {}

    @property
    def held_bytes(self) -> int:
        """Of all holders together."""
        return sum(self._held.values())

    def enter(self, holder: str, drop: Callable[[], None]) -> None:
        """Name a holder, or say that it is used again; ``drop`` lets go of everything that it holds."""
        self._held.setdefault(holder, 0)
        self._held.move_to_end(holder)
        self._drop[holder] = drop

    def take(self, holder: str, num_bytes: int) -> bool:
        """Whether the holder may keep so many more bytes; others are dropped for it, the oldest first."""
        if self._held[holder] + num_bytes > self.max_bytes:
            return False
        while self.held_bytes + num_bytes > self.max_bytes:
            oldest = next(name for name, held in self._held.items() if held and name != holder)
            self._held[oldest] = 0
            self._drop[oldest]()
        self._held[holder] += num_bytes
        return True

    def leave(self, holder: str) -> None:
        """Nothing of the holder is kept any more."""
        self._held.pop(holder, None)
        self._drop.pop(holder, None)


def tensor_bytes(value: object) -> int:
    """Bytes of all tensors in a record, however it is nested; memory that several share counts once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(value)}
    return sum(storages.values())


def _tensors(value: Any, seen: set[int] | None = None) -> Iterator[Tensor]:
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, str | bytes | int | float | type(None)):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tensors(inner, seen)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _tensors(inner, seen)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name), seen)
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        yield from _tensors(vars(value), seen)
