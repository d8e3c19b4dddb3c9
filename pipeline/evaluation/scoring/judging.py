"""Right or wrong, answer by answer, under one scorer."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.evaluation.scoring.answers import Answer
from pipeline.evaluation.scoring.readings import NOTHING, Reading
from pipeline.evaluation.scoring.scorers import Scorer
from pipeline.method.stopping import normalize_response


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """One answer whose truth is known. A failed, missing or unparsed answer is wrong."""

    answer: Answer
    reading: Reading
    is_right: bool

    @property
    def is_unparsed(self) -> bool:
        """Whether there was a response, but no letter in it."""
        return self.answer.is_answered and self.answer.options is not None and self.reading.letter is None


def judge(answers: Sequence[Answer], scorer: Scorer) -> list[Judged]:
    """Judge the answers whose truth is known; those to open questions by their words, whatever the scorer.

    Raises:
        ValueError: The scorer has no rule for a benchmark.
    """
    return [_judge(answer, answer.expected, scorer) for answer in answers if answer.expected is not None]


def _judge(answer: Answer, expected: str, scorer: Scorer) -> Judged:
    if not answer.is_answered:
        return Judged(answer=answer, reading=NOTHING, is_right=False)
    if answer.options is None:
        is_right = normalize_response(expected) in normalize_response(answer.answer).split()
        return Judged(answer=answer, reading=Reading(None, "words"), is_right=is_right)
    reading = scorer(answer.response)
    return Judged(answer=answer, reading=reading, is_right=reading.letter == expected)
