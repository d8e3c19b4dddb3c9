"""Subtitles: read, put on the video's clock, chosen by sampled frames, and put before a question.

Shape suffixes: F = sampled frames
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

MIN_WIDTH_S = 1.0  # LongVideoBench's rule
HEADING = "This video's subtitles are listed below:"
NO_SUBTITLES = "No subtitles available"

_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_TIME_LINE = re.compile(r"(\S+)\s+-->\s+(\S+).*")
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Subtitle:
    """One line of text, on show in ``[start_s, end_s)`` of presentation time."""

    start_s: float
    end_s: float
    text: str


def parse_srt(content: str) -> list[Subtitle]:
    """The cues of an SRT file in their order, without markup such as font tags; those without text are left out.

    Raises:
        ValueError: There is text, but not a single cue.
    """
    lines = [line.strip() for line in content.lstrip("\ufeff").splitlines()]
    starts = [index for index, line in enumerate(lines) if _TIME_LINE.fullmatch(line)]
    cues: list[Subtitle] = []
    for index, following in pairwise([*starts, len(lines) + 1]):
        match = _TIME_LINE.fullmatch(lines[index])
        has_number = following <= len(lines) and lines[following - 1].isdigit()  # of the next cue
        last = following - 1 if has_number else following
        text = clean_text(" ".join(lines[index + 1 : last]))
        times = [] if match is None else [parse_clock(match[1]), parse_clock(match[2])]
        if text and len(times) == 2 and times[0] is not None and times[1] is not None:
            cues.append(Subtitle(start_s=times[0], end_s=times[1], text=text))
    if not cues and content.strip():
        raise ValueError("there is no line like 00:00:01,000 --> 00:00:02,000: not an SRT file")
    return cues


def parse_timed_lines(content: str, *, duration_s: float, starting_s: float) -> list[Subtitle]:
    """LongVideoBench's JSON, both shapes, on the clock of a clip that begins ``starting_s`` into the track.

    An end that is null is the end of the clip. Lines are clipped to the clip; those outside are left out.

    Raises:
        ValueError: It is no list of objects with ``timestamp`` and ``text``, or ``start``, ``end`` and ``line``.
    """
    rows = json.loads(content)
    if not isinstance(rows, list):
        raise ValueError(f"expected a list of lines, found {type(rows).__name__}")
    lines: list[Subtitle] = []
    for row in rows:
        start_s, end_s, text = _read_line(row)
        begin, end = start_s - starting_s, duration_s if end_s is None else end_s - starting_s
        begin, end = max(0.0, begin), min(duration_s, end)
        if text and begin < end:
            lines.append(Subtitle(start_s=begin, end_s=end, text=text))
    return lines


def subtitles_for_frames(
    subtitles: Sequence[Subtitle], frame_times_s: npt.NDArray[np.float64], *, min_width_s: float = 0.0
) -> list[Subtitle]:
    """Those in which a sampled frame lies, by the time of their middle.

    Args:
        subtitles: in any order.
        frame_times_s: ``(F,)`` ascending presentation times.
        min_width_s: shorter ones count as so wide around their middle.
    """
    chosen: list[Subtitle] = []
    for subtitle in subtitles:
        start_s, end_s = subtitle.start_s, subtitle.end_s
        if end_s - start_s < min_width_s:
            middle_s = (start_s + end_s) / 2
            start_s, end_s = middle_s - min_width_s / 2, middle_s + min_width_s / 2
        first, last = np.searchsorted(frame_times_s, [start_s, end_s], side="left")
        if first < last:
            chosen.append(subtitle)
    return sorted(chosen, key=lambda subtitle: subtitle.start_s + subtitle.end_s)


def with_subtitles(question: str, subtitles: Iterable[Subtitle]) -> str:
    """A question as it is asked with subtitles: they stand before it, and so behind the video in the prompt."""
    texts = [subtitle.text for subtitle in subtitles]
    return "\n".join([HEADING, *(texts or [NO_SUBTITLES]), question])


def clean_text(text: str) -> str:
    """Without tags and without line breaks."""
    return " ".join(_TAG.sub("", text).split())


def parse_clock(text: str) -> float | None:
    """``01:02:03,500 -> 3723.5``."""
    match = _CLOCK.fullmatch(text)
    return None if match is None else int(match[1] or 0) * 3600 + int(match[2]) * 60 + float(match[3].replace(",", "."))


def _read_line(row: object) -> tuple[float, float | None, str]:
    """Start, end (None: not given) and text of one line, in seconds of the track."""
    if isinstance(row, dict) and isinstance(row.get("timestamp"), list) and len(row["timestamp"]) == 2:
        (start, end), text = row["timestamp"], row.get("text")
    elif isinstance(row, dict) and {"start", "end", "line"} <= row.keys():
        start, end, text = row["start"], row["end"], row["line"]
    else:
        raise ValueError(f"a line must have timestamp and text, or start, end and line, got {str(row)[:80]}")
    start_s, end_s = _seconds(start), None if end is None else _seconds(end)
    return start_s, end_s, clean_text(str(text or ""))


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    parsed = parse_clock(value.strip()) if isinstance(value, str) else None
    if parsed is None:
        raise ValueError(f"a time must be seconds or HH:MM:SS.mmm, got {value!r}")
    return parsed
