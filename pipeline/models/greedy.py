"""Ways to continue open questions after the pass that gave their first tokens.

Shape suffixes: B = questions that go on, T = keys in the cache
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pipeline.models.generation import extend_greedily
from pipeline.models.key_parts import KeyState
from pipeline.models.responses import PendingResponses
from pipeline.models.text_model import TextModel


class Greedy(Protocol):
    """One way to generate greedily."""

    def extend(
        self,
        text: TextModel,
        pending: PendingResponses,
        indices: Sequence[int],
        *,
        state: KeyState,
        bounds: Sequence[tuple[int, int]],
        next_positions: Sequence[int],
    ) -> None:
        """Continue responses, which hold their first token, until all have ended.

        Args:
            text: the language model.
            pending: responses of the pass; its rows are extended in place.
            indices: which of them go on.
            state: keys and values after the pass; may be changed.
            bounds: half-open range of each one's own tokens in the pass's row.
            next_positions: rotary position of each one's first response token.
        """
        ...


class GrowingGreedy:
    """A cache that grows by a token and step; the host reads every token."""

    def extend(
        self,
        text: TextModel,
        pending: PendingResponses,
        indices: Sequence[int],
        *,
        state: KeyState,
        bounds: Sequence[tuple[int, int]],
        next_positions: Sequence[int],
    ) -> None:
        """See ``Greedy``."""
        place_S = np.arange(state.num_own)
        own_BS = np.stack([(start <= place_S) & (place_S < stop) for start, stop in bounds])
        shared_BP = np.ones((len(bounds), state.num_shared), dtype=bool)
        extend_greedily(
            text,
            [pending.rows[index] for index in indices],
            cache=state.fill(text.new_cache()),
            visible_BT=np.concatenate([shared_BP, own_BS], axis=1),
            next_positions=next_positions,
        )
