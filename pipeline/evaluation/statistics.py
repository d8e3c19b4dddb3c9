"""Means and ratios over questions with the error that questions about one video share, and AUROC."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
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


def clustered_error(values_N: npt.ArrayLike, clusters_N: Sequence[Hashable]) -> float | None:
    """Standard error of the mean, clustered; None with fewer than two clusters, which tell nothing about others."""
    if len(set(clusters_N)) < 2:
        return None
    return float(clustered_errors(np.asarray(values_N, dtype=np.float64)[:, None], clusters_N)[0])


def clustered_errors(values_NL: FloatArray, clusters_N: Sequence[Hashable], *, is_for_few: bool = False) -> FloatArray:
    """``(L,)`` standard errors of the means over N values in clusters (Liang and Zeger's sandwich estimator).

    Args:
        values_NL: one column per mean.
        clusters_N: which cluster each row belongs to, e.g. its video.
        is_for_few: with C clusters the variance is multiplied by C / (C - 1), for where they are few.
    """
    number_of = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters_N))}
    numbers_N = np.array([number_of[cluster] for cluster in clusters_N])
    residual_NL = values_NL - values_NL.mean(axis=0)
    totals_CL = np.stack([residual_NL[numbers_N == number].sum(axis=0) for number in range(len(number_of))])
    correction = len(totals_CL) / (len(totals_CL) - 1) if is_for_few else 1.0
    return np.asarray(np.sqrt(np.square(totals_CL).sum(axis=0) * correction) / len(values_NL))
