"""The manifest: which questions are asked about which videos. Reading files is in ``manifest_tables``."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.manifest_rows import (
    REQUIRED_COLUMNS,
    CellProblem,
    ManifestError,
    check_ids,
    check_options,
    check_texts,
)
from pipeline.manifest_tables import ManifestColumns, read_columns
from pipeline.uris import StorageOptions, containing_folder, resolve_uri

__all__ = ["Manifest", "ManifestError", "Question", "RejectedRow", "group_by_video", "read_manifest"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question about one video.

    Attributes:
        video: Full URI, to open; pass it through ``uris.strip_secrets`` before showing it.
        options: Without letters; None for an open question.
        row_index: Row of the manifest, from 0.
    """

    question_id: str
    video: str
    text: str
    options: tuple[str, ...] | None
    row_index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedRow:
    """A manifest row that cannot be asked; ``question`` holds what of it is usable, else empty text."""

    question: Question
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A checked manifest.

    Attributes:
        questions: In manifest order.
        rejected: Empty unless bad rows were to be skipped.
        pass_through: Every other column as it came, one row per manifest row: index with ``Question.row_index``.
    """

    questions: tuple[Question, ...]
    rejected: tuple[RejectedRow, ...]
    pass_through: pa.Table

    def pass_through_of(self, questions: Sequence[Question]) -> pa.Table:
        """The pass-through columns of ``questions``, in their order."""
        if not self.pass_through.num_columns:
            return self.pass_through
        return self.pass_through.take(pa.array([question.row_index for question in questions], pa.int64()))


def read_manifest(
    uri: str, *, storage_options: StorageOptions = None, limit: int | None = None, skip_bad_rows: bool = False
) -> Manifest:
    """Read and check a Parquet, CSV or JSON lines manifest.

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
    ids, id_problems = check_ids(columns.known["question_id"])
    videos, video_problems = check_texts(columns.known["video"], column="video")
    texts, text_problems = check_texts(columns.known["question"], column="question")
    options, option_problems = check_options(columns.known.get("options", [None] * columns.num_rows))
    problems = sorted([*id_problems, *video_problems, *text_problems, *option_problems], key=lambda p: p.row_index)
    if problems and not skip_bad_rows:
        raise ManifestError(uri, [str(problem) for problem in problems])
    folder = containing_folder(uri)
    uris = [resolve_uri(video, folder) if video else "" for video in videos]
    questions = [
        Question(question_id=ids[i], video=uris[i], text=texts[i], options=options[i], row_index=i)
        for i in range(columns.num_rows)
    ]
    return _split_rejected(questions, problems, columns.pass_through)


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
    spelling: dict[str, str] = {}
    for name in columns.pass_through.column_names:
        other = spelling.setdefault(name.lower(), name)
        if other != name:
            problems.append(f"columns {other!r} and {name!r} differ in case only: rename one")
    if not problems and not columns.num_rows:
        problems.append("there are no rows: add at least one question")
    if problems:
        raise ManifestError(uri, problems)


def _split_rejected(questions: Sequence[Question], problems: Sequence[CellProblem], pass_through: pa.Table) -> Manifest:
    """Part the rows that have problems from those that have none."""
    messages: dict[int, list[str]] = {}
    for problem in problems:
        messages.setdefault(problem.row_index, []).append(str(problem))
    return Manifest(
        questions=tuple(question for question in questions if question.row_index not in messages),
        rejected=tuple(
            RejectedRow(question=questions[row_index], message="; ".join(messages[row_index]))
            for row_index in sorted(messages)
        ),
        pass_through=pass_through,
    )
