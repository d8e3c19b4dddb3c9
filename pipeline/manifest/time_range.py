"""The part of a video that a question is asked about: the columns ``start_s`` and ``end_s``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.manifest.problems import CellProblem, shown

LEAST_RANGE_S = 0.001


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeRange:
    """Half-open part ``[start_s, end_s)`` of a video, seconds of presentation time.

    Attributes:
        end_s: None: to the end of the video.
    """

    start_s: float = 0.0
    end_s: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and self.start_s >= 0):
            raise ValueError(f"start_s must be at least 0, got {self.start_s}: write seconds of the video's time")
        if self.end_s is None:
            return
        if not math.isfinite(self.end_s) or self.end_s - self.start_s < LEAST_RANGE_S:
            raise ValueError(
                f"end_s must lie {LEAST_RANGE_S} s after start_s={self.start_s:g} or later, got {self.end_s:g}: "
                "swap or correct them"
            )

    def __str__(self) -> str:
        return f"[{self.start_s:g}, {'end' if self.end_s is None else f'{self.end_s:g}'}) s"


def time_range(start_s: float | None, end_s: float | None) -> TimeRange | None:
    """The range of two bounds that may be left out; None asks about the whole video.

    Raises:
        ValueError: A bound is negative, no number, or not after the other.
    """
    if start_s is None and end_s is None:
        return None
    return TimeRange(start_s=start_s or 0.0, end_s=end_s)


def check_ranges(
    starts: Sequence[object] | None, ends: Sequence[object] | None
) -> tuple[list[TimeRange | None], list[CellProblem]]:
    """The ranges of rows; null in both columns asks about the whole video. One of the columns may be missing."""
    cells = starts or ends or ()
    ranges: list[TimeRange | None] = []
    problems: list[CellProblem] = []
    for row_index, (start, end) in enumerate(
        zip(starts or [None] * len(cells), ends or [None] * len(cells), strict=True)
    ):
        bounds: list[float | None] = []
        for column, value in (("start_s", start), ("end_s", end)):
            seconds = _seconds(value)
            if isinstance(seconds, str):
                problems.append(CellProblem(row_index=row_index, column=column, message=seconds))
            else:
                bounds.append(seconds)
        found = None
        if len(bounds) == 2:
            try:
                found = time_range(*bounds)
            except ValueError as error:
                problems.append(CellProblem(row_index=row_index, column="end_s", message=str(error)))
        ranges.append(found)
    return ranges, problems


def _seconds(value: object) -> float | str | None:
    """A time, what is wrong with it as a message, or None where there is none."""
    remedy = "write seconds such as 90.5, or nothing for the whole video"
    number = value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return f"{shown(value)} is no number: {remedy}"
    if number is None:
        return None
    if isinstance(number, bool) or not hasattr(number, "__float__"):
        return f"{shown(value)} is of type {type(value).__name__}: {remedy}"
    try:
        seconds = float(number)
    except (ValueError, OverflowError):
        return f"{shown(value)} is no time: {remedy}"
    if not math.isfinite(seconds):
        return f"{shown(value)} is no time: {remedy}"
    return f"{shown(value)} lies before the video begins: {remedy}" if seconds < 0 else seconds
