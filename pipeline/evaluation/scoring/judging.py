"""Right or wrong, answer by answer, under one scorer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.evaluation.benchmarks import ARCHIVE, BENCHMARKS
from pipeline.evaluation.scoring.answers import Answer, read_answer
from pipeline.evaluation.scoring.readings import NOTHING, Reading
from pipeline.evaluation.scoring.scorers import Scorer, default_scorer, get_scorer
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


def judge_row(row: Mapping[str, object]) -> bool | None:
    """Whether a row is right, by the rule that ``evaluate`` takes when it is told none; None where nobody knows.

    A column ``benchmark`` of somebody's own, which names none that is known here, changes nothing.
    """
    benchmark = BENCHMARKS.get(str(row.get("benchmark") or ""), ARCHIVE)
    judged = judge([read_answer(row, benchmark)], get_scorer(default_scorer(benchmark.name)))
    return judged[0].is_right if judged else None


def _judge(answer: Answer, expected: str, scorer: Scorer) -> Judged:
    if not answer.is_answered:
        return Judged(answer=answer, reading=NOTHING, is_right=False)
    if answer.options is None:
        is_right = normalize_response(expected) in normalize_response(answer.answer).split()
        return Judged(answer=answer, reading=Reading(None, "words"), is_right=is_right)
    reading = scorer(answer.response)
    return Judged(answer=answer, reading=reading, is_right=reading.letter == expected)
