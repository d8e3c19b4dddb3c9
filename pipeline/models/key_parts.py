"""Keys and values in parts: what all questions share, and what is a pass's own; nobody puts them in one tensor.

Shape suffixes: G = key heads, P = shared tokens, S = tokens of the pass, D = head size
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import Cache

from pipeline.models.partial_attention import Merged

Layers = tuple[tuple[Tensor, Tensor], ...]  # keys and values of each layer


class KeyParts(Protocol):
    """Attends for the layers of one pass; reaches them as a keyword of the forward call."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scaling: float) -> Merged:
        """A layer's rotated queries over all that they may see; keys and values are those of the pass's tokens."""
        ...

    def prefix_keys(self, layer: int) -> Tensor:
        """``(1, G, P, D)``."""
        ...


class PassingCache(Cache):  # type: ignore[misc]
    """Gives a layer's new keys and values back as they came: whoever attends keeps the others.

    Args:
        num_before: positions before those of the pass; no position is higher than what comes after them.
    """

    def __init__(self, num_before: int) -> None:
        super().__init__(layers=[])
        self._num_before = num_before

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """As they came."""
        return key_states, value_states

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        """See ``num_before``."""
        return self._num_before


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KeyState:
    """Keys and values after a pass: in one cache of transformers, or in parts.

    Attributes:
        num_shared: tokens that all questions see; in a cache the first ones.
        num_own: those of the pass's row, after them.
        cache: None where there are only parts.
        parts: shared ``(1, G, P, D)`` and own ``(1, G, S, D)`` ones per layer.
    """

    num_shared: int
    num_own: int
    cache: Any = None
    parts: tuple[Layers, Layers] | None = None

    def split(self) -> tuple[Layers, Layers]:
        """Shared and own ones; views of the cache, whose layers must all be attention."""
        if self.parts is not None:
            return self.parts
        pairs = [(layer.keys, layer.values) for layer in self.cache.layers]
        edge, end = self.num_shared, self.num_shared + self.num_own
        shared = tuple((keys[:, :, :edge], values[:, :, :edge]) for keys, values in pairs)
        return shared, tuple((keys[:, :, edge:end], values[:, :, edge:end]) for keys, values in pairs)

    def fill(self, cache: Any) -> Any:
        """The cache that is there, or else an empty one with both parts, one after the other."""
        if self.parts is None:
            return self.cache
        for index, pairs in enumerate(zip(*self.parts, strict=True)):
            keys, values = (torch.cat(tensors, dim=2) for tensors in zip(*pairs, strict=True))
            cache.update(keys, values, index)
        return cache
