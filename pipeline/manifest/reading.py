"""The manifest: which questions are asked about which videos.

Files are read in ``manifest_tables``, cells checked in ``manifest_rows``, questions kept in ``manifest_questions``.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.manifest.problems import ManifestError
from pipeline.manifest.questions import Question, QuestionTable, RejectedRow
from pipeline.manifest.rows import REQUIRED_COLUMNS, CheckedRows, check_rows
from pipeline.manifest.tables import ManifestColumns, read_columns
from pipeline.manifest.time_range import TimeRange
from pipeline.manifest.transcripts import is_address, transcript_of_cell
from pipeline.uris import StorageOptions, containing_folder, resolve_uri, strip_secrets

__all__ = [
    "Manifest",
    "ManifestError",
    "Question",
    "QuestionTable",
    "RejectedRow",
    "group_by_video",
    "read_manifest",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A checked manifest.

    Attributes:
        questions: In manifest order; in columns, so that a million fit.
        rejected: Empty unless bad rows were to be skipped.
        pass_through: Every other column as it came, one row per manifest row: index with ``Question.row_index``.
    """

    questions: QuestionTable
    rejected: tuple[RejectedRow, ...]
    pass_through: pa.Table

    def pass_through_of(self, questions: Sequence[Question]) -> pa.Table:
        """The pass-through columns of ``questions``, in their order."""
        return self.pass_through_rows([question.row_index for question in questions])

    def pass_through_rows(self, row_indices: Sequence[int]) -> pa.Table:
        """The pass-through columns of manifest rows, in the order given."""
        if not self.pass_through.num_columns:
            return self.pass_through
        return self.pass_through.take(pa.array(row_indices, pa.int64()))

    def row_indices(self) -> Mapping[str, int]:
        """Question id -> manifest row, of questions and rejected rows; the last row of a repeated id."""
        rows = dict(zip(self.questions.ids().to_pylist(), self.questions.row_indices.tolist(), strict=True))
        return rows | {rejected.question.question_id: rejected.question.row_index for rejected in self.rejected}


def read_manifest(
    uri: str, *, storage_options: StorageOptions = None, limit: int | None = None, skip_bad_rows: bool = False
) -> Manifest:
    """Read and check a manifest: Parquet, CSV (commas, semicolons or tabs), JSON lines or a JSON array.

    Args:
        uri: Local path or any fsspec address; relative videos resolve against its folder.
        storage_options: For the file system of ``uri``.
        limit: Only the first rows; the others are not even checked.
        skip_bad_rows: Return rows with problems as ``rejected`` instead of raising.

    Raises:
        ManifestError: Anything is wrong; lists all problems. A file or column that is missing is never skipped.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}: leave it out to read all rows")
    columns = read_columns(uri, storage_options=storage_options, limit=limit)
    _check_columns(uri, columns)
    checked = check_rows(columns.known, num_rows=columns.num_rows)
    if checked.problems and not skip_bad_rows:
        raise ManifestError(uri, [str(problem) for problem in checked.problems])
    questions = _resolve(checked, containing_folder(uri))
    return _split_rejected(questions, checked, _without_secrets(columns.pass_through))


def group_by_video(questions: Iterable[Question]) -> dict[str, tuple[Question, ...]]:
    """Questions by video URI; videos in first-seen order, questions in the order given."""
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.video, []).append(question)
    return {video: tuple(group) for video, group in groups.items()}


def _check_columns(uri: str, columns: ManifestColumns) -> None:
    """Raise on missing columns, on columns that SQL engines cannot tell apart, and when there is no row."""
    problems: list[str] = []
    for name in REQUIRED_COLUMNS:
        if name not in columns.known:
            nearest = difflib.get_close_matches(name, columns.names, n=1, cutoff=0.0)
            hint = f"; nearest present column: {nearest[0]!r}" if nearest else ""
            problems.append(f"column {name!r} is missing{hint}: rename or add it")
    if "question_id" not in columns.known:
        meant = difflib.get_close_matches("question_id", columns.pass_through.column_names, n=1, cutoff=0.8)
        problems += [f"column 'question_id' is missing, but there is {name!r}: rename that" for name in meant]
    spelling: dict[str, str] = {}
    for name in columns.pass_through.column_names:
        other = spelling.setdefault(name.lower(), name)
        if other != name:
            problems.append(f"columns {other!r} and {name!r} differ in case only: rename one")
    if not problems and not columns.num_rows:
        problems.append("there are no rows: add at least one question")
    if problems:
        raise ManifestError(uri, problems)


def _resolve(checked: CheckedRows, folder: str) -> QuestionTable:
    """All rows as questions; two spellings of one file are one video, and each of its ranges is one to be planned."""
    uris = [resolve_uri(video, folder) if video else "" for video in checked.videos]
    pairs = checked.video_codes * len(checked.ranges) + checked.range_codes
    found, inverse = np.unique(pairs, return_inverse=True)
    code_of: dict[tuple[str, TimeRange | None], int] = {}
    codes = [
        code_of.setdefault((uris[video], checked.ranges[part]), len(code_of))
        for video, part in (divmod(pair, len(checked.ranges)) for pair in found.tolist())
    ]
    return QuestionTable(
        texts=checked.texts,
        video_codes=np.array(codes, np.int64)[inverse],
        row_indices=checked.row_indices,
        videos=tuple(uri for uri, _ in code_of),
        ranges=tuple(part for _, part in code_of),
        transcript_codes=checked.transcript_codes,
        transcripts=tuple(None if cell is None else transcript_of_cell(cell, folder) for cell in checked.transcripts),
    )


def _without_secrets(pass_through: pa.Table) -> pa.Table:
    """Addresses of transcripts as they may be shown: rows hold them."""
    if "transcript" not in pass_through.column_names:
        return pass_through
    at, column = pass_through.column_names.index("transcript"), pass_through.column("transcript")
    if not pa.types.is_string(column.type):
        return pass_through
    cells = [strip_secrets(cell) if cell is not None and is_address(cell) else cell for cell in column.to_pylist()]
    return pass_through.set_column(at, "transcript", pa.array(cells, pa.string()))


def _split_rejected(questions: QuestionTable, checked: CheckedRows, pass_through: pa.Table) -> Manifest:
    """Part the rows that have problems from those that have none."""
    messages: dict[int, list[str]] = {}
    for problem in checked.problems:
        messages.setdefault(problem.row_index, []).append(str(problem))
    bad = np.array(sorted(messages), np.int64)
    is_bad = np.isin(questions.row_indices, bad)
    return Manifest(
        questions=questions.take(np.flatnonzero(~is_bad)) if len(bad) else questions,
        rejected=tuple(
            RejectedRow(question=question, message="; ".join(messages[question.row_index]))
            for question in questions.take(np.flatnonzero(is_bad))
        ),
        pass_through=pass_through,
    )
