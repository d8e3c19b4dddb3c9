"""What the cells of a manifest may hold, and the error that lists everything wrong. Pure; files are read elsewhere."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.uris import strip_secrets

KNOWN_COLUMNS = ("question_id", "video", "question", "options")
REQUIRED_COLUMNS = KNOWN_COLUMNS[:3]
NUM_OPTIONS = range(2, 27)
MAX_LISTED_PROBLEMS = 20

_LETTERED = re.compile(r"\(?([A-Z])[.):]\s+(\S.*)", re.DOTALL)


class ManifestError(ValueError):
    """Everything that is wrong with a manifest, at most `MAX_LISTED_PROBLEMS` in full."""

    def __init__(self, uri: str, problems: Sequence[str]) -> None:
        hidden = len(problems) - MAX_LISTED_PROBLEMS
        tail = [f"... and {hidden} more"] if hidden > 0 else []
        lines = [*problems[:MAX_LISTED_PROBLEMS], *tail]
        super().__init__("\n  ".join([f"manifest {strip_secrets(uri)} cannot be used:", *lines]))
        self.uri = uri
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type, tuple[str, tuple[str, ...]]]:
        """Pickle with both arguments, so that the error survives the way between processes."""
        return (type(self), (self.uri, self.problems))


@dataclass(frozen=True, kw_only=True, slots=True)
class CellProblem:
    """One cell that cannot be used; ``row_index`` counts from 0, the message shown to people from 1."""

    row_index: int
    column: str
    message: str

    def __str__(self) -> str:
        return f"row {self.row_index + 1}, column {self.column}: {self.message}"


def shown(value: object, *, max_chars: int = 80) -> str:
    """A value as a message shows it: its repr, cut to ``max_chars``."""
    text = repr(value)
    return text if len(text) <= max_chars else f"{text[: max_chars - 3]}..."


def check_ids(values: Sequence[object]) -> tuple[list[str], list[CellProblem]]:
    """Question ids as text, integers included; they must be present and unique."""
    as_text = [str(value) if isinstance(value, int) and not isinstance(value, bool) else value for value in values]
    ids, problems = check_texts(as_text, column="question_id")
    first_row: dict[str, int] = {}
    for row_index, question_id in enumerate(ids):
        first = first_row.setdefault(question_id, row_index)
        if first != row_index and question_id:
            message = f"{shown(question_id)} is already the id of row {first + 1}: ids are unique, change one of them"
            problems.append(CellProblem(row_index=row_index, column="question_id", message=message))
    return ids, problems


def check_texts(values: Sequence[object], *, column: str) -> tuple[list[str], list[CellProblem]]:
    """Non-empty text; a cell with a problem becomes ``""``."""
    texts: list[str] = []
    problems: list[CellProblem] = []
    for row_index, value in enumerate(values):
        message = _text_problem(value)
        if message is not None:
            problems.append(CellProblem(row_index=row_index, column=column, message=message))
        texts.append(value if isinstance(value, str) and message is None else "")
    return texts, problems


def check_options(values: Sequence[object]) -> tuple[list[tuple[str, ...] | None], list[CellProblem]]:
    """Answer options: a list of 2 to 26 texts (or such a list as JSON text); null asks an open question."""
    rows: list[tuple[str, ...] | None] = []
    problems: list[CellProblem] = []
    for row_index, value in enumerate(values):
        parsed = _parse_options(value)
        if isinstance(parsed, str):
            problems.append(CellProblem(row_index=row_index, column="options", message=parsed))
        rows.append(None if parsed is None or isinstance(parsed, str) else strip_letters(parsed))
    return rows, problems


def strip_letters(options: tuple[str, ...]) -> tuple[str, ...]:
    """Remove the letters of options that already carry them, if each carries its right one.

    Example: ``("A. red", "B. blue") -> ("red", "blue")``; ``("A. red", "blue")`` stays.
    """
    matches = [_LETTERED.fullmatch(option.strip()) for option in options]
    stripped = tuple(match[2] for i, match in enumerate(matches) if match is not None and match[1] == chr(ord("A") + i))
    return stripped if len(stripped) == len(options) else options


def _text_problem(value: object) -> str | None:
    """What is wrong with a cell that must hold text, or None."""
    if value is None:
        return "is missing: write text"
    if not isinstance(value, str):
        return f"{shown(value)} is of type {type(value).__name__}: write text"
    if not value.strip():
        return f"{value!r} is empty: write text"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"{shown(value)} holds half a surrogate pair: write valid Unicode"
    return f"{shown(value)} holds a NUL character: remove it" if "\0" in value else None


def _parse_options(value: object) -> tuple[str, ...] | str | None:
    """The options, what is wrong with them as a message, or None for an open question."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return f'{shown(value)} is not a JSON list: write ["red", "blue"], or nothing for an open question'
    if value is None:
        return None
    if not isinstance(value, list):
        return f"{shown(value)} is of type {type(value).__name__}: write a list of texts, or null for an open question"
    if len(value) not in NUM_OPTIONS:
        return f"{shown(value)} has {len(value)} options: write 2 to 26, or null for an open question"
    for index, option in enumerate(value):
        message = _text_problem(option)
        if message is not None:
            return f"option {index + 1} {message}"
    return tuple(value)
