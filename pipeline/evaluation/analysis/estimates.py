"""Means and ratios over questions with the error that questions about one video share."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.scoring.clustering import clustered_error

_QUANTILE = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A figure with its standard error, clustered by video; None with fewer than two videos."""

    value: float
    error: float | None

    @property
    def low(self) -> float | None:
        """Lower end of the 95 % interval, normal approximation."""
        return None if self.error is None else self.value - _QUANTILE * self.error

    @property
    def high(self) -> float | None:
        """Upper end of it."""
        return None if self.error is None else self.value + _QUANTILE * self.error

    def percent(self, *, digits: int = 1) -> str:
        """``70.5 [68.1, 72.9]``, in hundredths; without the interval where there is none."""
        shown = f"{100 * self.value:.{digits}f}"
        if self.low is None or self.high is None:
            return shown
        return f"{shown} [{100 * self.low:.{digits}f}, {100 * self.high:.{digits}f}]"


def estimate_mean(values: npt.ArrayLike, videos: Sequence[str]) -> Estimate:
    """Mean over questions."""
    of_questions = np.asarray(values, dtype=np.float64)
    return Estimate(value=float(of_questions.mean()), error=clustered_error(of_questions, videos))


def estimate_ratio(counted: npt.ArrayLike, of: npt.ArrayLike, videos: Sequence[str]) -> Estimate:
    """Sum over sum, e.g. groups scored of groups planned; the error by linearisation."""
    above, below = np.asarray(counted, dtype=np.float64), np.asarray(of, dtype=np.float64)
    ratio = float(above.sum() / below.sum())
    return Estimate(value=ratio, error=clustered_error((above - ratio * below) / below.mean(), videos))


def measure_auroc(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> float | None:
    """Probability that a positive's value is below a negative's, ties counting half; None where one side is empty."""
    low, high = np.asarray(positives, dtype=np.float64), np.sort(np.asarray(negatives, dtype=np.float64))
    if not len(low) or not len(high):
        return None
    below, upto = np.searchsorted(high, low, side="left"), np.searchsorted(high, low, side="right")
    return float((len(high) - upto + 0.5 * (upto - below)).mean() / len(high))
