"""A manifest as it was read and checked, and several files of them as one. Opens nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from pipeline.manifest.files import describe_files
from pipeline.manifest.problems import CellProblem, ManifestError, shown
from pipeline.manifest.questions import Question, QuestionTable, RejectedRow
from pipeline.uris import strip_secrets


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


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadFile:
    """One file, checked by itself; rows are counted from 0 in it."""

    questions: QuestionTable
    problems: tuple[CellProblem, ...]
    pass_through: pa.Table
    num_rows: int
    are_ids_made: bool


def join_files(
    files: Sequence[str],
    read: Callable[[str, int | None, int], ReadFile],
    limit: int | None,
    skip_bad_rows: bool,
) -> Manifest:
    """The rows of several files one behind the other; ids are unique over all of them.

    Args:
        files: their addresses.
        read: given one, how many of its rows are wanted at most, and how many came before.
        limit: rows wanted in all.
        skip_bad_rows: see ``read_manifest``.

    Raises:
        ManifestError: With the problems of all files, each under its file's name.
    """
    parts, first_rows, num_rows = list[ReadFile](), list[int](), 0
    problems, messages = list[CellProblem](), list[str]()
    first_of: dict[str, tuple[str, int]] = {}
    for file in files:
        if limit is not None and num_rows >= limit:
            break
        try:
            part = read(file, None if limit is None else limit - num_rows, num_rows)
        except ManifestError as error:
            messages += [f"{strip_secrets(file)}: {problem}" for problem in error.problems]
            continue
        found = [*part.problems, *_repeated_in_files(part, file, first_of)]
        cell_messages = [f"{strip_secrets(file)}: {problem}" for problem in found]
        messages += [] if skip_bad_rows else cell_messages
        problems += [replace(one, row_index=one.row_index + num_rows) for one in found]
        parts.append(part)
        first_rows.append(num_rows)
        num_rows += part.num_rows
    if messages:
        raise ManifestError(describe_files(files), messages)
    pass_through = _join_columns(files, parts)
    questions = QuestionTable.joined([part.questions for part in parts], first_rows=first_rows)
    return split_rejected(questions, problems, pass_through)


def _repeated_in_files(part: ReadFile, file: str, first_of: dict[str, tuple[str, int]]) -> list[CellProblem]:
    """Ids that an earlier file has; adds those of this one."""
    named, found, own = {problem.row_index for problem in part.problems}, list[CellProblem](), dict[str, int]()
    ids, rows = part.questions.ids().to_pylist(), part.questions.row_indices.tolist()
    for question_id, row in zip(ids, rows, strict=True):
        if question_id not in first_of:
            own.setdefault(question_id, row)
        elif question_id and row not in named:
            other, first = first_of[question_id]
            place = f"row {first + 1} of {strip_secrets(other)}"
            message = f"{shown(question_id)} is already the id of {place}: ids are unique, change one of them"
            if part.are_ids_made:
                message = f"asks what {place} asks: remove one, or add a column question_id that tells them apart"
            found.append(CellProblem(row_index=row, column="question_id", message=message))
            named.add(row)
    first_of.update({question_id: (file, row) for question_id, row in own.items()})
    return found


def _join_columns(files: Sequence[str], parts: Sequence[ReadFile]) -> pa.Table:
    """Columns of all files; null where a file has none of that name.

    Raises:
        ManifestError: Two files write a column in types that cannot be one, or in another case.
    """
    first: dict[str, tuple[str, pa.DataType, str]] = {}
    problems: list[str] = []
    for file, part in zip(files, parts, strict=False):
        for column in part.pass_through.schema:
            name, kind, other = first.setdefault(column.name.lower(), (column.name, column.type, file))
            if name != column.name:
                problems.append(f"columns {name!r} and {column.name!r} differ in case only: rename one")
            elif not _can_be_one(kind, column.type):
                places = f"{kind} in {strip_secrets(other)} and {column.type} in {strip_secrets(file)}"
                problems.append(f"column {name!r} is {places}: give all its values one type")
            elif pa.types.is_null(kind):
                first[column.name.lower()] = (column.name, column.type, file)
    if problems:
        raise ManifestError(describe_files(files), problems)
    counted = [_with_rows(part) for part in parts]
    joined = pa.concat_tables(counted, promote_options="permissive")
    return joined.drop_columns([""]).combine_chunks()


def _with_rows(part: ReadFile) -> pa.Table:
    """A table without columns has no rows either; this one has a column without a name."""
    rows = pa.nulls(part.num_rows)
    return part.pass_through.append_column("", rows) if part.pass_through.num_columns else pa.table({"": rows})


def _can_be_one(one: pa.DataType, other: pa.DataType) -> bool:
    tables = [pa.table({"c": pa.nulls(0, kind)}) for kind in (one, other)]
    try:
        pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        return False
    return True


def split_rejected(questions: QuestionTable, problems: Sequence[CellProblem], pass_through: pa.Table) -> Manifest:
    """Part the rows that have problems from those that have none."""
    messages: dict[int, list[str]] = {}
    for problem in problems:
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
