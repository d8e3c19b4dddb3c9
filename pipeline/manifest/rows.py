"""What the cells of a manifest may hold, and the error that lists everything wrong. Pure; files are read elsewhere."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.manifest.columns import FEWEST_OPTIONS, MOST_OPTIONS, clean_ids, clean_options, clean_texts
from pipeline.manifest.record_table import BLOCK_ROWS
from pipeline.uris import strip_secrets

KNOWN_COLUMNS = ("question_id", "video", "question", "options")
REQUIRED_COLUMNS = KNOWN_COLUMNS[1:3]
NUM_OPTIONS = range(FEWEST_OPTIONS, MOST_OPTIONS + 1)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedRows:
    """All rows in columns; a cell with a problem is empty text.

    Attributes:
        texts: columns ``question_id``, ``text`` and ``options``.
        video_codes: ``(n,)`` positions in ``videos``, which holds each spelling once, in first-seen order.
        problems: by row, within a row by column.
    """

    texts: pa.Table
    video_codes: npt.NDArray[np.int64]
    videos: tuple[str, ...]
    problems: tuple[CellProblem, ...]


_TEXTS = pa.schema([("question_id", pa.string()), ("text", pa.string()), ("options", pa.list_(pa.string()))])


def check_rows(known: Mapping[str, "pa.ChunkedArray | Sequence[object]"], *, num_rows: int) -> CheckedRows:
    """Check the known columns block by block, so that only one block at a time is Python objects.

    Args:
        known: `KNOWN_COLUMNS` as Arrow columns or Python values; ``options`` may be missing, and so may
            ``question_id``: then ids follow from what the rows ask.
        num_rows: of each.
    """
    problems: list[CellProblem] = []
    blocks: list[pa.RecordBatch] = []
    codes: list[npt.NDArray[np.int64]] = []
    code_of: dict[str, int] = {}
    for start in range(0, num_rows, BLOCK_ROWS):
        cells = {name: _slice(column, start) for name, column in known.items()}
        checked, found = _check_block(cells, range(start, min(start + BLOCK_ROWS, num_rows)))
        problems += [replace(problem, row_index=problem.row_index + start) for problem in found]
        blocks.append(pa.record_batch([checked["question_id"], checked["question"], checked["options"]], _TEXTS))
        videos = checked["video"].to_pylist()
        codes.append(np.array([code_of.setdefault(video, len(code_of)) for video in videos], np.int64))
    table = pa.Table.from_batches(blocks, _TEXTS).combine_chunks()
    problems += find_repeated_ids(table.column("question_id"), are_made="question_id" not in known)
    return CheckedRows(
        texts=table,
        video_codes=np.concatenate(codes),
        videos=tuple(code_of),
        problems=tuple(sorted(problems, key=lambda p: (p.row_index, KNOWN_COLUMNS.index(p.column)))),
    )


Cells: TypeAlias = "pa.ChunkedArray | Sequence[object]"


def _slice(column: Cells, start: int) -> Cells:
    if isinstance(column, pa.ChunkedArray):
        return column.slice(start, BLOCK_ROWS)
    return column[start : start + BLOCK_ROWS]


def _check_block(cells: Mapping[str, Cells], rows: range) -> tuple[dict[str, pa.Array], list[CellProblem]]:
    """The known columns as Arrow arrays; cell by cell only where whole columns are not plainly good."""
    problems: list[CellProblem] = []
    checked: dict[str, pa.Array] = {}
    options = cells.get("options", pa.chunked_array([pa.nulls(len(rows))]))
    for name, column in {"options": options, **cells}.items():
        clean, check = _CHECKS[name]
        array = clean(column) if isinstance(column, pa.ChunkedArray) else None
        if array is None:
            values, found = check(column.to_pylist() if isinstance(column, pa.ChunkedArray) else column)
            problems += found
            array = pa.array(values, pa.list_(pa.string()) if name == "options" else pa.string())
        checked[name] = array
    if "question_id" not in checked:
        checked["question_id"] = make_ids(checked, rows, {problem.row_index for problem in problems})
    return checked, problems


def check_ids(values: Sequence[object]) -> tuple[list[str], list[CellProblem]]:
    """Question ids as text, integers and UUIDs included; they must be present. See also `find_repeated_ids`."""
    is_id = [isinstance(value, int | UUID) and not isinstance(value, bool) for value in values]
    as_text = [str(value) if is_one else value for value, is_one in zip(values, is_id, strict=True)]
    return check_texts(as_text, column="question_id")


def make_ids(checked: Mapping[str, pa.Array], row_indices: range, unusable: Set[int]) -> pa.Array:
    """Ids that follow from video, question and options as they are written, signatures of addresses aside.

    Args:
        checked: those columns.
        row_indices: of the manifest.
        unusable: positions of rows that cannot be asked; they are named by their place.
    """
    rows = zip(*(checked[name].to_pylist() for name in ("video", "question", "options")), strict=True)
    ids: list[str] = []
    for index, (video, question, options) in enumerate(rows):
        content = json.dumps([strip_secrets(video), question, options], separators=(",", ":"))
        is_usable = index not in unusable
        ids.append(
            f"q-{hashlib.sha256(content.encode()).hexdigest()[:16]}" if is_usable else f"row-{row_indices[index] + 1}"
        )
    return pa.array(ids, pa.string())


def find_repeated_ids(ids: pa.ChunkedArray, *, are_made: bool = False) -> list[CellProblem]:
    """Ids must be unique; empty ones have a problem already.

    Args:
        ids: of all rows.
        are_made: by `make_ids`.
    """
    if pc.count_distinct(ids).as_py() == len(ids):
        return []
    problems: list[CellProblem] = []
    first_row: dict[str, int] = {}
    for row_index, question_id in enumerate(ids.to_pylist()):
        first = first_row.setdefault(question_id, row_index)
        if first != row_index and question_id:
            message = f"{shown(question_id)} is already the id of row {first + 1}: ids are unique, change one of them"
            if are_made:
                message = (
                    f"asks what row {first + 1} asks: remove one, or add a column question_id that tells them apart"
                )
            problems.append(CellProblem(row_index=row_index, column="question_id", message=message))
    return problems


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
        message = _text_problem(option)
        if message is not None:
            return f"option {index + 1} {message}"
    return tuple(value)


_CHECKS: Mapping[str, tuple[Callable[[pa.ChunkedArray], pa.Array | None], Callable[[Sequence[object]], Any]]] = {
    "question_id": (clean_ids, check_ids),
    "video": (clean_texts, partial(check_texts, column="video")),
    "question": (clean_texts, partial(check_texts, column="question")),
    "options": (clean_options, check_options),
}
