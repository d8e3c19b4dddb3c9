"""The manifest: which questions are asked about which videos.

Files are found in ``files`` and read in ``tables``, cells checked in ``rows``, several joined in ``joining``.
"""

import difflib
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from pipeline.manifest.files import find_manifests
from pipeline.manifest.joining import Manifest, ReadFile, join_files, split_rejected
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


def read_manifest(
    uris: str | Sequence[str],
    *,
    storage_options: StorageOptions = None,
    limit: int | None = None,
    skip_bad_rows: bool = False,
) -> Manifest:
    """Read and check a manifest: Parquet, CSV (commas, semicolons or tabs), JSON lines or a JSON array.

    Args:
        uris: Local path or any fsspec address, of a file, a folder or a pattern (see ``files``), or several of these:
            their rows one behind the other. Relative videos resolve against the folder of their own file.
        storage_options: For the file systems of ``uris``.
        limit: Only the first rows; the others are not even checked.
        skip_bad_rows: Return rows with problems as ``rejected`` instead of raising.

    Raises:
        ManifestError: Anything is wrong; lists all problems. A file or column that is missing is never skipped.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}: leave it out to read all rows")
    files = find_manifests([uris] if isinstance(uris, str) else uris, storage_options=storage_options)
    if len(files) > 1:
        return join_files(files, partial(_read_file, storage_options=storage_options), limit, skip_bad_rows)
    read = _read_file(files[0], limit, 0, storage_options=storage_options)
    if read.problems and not skip_bad_rows:
        raise ManifestError(files[0], [str(problem) for problem in read.problems])
    return split_rejected(read.questions, read.problems, read.pass_through)


def _read_file(uri: str, limit: int | None, first_row: int, *, storage_options: StorageOptions) -> ReadFile:
    columns = read_columns(uri, storage_options=storage_options, limit=limit)
    _check_columns(uri, columns)
    checked = check_rows(columns.known, num_rows=columns.num_rows, first_row=first_row)
    return ReadFile(
        questions=_resolve(checked, containing_folder(uri)),
        problems=checked.problems,
        pass_through=_without_secrets(columns.pass_through),
        num_rows=columns.num_rows,
        are_ids_made="question_id" not in columns.known,
    )


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
