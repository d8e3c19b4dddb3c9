"""What single cells of a manifest may hold: ids, texts, options. Cell by cell; whole columns are in ``columns``."""

import json
import re
from collections.abc import Sequence
from uuid import UUID

from pipeline.manifest.columns import FEWEST_OPTIONS, MOST_OPTIONS
from pipeline.manifest.problems import CellProblem, shown, text_problem

NUM_OPTIONS = range(FEWEST_OPTIONS, MOST_OPTIONS + 1)

_LETTERED = re.compile(r"\(?([A-Z])[.):]\s+(\S.*)", re.DOTALL)


def check_ids(values: Sequence[object]) -> tuple[list[str], list[CellProblem]]:
    """Question ids as text, integers and UUIDs included; they must be present. See also `rows.find_repeated_ids`."""
    is_id = [isinstance(value, int | UUID) and not isinstance(value, bool) for value in values]
    as_text = [str(value) if is_one else value for value, is_one in zip(values, is_id, strict=True)]
    return check_texts(as_text, column="question_id")


def check_texts(values: Sequence[object], *, column: str) -> tuple[list[str], list[CellProblem]]:
    """Non-empty text; a cell with a problem becomes ``""``."""
    texts: list[str] = []
    problems: list[CellProblem] = []
    for row_index, value in enumerate(values):
        message = text_problem(value)
        if message is not None:
            problems.append(CellProblem(row_index=row_index, column=column, message=message))
        texts.append(value if isinstance(value, str) and message is None else "")
    return texts, problems


def check_options(values: Sequence[object]) -> tuple[list[tuple[str, ...] | None], list[CellProblem]]:
    """Answer options: a list of 2 to 26 texts (or ``red|blue``, or a list as JSON text); null asks an open question."""
    rows: list[tuple[str, ...] | None] = []
    problems: list[CellProblem] = []
    for row_index, value in enumerate(values):
        parsed = _parse_options(value)
        if isinstance(parsed, str):
            problems.append(CellProblem(row_index=row_index, column="options", message=parsed))
        rows.append(None if parsed is None or isinstance(parsed, str) else _strip_letters(parsed))
    return rows, problems


def _strip_letters(options: tuple[str, ...]) -> tuple[str, ...]:
    """Remove the letters of options that already carry them, if each carries its right one.

    Example: ``("A. red", "B. blue") -> ("red", "blue")``; ``("A. red", "blue")`` stays.
    """
    matches = [_LETTERED.fullmatch(option.strip()) for option in options]
    stripped = tuple(match[2] for i, match in enumerate(matches) if match is not None and match[1] == chr(ord("A") + i))
    return stripped if len(stripped) == len(options) else options


def _parse_options(value: object) -> tuple[str, ...] | str | None:
    """The options, what is wrong with them as a message, or None for an open question."""
    if isinstance(value, str):
        text = value
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            if "|" not in text or text.lstrip().startswith("["):
                remedy = 'write ["red", "blue"] or red|blue, or nothing for an open question'
                return f"{shown(text)} is not a JSON list: {remedy}"
            value = [option.strip() for option in text.split("|")]
    if value is None:
        return None
    if not isinstance(value, list):
        return f"{shown(value)} is of type {type(value).__name__}: write a list of texts, or null for an open question"
    if len(value) not in NUM_OPTIONS:
        return f"{shown(value)} has {len(value)} options: write 2 to 26, or null for an open question"
    for index, option in enumerate(value):
        message = text_problem(option)
        if message is not None:
            return f"option {index + 1} {message}"
    return tuple(value)
