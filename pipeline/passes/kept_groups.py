"""What one question about a video leaves for the next: visual tokens on the host, prefixes where they were computed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from pipeline.models.devices.memory import free_bytes
from pipeline.models.interface import Encoded

_HOST_SHARE, _DEVICE_SHARE = 0.25, 0.5  # of what is free when a video is opened
_UNKNOWN_FREE_BYTES = 4 * 1024**3
_CPU = torch.device("cpu")
Prefix = TypeVar("Prefix")


class KeptGroups:
    """Groups by their number in time, as many as fit; nothing is ever put out again, so that answers hang on nothing.

    Args:
        most_token_bytes: of visual tokens.
        most_prefix_bytes: of prefixes.
    """

    def __init__(self, *, most_token_bytes: int, most_prefix_bytes: int) -> None:
        self._room = {"tokens": most_token_bytes, "prefix": most_prefix_bytes}
        self._encoded: dict[int, Encoded] = {}
        self._prefixes: dict[int, Any] = {}

    @classmethod
    def for_device(cls, device: torch.device) -> "KeptGroups":
        """With room by what is free on this machine now."""
        host = int(_HOST_SHARE * (free_bytes("cpu") or _UNKNOWN_FREE_BYTES))
        if device.type == "cpu":
            return cls(most_token_bytes=host, most_prefix_bytes=host)
        return cls(most_token_bytes=host, most_prefix_bytes=int(_DEVICE_SHARE * (free_bytes(str(device)) or 0)))

    def has(self, group_index: int) -> bool:
        """Whether its visual tokens are here."""
        return group_index in self._encoded

    def encoded(self, group_index: int, device: torch.device, encode: Callable[[], Encoded]) -> Encoded:
        """Its visual tokens, on the device; made where they are not here, and kept where there is room."""
        found = self._encoded.get(group_index)
        if found is not None:
            return _moved(found, device)
        made = encode()
        if self._take_room("tokens", made):
            self._encoded[group_index] = _moved(made, _CPU)
        return made

    def prefix(self, group_index: int, prefill: Callable[[], Prefix]) -> Prefix:
        """Its prefix as the model makes it, likewise; it is not changed by those who use it."""
        found: Prefix | None = self._prefixes.get(group_index)
        if found is not None:
            return found
        made = prefill()
        if self._take_room("prefix", made):
            self._prefixes[group_index] = made
        return made

    def _take_room(self, kind: str, value: object) -> bool:
        if not self._room[kind]:
            return False
        num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(value))
        fits = num_bytes <= self._room[kind]
        self._room[kind] -= num_bytes if fits else 0
        return fits


NOTHING_KEPT = KeptGroups(most_token_bytes=0, most_prefix_bytes=0)


def _moved(encoded: Encoded, device: torch.device) -> Encoded:
    moved = {name: value.to(device) for name, value in _fields(encoded).items() if isinstance(value, Tensor)}
    return replace(encoded, **moved)


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _tensors(value: Any) -> Iterator[Tensor]:
    """All that a prefix holds, however its family builds it."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _tensors(one)
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif is_dataclass(value):
        yield from _tensors(_fields(value))
