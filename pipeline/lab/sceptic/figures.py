"""What a sceptic wants to know of finished runs: accuracy by kind beside chance, what entropy buys, calibration.

Rows are those of the results, with the benchmark's columns ``kind`` and ``expected``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.evaluation.intervals import Interval, mean_interval, share_interval
from pipeline.evaluation.statistics import measure_auroc

Row = Mapping[str, Any]
CERTAIN_NATS = 0.1
_BINS = 10


def is_right(row: Row) -> bool:
    """Whether the letter is the expected one; a failed row is wrong."""
    return bool(row["status"] == "ok" and row["answer"] == row["expected"])


def accuracy_by_kind(rows: Sequence[Row]) -> dict[str, Interval]:
    """Of the questions that have an answer, by kind and as ``all``."""
    answerable = [row for row in rows if row["expected"] is not None]
    found = {"all": answerable}
    for row in answerable:
        found.setdefault(str(row["kind"]), []).append(row)
    return {
        kind: share_interval([is_right(row) for row in of_kind], [str(row["video"]) for row in of_kind])
        for kind, of_kind in found.items()
        if of_kind
    }


def majority_by_kind(rows: Sequence[Row]) -> dict[str, float]:
    """How often the likeliest text of each kind is right: what guessing without a look has."""
    texts: dict[str, Counter[str]] = {}
    for row in rows:
        if row["expected"] is not None:
            said = row["options"]["ABCD".index(row["expected"])]
            texts.setdefault(str(row["kind"]), Counter())[str(said)] += 1
    return {kind: max(counts.values()) / counts.total() for kind, counts in texts.items()}


def difference_by_kind(rows: Sequence[Row], others: Sequence[Row]) -> dict[str, Interval]:
    """``rows`` minus ``others``, paired by question, by kind and as ``all``."""
    by_id = {row["question_id"]: row for row in others}
    gains: dict[str, list[tuple[float, str]]] = {"all": []}
    for row in rows:
        if row["expected"] is None or row["question_id"] not in by_id:
            continue
        gain = float(is_right(row)) - float(is_right(by_id[row["question_id"]])), str(row["video"])
        gains["all"].append(gain)
        gains.setdefault(str(row["kind"]), []).append(gain)
    return {
        kind: mean_interval([gain for gain, _ in pairs], [video for _, video in pairs])
        for kind, pairs in gains.items()
        if pairs
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """Answers whose probability lies in ``[low, high)``."""

    low: float
    high: float
    num_answers: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """How far the probability of the answer given is from how often it is right.

    Attributes:
        expected_error: mean distance over the bins, weighted by answers (ECE).
        bins: those with an answer.
    """

    expected_error: float
    bins: tuple[ReliabilityBin, ...]


def calibration_of(rows: Sequence[Row]) -> Reliability | None:
    """Over the questions that have an answer; None without any."""
    ok = [row for row in rows if row["status"] == "ok" and row["expected"] is not None and row["option_probabilities"]]
    if not ok:
        return None
    confidence = np.array([max(row["option_probabilities"]) for row in ok])
    right = np.array([is_right(row) for row in ok], dtype=np.float64)
    number = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    bins = tuple(
        ReliabilityBin(
            low=index / _BINS,
            high=(index + 1) / _BINS,
            num_answers=int((number == index).sum()),
            confidence=float(confidence[number == index].mean()),
            accuracy=float(right[number == index].mean()),
        )
        for index in range(_BINS)
        if (number == index).any()
    )
    error = sum(one.num_answers * abs(one.confidence - one.accuracy) for one in bins) / len(ok)
    return Reliability(expected_error=float(error), bins=bins)


def absent_auroc(rows: Sequence[Row]) -> dict[str, float | None]:
    """AUROC of ``answer_entropy`` for questions without an answer against those of each kind that have one."""
    ok = [row for row in rows if row["status"] == "ok"]
    without = [row["answer_entropy"] for row in ok if row["expected"] is None]
    kinds = dict.fromkeys(str(row["kind"]) for row in ok if row["expected"] is not None)
    return {
        kind: measure_auroc([row["answer_entropy"] for row in ok if row["kind"] == kind], without) for kind in kinds
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class FalseCertainty:
    """Groups at or below ``CERTAIN_NATS``, of questions that have an answer.

    Attributes:
        certain_share: of all groups.
        wrong_share: of the certain ones.
        wrong_questions: share of questions with a wrong certain group.
        agreeing_questions: share of questions with two certain groups that agree on a wrong answer.
        unanswerable_share: of the groups of questions without an answer, how many are certain.
    """

    certain_share: float
    wrong_share: float
    wrong_questions: float
    agreeing_questions: float
    unanswerable_share: float


def false_certainty(rows: Sequence[Row]) -> FalseCertainty | None:
    """None where no question with an answer has groups."""
    scored = [row for row in rows if row["status"] == "ok" and row["groups"]]
    with_answer = [row for row in scored if row["expected"] is not None]
    without = [row for row in scored if row["expected"] is None]
    if not with_answer:
        return None
    certain = [[g for g in row["groups"] if g["entropy"] <= CERTAIN_NATS] for row in with_answer]
    wrong = [
        Counter(g["response"] for g in groups if not str(g["response"]).startswith(row["expected"]))
        for row, groups in zip(with_answer, certain, strict=True)
    ]
    num_certain, num_groups = sum(map(len, certain)), sum(len(row["groups"]) for row in with_answer)
    of_none = [group["entropy"] <= CERTAIN_NATS for row in without for group in row["groups"]]
    return FalseCertainty(
        certain_share=num_certain / num_groups,
        wrong_share=sum(counts.total() for counts in wrong) / max(1, num_certain),
        wrong_questions=sum(bool(counts) for counts in wrong) / len(with_answer),
        agreeing_questions=sum(max(counts.values(), default=0) >= 2 for counts in wrong) / len(with_answer),
        unanswerable_share=float(np.mean(of_none)) if of_none else 0.0,
    )
