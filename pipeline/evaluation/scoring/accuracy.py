"""Accuracies with their errors, clustered by video: over questions, by category, averaged over categories."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.scoring.judging import Judged
from pipeline.evaluation.statistics import clustered_error


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """A share of right answers, in [0, 1].

    Attributes:
        standard_error: clustered by video; None with fewer than two videos, which tell nothing about others.
    """

    num_questions: int
    num_right: int
    num_videos: int
    accuracy: float
    standard_error: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MacroAccuracy:
    """The mean of a category's accuracies, each value counting the same."""

    category: str
    num_values: int
    accuracy: float
    standard_error: float | None


def measure_accuracy(judged: Sequence[Judged]) -> Accuracy | None:
    """Accuracy over questions; None without any."""
    if not judged:
        return None
    right = np.array([item.is_right for item in judged], dtype=np.float64)
    videos = [item.answer.video for item in judged]
    return Accuracy(
        num_questions=len(judged),
        num_right=int(right.sum()),
        num_videos=len(set(videos)),
        accuracy=float(right.mean()),
        standard_error=clustered_error(right, videos),
    )


def accuracy_by_category(judged: Sequence[Judged], category: str) -> dict[str, Accuracy]:
    """Accuracy by value of one category; numbers in order, other values by name."""
    return _by_value(
        judged, lambda item: [item.answer.categories[category]] if category in item.answer.categories else []
    )


def accuracy_by_label(judged: Sequence[Judged]) -> dict[str, Accuracy]:
    """Accuracy by label; a question counts in each of its labels."""
    return _by_value(judged, lambda item: list(item.answer.labels))


def macro_accuracy(judged: Sequence[Judged], category: str) -> MacroAccuracy | None:
    """The mean over a category's values.

    Its error is that of a weighted mean: a question of a value with n questions weighs 1 / (n x number of values).
    """
    own = [item for item in judged if category in item.answer.categories]
    parts = accuracy_by_category(own, category)
    if not parts:
        return None
    shares = [parts[item.answer.categories[category]] for item in own]
    influence = np.array(
        [(item.is_right - part.accuracy) / part.num_questions for item, part in zip(own, shares, strict=True)]
    )
    return MacroAccuracy(
        category=category,
        num_values=len(parts),
        accuracy=float(np.mean([part.accuracy for part in parts.values()])),
        standard_error=clustered_error(influence * len(own) / len(parts), [item.answer.video for item in own]),
    )


def _by_value(judged: Sequence[Judged], values_of: Callable[[Judged], Iterable[str]]) -> dict[str, Accuracy]:
    groups: dict[str, list[Judged]] = {}
    for item in judged:
        for value in dict.fromkeys(values_of(item)):
            groups.setdefault(value, []).append(item)
    measured = {value: measure_accuracy(groups[value]) for value in sorted(groups, key=_order)}
    return {value: accuracy for value, accuracy in measured.items() if accuracy is not None}


def _order(value: str) -> tuple[float, str]:
    is_number = value.replace(".", "", 1).isdecimal()
    return (float(value), value) if is_number else (float("inf"), value)
