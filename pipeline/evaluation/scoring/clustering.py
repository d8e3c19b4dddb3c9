"""The error of a mean over questions: those about one video are not independent."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.demo import scoreboard


def clustered_error(values: npt.NDArray[np.float64], videos: Sequence[str]) -> float | None:
    """Standard error of the mean, clustered by video; None with fewer than two, which tell nothing about others."""
    return scoreboard.clustered_error(values, videos) if len(set(videos)) > 1 else None
