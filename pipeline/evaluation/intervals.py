"""95 % intervals that hold for few videos and near 0 and 1, where the normal approximation is too sure of itself."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.statistics import clustered_errors

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A figure with its 95 % interval; None ends where fewer than two videos tell nothing about others."""

    value: float
    low: float | None
    high: float | None

    def percent(self, *, digits: int = 0, signed: bool = False) -> str:
        """``70 [61, 78]``, in hundredths."""
        sign = "+" if signed else ""
        shown = f"{100 * self.value:{sign}.{digits}f}"
        if self.low is None or self.high is None:
            return shown
        return f"{shown} [{100 * self.low:{sign}.{digits}f}, {100 * self.high:{sign}.{digits}f}]"


def student_quantile(degrees: int) -> float:
    """97.5 % quantile of Student's t: exact for 1 and 2 degrees of freedom, else Hill's expansion (within 0.005).

    Raises:
        ValueError: Without a degree of freedom.
    """
    if degrees < 1:
        raise ValueError(f"degrees must be at least 1, got {degrees}")
    if degrees == 1:
        return math.tan(0.475 * math.pi)
    if degrees == 2:
        return 2 * 0.475 * math.sqrt(2 / (4 * 0.975 * 0.025))
    z, v = _Z, degrees
    terms = (
        (z**3 + z) / 4 / v,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96 / v**2,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384 / v**3,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160 / v**4,
    )
    return z + sum(terms)


def share_interval(is_true: npt.ArrayLike, videos: Sequence[Hashable]) -> Interval:
    """Wilson's interval of a share, with Student's quantile and the sample size that clustering by video leaves.

    The effective size is n over the design effect (Kish), at least 1; where all are alike there is none to see.
    """
    values = np.asarray(is_true, dtype=np.float64)
    share, size, clusters = float(values.mean()), float(len(values)), len(set(videos))
    if clusters < 2:
        return Interval(value=share, low=None, high=None)
    variance = share * (1 - share) / size
    if variance > 0:
        clustered = float(clustered_errors(values[:, None], videos, is_for_few=True)[0]) ** 2
        size /= max(1.0, clustered / variance)
    t = student_quantile(clusters - 1)
    middle = (share + t**2 / (2 * size)) / (1 + t**2 / size)
    arm = t / (1 + t**2 / size) * math.sqrt(share * (1 - share) / size + t**2 / (4 * size**2))
    return Interval(value=share, low=max(0.0, middle - arm), high=min(1.0, middle + arm))


def mean_interval(values: npt.ArrayLike, videos: Sequence[Hashable]) -> Interval:
    """Student's interval of a mean, e.g. of paired differences, clustered by video."""
    of_questions = np.asarray(values, dtype=np.float64)
    mean, clusters = float(of_questions.mean()), len(set(videos))
    if clusters < 2:
        return Interval(value=mean, low=None, high=None)
    error = float(clustered_errors(of_questions[:, None], videos, is_for_few=True)[0])
    arm = student_quantile(clusters - 1) * error
    return Interval(value=mean, low=mean - arm, high=mean + arm)
