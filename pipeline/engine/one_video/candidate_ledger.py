"""How many candidate tokens a video's groups hold, all scorers together: counted from dispatch, cut with retentions."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.engine.one_video.question_state import LARGEST_LAG, WORTH_TELLING

IntArray = npt.NDArray[np.int64]


class CandidateLedger:
    """One video's. A token that several questions hold counts once where that is certain: a group never exceeds itself.

    A group handed out and lost keeps its count until it is scored again or forgotten, and who is passed over by a later
    group counts like it: so the groups that a question waits for never wait for room behind those that came early.
    """

    def __init__(self, num_tokens_G: IntArray, *, num_questions: int) -> None:
        self._num_tokens: list[int] = num_tokens_G.tolist()
        self._num_questions = num_questions
        self.clear()

    def clear(self) -> None:
        """Nobody holds anything."""
        self._limits = [[0] * self._num_questions for _ in self._num_tokens]  # by group, by question
        self._sums = [0] * len(self._num_tokens)
        self.num_tokens = 0

    def cost(self, positions: Iterable[int]) -> int:
        """Tokens by which handing groups out would raise the count."""
        return sum(max(0, self._num_tokens[position] - self._sums[position]) for position in positions)

    def hand_out(self, positions: Iterable[int], questions: Sequence[int]) -> None:
        """Groups are scored now, or must be soon: all their tokens count."""
        for position in positions:
            of_group, most, before = self._limits[position], self._num_tokens[position], self._sums[position]
            for question in questions:
                of_group[question] = most
            self._sums[position] = after = sum(of_group)
            self.num_tokens += min(after, most) - min(before, most)

    def cut(self, limits: Mapping[int, Mapping[int, int]]) -> None:
        """Questions hold fewer tokens of some groups: question -> group position -> limit."""
        for question, of_question in limits.items():
            for position, limit in of_question.items():
                of_group, most, before = self._limits[position], self._num_tokens[position], self._sums[position]
                self._sums[position] = after = before + limit - of_group[question]
                of_group[question] = limit
                self.num_tokens += (after if after < most else most) - (before if before < most else most)

    def forget(self, positions: Iterable[int]) -> None:
        """Nobody holds anything of these groups."""
        for position in positions:
            self.num_tokens -= min(self._sums[position], self._num_tokens[position])
            self._limits[position], self._sums[position] = [0] * self._num_questions, 0


def bound_tokens(num_tokens_G: IntArray, *, budget: int | None, num_questions: int) -> int:
    """Most candidates that a video needs at once to get on: per question the oversold budget and one token per group.

    It is a quarter more where limits that shrank little were not told. Whole groups come on top, being scored or not
    cut yet; nothing exceeds all tokens.

    Args:
        num_tokens_G: tokens per group.
        budget: the oversold budget; None keeps all tokens.
        num_questions: that are not over.
    """
    total = int(num_tokens_G.sum())
    if budget is None or num_questions == 0:
        return total if num_questions else 0
    of_new, of_old = WORTH_TELLING
    told = -(-num_questions * (budget + len(num_tokens_G)) * of_new // of_old)
    return min(total, told + LARGEST_LAG * int(num_tokens_G.max()))
