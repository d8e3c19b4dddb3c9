"""How many candidate tokens a video's groups hold, all scorers together: counted from dispatch, cut with retentions.

Shape suffixes: Q = questions, G = groups
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.engine.question_state import LARGEST_LAG

IntArray = npt.NDArray[np.int64]


class CandidateLedger:
    """One video's. A token that several questions hold counts once where that is certain: a group never exceeds itself.

    A group handed out and lost keeps its count until it is scored again or forgotten, and who is passed over by a later
    group counts like it: so the groups that a question waits for never wait for room behind those that came early.
    """

    def __init__(self, num_tokens_G: IntArray, *, num_questions: int) -> None:
        self._num_tokens_G = num_tokens_G
        self._limits_QG = np.zeros((num_questions, len(num_tokens_G)), dtype=np.int64)
        self._num_tokens: int | None = 0

    @property
    def num_tokens(self) -> int:
        """Tokens held now."""
        if self._num_tokens is None:
            self._num_tokens = int(np.minimum(self._limits_QG.sum(axis=0), self._num_tokens_G).sum())
        return self._num_tokens

    def cost(self, positions: Sequence[int]) -> int:
        """Tokens by which handing groups out would raise the count."""
        rows = list(positions)
        held = np.minimum(self._limits_QG[:, rows].sum(axis=0), self._num_tokens_G[rows])
        return int((self._num_tokens_G[rows] - held).sum())

    def hand_out(self, positions: Sequence[int], questions: Sequence[int]) -> None:
        """Groups are scored now, or must be soon: all their tokens count."""
        rows = list(positions)
        self._limits_QG[np.ix_(list(questions), rows)] = self._num_tokens_G[rows]
        self._num_tokens = None

    def cut(self, question: int, limits: Mapping[int, int]) -> None:
        """A question holds this many tokens of some groups: group position -> limit."""
        self._limits_QG[question, list(limits.keys())] = list(limits.values())
        self._num_tokens = None

    def forget(self, positions: Sequence[int]) -> None:
        """Nobody holds anything of these groups."""
        self._limits_QG[:, list(positions)] = 0
        self._num_tokens = None

    def clear(self) -> None:
        """Nobody holds anything."""
        self._limits_QG[:] = 0
        self._num_tokens = 0


def bound_tokens(num_tokens_G: IntArray, *, budget: int | None, num_questions: int) -> int:
    """Most candidates that a video needs at once to get on: per question the oversold budget and one token per group.

    Whole groups come on top, being scored or not cut yet; nothing exceeds all tokens.

    Args:
        num_tokens_G: tokens per group.
        budget: the oversold budget; None keeps all tokens.
        num_questions: that are not over.
    """
    total = int(num_tokens_G.sum())
    if budget is None or num_questions == 0:
        return total if num_questions else 0
    return min(total, num_questions * (budget + len(num_tokens_G)) + LARGEST_LAG * int(num_tokens_G.max()))
