"""Two runs over the same questions: who is better, and is it more than chance?"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pipeline.evaluation.scoring.judging import Judged
from pipeline.evaluation.statistics import clustered_error

_QUANTILE = NormalDist().inv_cdf(0.975)
FEW_VIDEOS = 20
"""With fewer clusters the normal approximation is too sure of itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """``other`` minus ``baseline`` over the questions that both were asked; differences are in [-1, 1].

    Attributes:
        num_only_other: questions that only ``other`` has right.
        low: lower end of the 95 % interval, clustered by video; None with fewer than two videos.
        p_value: two-sided, normal approximation; None likewise.
    """

    baseline: str
    other: str
    num_questions: int
    num_videos: int
    num_only_other: int
    num_only_baseline: int
    difference: float
    standard_error: float | None
    low: float | None
    high: float | None
    p_value: float | None


def compare_runs(baseline: Sequence[Judged], other: Sequence[Judged], *, names: tuple[str, str]) -> Comparison | None:
    """Pair two runs by question id; None when they share no question."""
    by_id = {item.answer.question_id: item for item in other}
    pairs = [(item, by_id[item.answer.question_id]) for item in baseline if item.answer.question_id in by_id]
    if not pairs:
        return None
    differences = np.array([float(second.is_right) - float(first.is_right) for first, second in pairs])
    videos = [first.answer.video for first, _ in pairs]
    error = clustered_error(differences, videos)
    mean = float(differences.mean())
    return Comparison(
        baseline=names[0],
        other=names[1],
        num_questions=len(pairs),
        num_videos=len(set(videos)),
        num_only_other=int((differences > 0).sum()),
        num_only_baseline=int((differences < 0).sum()),
        difference=mean,
        standard_error=error,
        low=None if error is None else mean - _QUANTILE * error,
        high=None if error is None else mean + _QUANTILE * error,
        p_value=None if error is None else _p_value(mean, error),
    )


def _p_value(mean: float, error: float) -> float:
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * NormalDist().cdf(-abs(mean) / error)
