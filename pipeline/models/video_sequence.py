"""A video as a language model is shown it: token ids, rotary positions, and where the visual tokens stand.

Each family lays out its own; what is done with one is the same for all.

Shape suffixes:
- T = all tokens before the question, N = visual tokens, A = rotary axes
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
_POSITIONS = ("absolute", "compact", "patch-index")


def check_positions(positions: str) -> None:
    """Refuse what ``answering.positions`` does not know.

    Raises:
        ValueError: It is none of its values.
    """
    if positions not in _POSITIONS:
        raise ValueError(f"positions must be one of {', '.join(map(repr, _POSITIONS))}, got {positions!r}")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VideoSequence:
    """Everything before the question.

    Attributes:
        ids_T: token ids, with a place holder for each visual token.
        positions: rotary positions, ``(T,)`` for plain ones, or ``(A, T)``.
        visual: where the visual tokens stand: a slice, or ``(N,)`` ascending where text stands between them.
        next_position: rotary position of what follows.
    """

    ids_T: IntArray
    positions: IntArray
    visual: slice | IntArray
    next_position: int

    def ids_with(self, suffix: Sequence[int]) -> IntArray:
        """Token ids of the video and of text after it."""
        return np.append(self.ids_T, np.asarray(suffix, dtype=np.int64))

    def positions_with(self, num_suffix: int) -> IntArray:
        """Rotary positions of the video and of so many text tokens after it, which are the same on all axes."""
        suffix = self.next_position + np.arange(num_suffix)
        return np.concatenate([self.positions, np.broadcast_to(suffix, (*self.positions.shape[:-1], num_suffix))], -1)
