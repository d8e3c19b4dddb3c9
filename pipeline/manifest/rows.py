"""What the cells of a manifest may hold: all rows checked, in columns. Pure; files are read elsewhere."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.manifest.cells import check_ids, check_options, check_texts
from pipeline.manifest.columns import clean_ids, clean_options, clean_texts
from pipeline.manifest.problems import CellProblem, shown
from pipeline.manifest.record_table import BLOCK_ROWS, IntArray
from pipeline.manifest.time_range import TimeRange, check_ranges
from pipeline.manifest.transcripts import check_transcripts
from pipeline.manifest.video_lists import check_videos, clean_videos, spread_ids, spread_rows
from pipeline.uris import strip_secrets

KNOWN_COLUMNS = ("question_id", "video", "question", "options", "start_s", "end_s", "transcript")
REQUIRED_COLUMNS = KNOWN_COLUMNS[1:3]
CARRIED_COLUMNS = ("transcript",)  # of these what rows show as it was written; they hold the others as they are asked

Value = TypeVar("Value")


Cells: TypeAlias = "pa.ChunkedArray | Sequence[object]"


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedRows:
    """All questions in columns, a row whose video is a list as one per video; a cell with a problem is empty text.

    Attributes:
        texts: columns ``question_id``, ``asked_id``, ``text`` and ``options``.
        row_indices: ``(n,)`` rows of the manifest that the questions come from.
        video_codes: ``(n,)`` positions in ``videos``, which holds each spelling once, in first-seen order.
        range_codes: likewise in ``ranges``; ``transcript_codes`` in ``transcripts``, cells as they are written.
        problems: by row, within a row by column.
    """

    texts: pa.Table
    row_indices: IntArray
    video_codes: IntArray
    videos: tuple[str, ...]
    range_codes: IntArray
    ranges: tuple[TimeRange | None, ...]
    transcript_codes: IntArray
    transcripts: tuple[str | None, ...]
    problems: tuple[CellProblem, ...]


_TEXTS = pa.schema(
    [
        ("question_id", pa.string()),
        ("asked_id", pa.string()),
        ("text", pa.string()),
        ("options", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Block:
    """The questions of a block of rows; ``rows`` says which row each comes from."""

    texts: pa.RecordBatch
    own_ids: pa.Array
    rows: IntArray
    videos: Sequence[str]
    ranges: Sequence[TimeRange | None]
    transcripts: Sequence[str | None]


class _Codes(Generic[Value]):
    """Values as numbers, in first-seen order."""

    def __init__(self) -> None:
        self._code_of: dict[Value, int] = {}
        self._blocks: list[IntArray] = []

    def add(self, values: Sequence[Value]) -> None:
        """Values of one block."""
        code_of = self._code_of
        self._blocks.append(np.array([code_of.setdefault(value, len(code_of)) for value in values], np.int64))

    @property
    def values(self) -> tuple[Value, ...]:
        """Each once."""
        return tuple(self._code_of)

    @property
    def codes(self) -> IntArray:
        """Of all blocks."""
        return np.concatenate(self._blocks)


def check_rows(known: Mapping[str, Cells], *, num_rows: int, first_row: int = 0) -> CheckedRows:
    """Check the known columns block by block, so that only one block at a time is Python objects.

    Args:
        known: `KNOWN_COLUMNS` as Arrow columns or Python values; all but `REQUIRED_COLUMNS` may be missing. Without
            ``question_id`` ids follow from what the rows ask.
        num_rows: of each.
        first_row: rows of manifests before this one, counted where an unusable row is named by its place.
    """
    problems: list[CellProblem] = []
    blocks: list[_Block] = []
    videos, ranges, transcripts = _Codes[str](), _Codes[TimeRange | None](), _Codes[str | None]()
    for start in range(0, num_rows, BLOCK_ROWS):
        cells = {name: _slice(column, start) for name, column in known.items()}
        block, found = _check_block(cells, range(first_row + start, first_row + min(start + BLOCK_ROWS, num_rows)))
        problems += [replace(problem, row_index=problem.row_index + start) for problem in found]
        blocks.append(replace(block, rows=block.rows + start, videos=(), ranges=(), transcripts=()))
        videos.add(block.videos)
        ranges.add(block.ranges)
        transcripts.add(block.transcripts)
    table = pa.Table.from_batches([block.texts for block in blocks], _TEXTS).combine_chunks()
    rows, are_made = np.concatenate([block.rows for block in blocks]), "question_id" not in known
    repeated = find_repeated_ids(pa.chunked_array([block.own_ids for block in blocks]), are_made=are_made)
    if table.column("asked_id").null_count < len(rows):
        named = {problem.row_index for problem in repeated}
        spread = find_repeated_ids(table.column("question_id"), row_indices=rows.tolist())
        repeated += [problem for problem in spread if problem.row_index not in named]
    problems += repeated
    return CheckedRows(
        texts=table,
        row_indices=rows,
        video_codes=videos.codes,
        videos=videos.values,
        range_codes=ranges.codes,
        ranges=ranges.values,
        transcript_codes=transcripts.codes,
        transcripts=transcripts.values,
        problems=tuple(sorted(problems, key=lambda p: (p.row_index, KNOWN_COLUMNS.index(p.column)))),
    )


def _slice(column: Cells, start: int) -> Cells:
    if isinstance(column, pa.ChunkedArray):
        return column.slice(start, BLOCK_ROWS)
    return column[start : start + BLOCK_ROWS]


def _values(column: Cells) -> Sequence[object]:
    return column.to_pylist() if isinstance(column, pa.ChunkedArray) else column


def _check_block(cells: Mapping[str, Cells], rows: range) -> tuple[_Block, list[CellProblem]]:
    """Whole columns at once; cell by cell only where one is not plainly good."""
    problems: list[CellProblem] = []
    checked: dict[str, pa.Array] = {}
    options = cells.get("options", pa.chunked_array([pa.nulls(len(rows))]))
    for name, column in {"options": options, **cells}.items():
        if name not in _CHECKS:
            continue
        clean, check = _CHECKS[name]
        array = clean(column) if isinstance(column, pa.ChunkedArray) else None
        if array is None:
            values, found = check(_values(column))
            problems += found
            array = pa.array(values, pa.list_(pa.string()) if name == "options" else pa.string())
        checked[name] = array
    checked["video"], lists = _check_videos(cells["video"], problems)
    ranges: Sequence[TimeRange | None] = [None] * len(rows)
    if "start_s" in cells or "end_s" in cells:
        starts, ends = (_values(cells[name]) if name in cells else None for name in ("start_s", "end_s"))
        ranges, found = check_ranges(starts, ends)
        problems += found
    transcripts: Sequence[str | None] = [None] * len(rows)
    if "transcript" in cells:
        transcripts, found = check_transcripts(_values(cells["transcript"]))
        problems += found
    if "question_id" not in checked:
        unusable = {problem.row_index for problem in problems}
        checked["question_id"] = make_ids(checked, rows, unusable, parts=list(zip(ranges, transcripts, strict=True)))
    return _spread(checked, lists, ranges, transcripts), problems


def _check_videos(column: Cells, problems: list[CellProblem]) -> tuple[pa.Array, dict[int, tuple[str, ...]]]:
    """A text for each cell, and the lists among them by position; adds problems."""
    plain = clean_videos(column) if isinstance(column, pa.ChunkedArray) else None
    if plain is not None:
        return plain, {}
    texts, lists, found = check_videos(_values(column))
    problems += found
    return pa.array(texts, pa.string()), lists


def _spread(
    checked: Mapping[str, pa.Array],
    lists: Mapping[int, tuple[str, ...]],
    ranges: Sequence[TimeRange | None],
    transcripts: Sequence[str | None],
) -> _Block:
    """Rows as questions: one per video of a list."""
    own_ids, num_rows = checked["question_id"], len(checked["video"])
    videos: list[str] = checked["video"].to_pylist()
    rows = spread_rows(num_rows, lists)
    ids, asked_ids, source = own_ids, pa.nulls(num_rows, pa.string()), rows.tolist()
    if lists:
        videos = [video for row in range(num_rows) for video in lists.get(row, (videos[row],))]
        own: list[str] = own_ids.take(pa.array(rows)).to_pylist()
        spread, is_list = spread_ids(own, videos), [row in lists for row in source]
        ids = pa.array([new if is_one else old for new, old, is_one in zip(spread, own, is_list, strict=True)])
        asked_ids = pa.array([old if is_one else None for old, is_one in zip(own, is_list, strict=True)], pa.string())
    question, options = (checked[name].take(pa.array(rows)) if lists else checked[name] for name in _SPREAD)
    return _Block(
        texts=pa.record_batch([ids, asked_ids, question, options], _TEXTS),
        own_ids=own_ids,
        rows=rows,
        videos=videos,
        ranges=[ranges[row] for row in source],
        transcripts=[transcripts[row] for row in source],
    )


_SPREAD = ("question", "options")


def make_ids(
    checked: Mapping[str, pa.Array],
    row_indices: range,
    unusable: Set[int],
    *,
    parts: Sequence[tuple[TimeRange | None, str | None]] = (),
) -> pa.Array:
    """Ids that follow from video, question and options as they are written, signatures of addresses aside.

    Args:
        checked: those columns.
        row_indices: of the manifest.
        unusable: positions of rows that cannot be asked; they are named by their place.
        parts: of each row the range and the transcript, which count where there is one.
    """
    rows = zip(*(checked[name].to_pylist() for name in ("video", "question", "options")), strict=True)
    ids: list[str] = []
    for index, (video, question, options) in enumerate(rows):
        content: list[object] = [strip_secrets(video), question, options]
        if parts and parts[index] != (None, None):
            span, transcript = parts[index]
            content.append([None if span is None else [span.start_s, span.end_s], transcript])
        written = json.dumps(content, separators=(",", ":"))
        is_usable = index not in unusable
        ids.append(
            f"q-{hashlib.sha256(written.encode()).hexdigest()[:16]}" if is_usable else f"row-{row_indices[index] + 1}"
        )
    return pa.array(ids, pa.string())


def find_repeated_ids(
    ids: pa.ChunkedArray, *, are_made: bool = False, row_indices: Sequence[int] | None = None
) -> list[CellProblem]:
    """Ids must be unique; empty ones have a problem already.

    Args:
        ids: of all rows.
        are_made: by `make_ids`.
        row_indices: rows of the manifest that they come from; None: each from its own.
    """
    if pc.count_distinct(ids).as_py() == len(ids):
        return []
    problems: list[CellProblem] = []
    first_row: dict[str, int] = {}
    for position, question_id in enumerate(ids.to_pylist()):
        row_index = position if row_indices is None else row_indices[position]
        if question_id not in first_row:
            first_row[question_id] = row_index
        elif question_id:
            first = first_row[question_id] + 1
            message = f"{shown(question_id)} is already the id of row {first}: ids are unique, change one of them"
            if are_made:
                message = f"asks what row {first} asks: remove one, or add a column question_id that tells them apart"
            problems.append(CellProblem(row_index=row_index, column="question_id", message=message))
    return problems


_CHECKS: Mapping[str, tuple[Callable[[pa.ChunkedArray], pa.Array | None], Callable[[Sequence[object]], Any]]] = {
    "question_id": (clean_ids, check_ids),
    "question": (clean_texts, partial(check_texts, column="question")),
    "options": (clean_options, check_options),
}
