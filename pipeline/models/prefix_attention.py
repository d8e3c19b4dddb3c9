"""How suffixes that stand in one row attend to the prefix they share and to themselves: two ways with one result.

Shape suffixes:
- A = query heads, G = key heads, S = tokens of all suffixes, P = prefix, K = P + S, D = head or hidden size
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from pipeline.models.attention_probe import AttentionProbe
from pipeline.models.generation import additive_mask
from pipeline.models.key_parts import KeyState, Layers, PassingCache
from pipeline.models.partial_attention import Merged, SuffixPlaces, attend, attend_suffixes, merge
from pipeline.models.text_model import TextModel

Bounds = Sequence[tuple[int, int]]


class PrefixAttention(Protocol):
    """One way to run a row of suffixes."""

    def plan(self, text: TextModel, bounds: Bounds, prefix_length: int) -> Any:
        """What depends on lengths alone: the same for every group of that length.

        Args:
            text: the language model.
            bounds: half-open range of each suffix in the row; without gaps, from 0.
            prefix_length: tokens of the prefix.
        """
        ...

    def run(
        self,
        text: TextModel,
        embeddings_SD: Tensor,
        positions_S: Tensor,
        *,
        layers: Layers,
        plan: Any,
        probe: AttentionProbe,
    ) -> tuple[Tensor, KeyState]:
        """Last hidden states ``(S, D)``, and keys and values for whoever goes on; fills the probe.

        Args:
            text: the language model.
            embeddings_SD: of the row.
            positions_S: rotary positions.
            layers: of the prefix, which stay as they are.
            plan: of the row's lengths.
            probe: filled at its layer.
        """
        ...


class DensePrefixAttention:
    """Prefix and row in one cache, and a mask that hides the other suffixes."""

    def plan(self, text: TextModel, bounds: Bounds, prefix_length: int) -> Tensor:
        """The additive mask ``(1, 1, S, K)``."""
        owner_S = np.repeat(np.arange(len(bounds)), [stop - start for start, stop in bounds])
        place_S = np.arange(len(owner_S))
        among_SS = (owner_S[:, None] == owner_S[None, :]) & (place_S[:, None] >= place_S[None, :])
        before_SP = np.ones((len(owner_S), prefix_length), dtype=bool)
        return additive_mask(np.concatenate([before_SP, among_SS], axis=1), text)

    def run(
        self,
        text: TextModel,
        embeddings_SD: Tensor,
        positions_S: Tensor,
        *,
        layers: Layers,
        plan: Tensor,
        probe: AttentionProbe,
    ) -> tuple[Tensor, KeyState]:
        """See ``PrefixAttention``; copies the prefix's keys and values into the cache."""
        cache = text.new_cache()
        for index, (keys, values) in enumerate(layers):
            cache.update(keys, values, index)
        hidden_SD = text.run(embeddings_SD, positions_S, cache=cache, mask_11TK=plan, probe=probe)
        return hidden_SD, KeyState(num_shared=layers[0][0].shape[2], num_own=len(embeddings_SD), cache=cache)


class CascadePrefixAttention:
    """Attention to the prefix, which nothing masks, and to the own suffix, merged by their log-sum-exp.

    There is no mask, and no copy of the prefix's keys and values, neither for the row nor for each query head.
    """

    def plan(self, text: TextModel, bounds: Bounds, prefix_length: int) -> SuffixPlaces:
        """Where the suffixes stand."""
        return SuffixPlaces(bounds, text.device)

    def run(
        self,
        text: TextModel,
        embeddings_SD: Tensor,
        positions_S: Tensor,
        *,
        layers: Layers,
        plan: SuffixPlaces,
        probe: AttentionProbe,
    ) -> tuple[Tensor, KeyState]:
        """See ``PrefixAttention``."""
        parts = _RowParts(layers=layers, places=plan)
        num_shared = layers[0][0].shape[2]
        hidden_SD = text.run(embeddings_SD, positions_S, cache=PassingCache(num_shared), parts=parts, probe=probe)
        own = tuple(parts.own[layer] for layer in range(len(layers)))
        return hidden_SD, KeyState(num_shared=num_shared, num_own=len(embeddings_SD), parts=(layers, own))


@dataclass(kw_only=True, slots=True, eq=False)
class _RowParts:
    """``KeyParts`` of one row of suffixes; ``own`` is filled by the pass."""

    layers: Layers
    places: SuffixPlaces
    own: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scaling: float) -> Merged:
        self.own[layer] = key, value
        of_prefix = attend(query, *self.layers[layer], scaling=scaling)
        of_suffix = attend_suffixes(query, key, value, self.places, scaling=scaling)
        return merge(of_prefix, of_suffix, query.dtype)

    def prefix_keys(self, layer: int) -> Tensor:
        return self.layers[layer][0]
