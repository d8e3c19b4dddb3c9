"""Writes answers so that they are there in whole or not at all: one video's answers are one such file."""

import io
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.results.atomic_files import change_file, current_version, write_bytes_atomic
from pipeline.results.keys import part_name
from pipeline.results.part_files import parse_part
from pipeline.results.row_choice import combine_rows
from pipeline.uris import StorageOptions

__all__ = ["commit_answers", "drop_rows", "replace_rows", "write_bytes_atomic", "write_part"]

_ROW_GROUP_ROWS = 10_000


def commit_answers(
    output_uri: str,
    answers: pa.Table,
    keys: Sequence[str],
    *,
    storage_options: StorageOptions = None,
    subfolder: str = "",
) -> str:
    """Write ``answers`` as one atomic file under ``OUTPUT/answers``.

    Another run that had the same questions left writes the same file: of each question the better row stays.

    Args:
        output_uri: Folder of all results.
        answers: From ``schema.results_table``.
        keys: The question keys the file must hold: a check that no other video's rows got in.
        storage_options: For the file system of ``output_uri``.
        subfolder: Relative folder below ``answers``, such as ``day=2026-01-31``.

    Returns:
        Path or URI of the file.

    Raises:
        ValueError: The table does not hold exactly ``keys``, or ``subfolder`` leaves the folder.
    """
    held = answers.column("question_key").to_pylist()
    if sorted(held) != sorted(keys):
        differing = sorted(set(held) ^ set(keys))
        raise ValueError(f"the table must hold each of its {len(keys)} keys once, got {len(held)} rows; {differing=}")
    folder = PurePosixPath(subfolder)
    if folder.is_absolute() or ".." in folder.parts:
        raise ValueError(f"subfolder must be a relative path without '..', got {subfolder!r}")
    uri = f"{output_uri.rstrip('/')}/{PurePosixPath('answers') / folder / part_name(keys)}"
    filesystem, path = fsspec.core.url_to_fs(uri, **(storage_options or {}))
    write_part(filesystem, path, answers)
    return uri


def write_part(filesystem: fsspec.AbstractFileSystem, path: str, answers: pa.Table) -> None:
    """Write a file whose name is that of the table's keys; an older one of this name keeps its better rows."""

    def add_to(old: bytes | None) -> bytes:
        return _to_parquet((old and _add_to(old, path, answers)) or answers)

    change_file(filesystem, path, add_to)


def replace_rows(
    filesystem: fsspec.AbstractFileSystem, path: str, answers: pa.Table, *, instead_of: Sequence[str] | None = None
) -> bool:
    """Put ``answers`` in the place of the rows with their keys in a file; its other rows and its name stay.

    Args:
        filesystem: Of the file.
        path: Of the file.
        answers: New rows.
        instead_of: Keys of the rows that go, one for each new row, where those are of other keys.

    Returns:
        False if nothing was written, because the file is gone or does not hold those keys (a compaction moved them),
        or its columns have other types: then write a file of its own.
    """
    is_replaced = False

    def replace(old: bytes | None) -> bytes | None:
        nonlocal is_replaced
        combined = None if old is None else _combine(old, path, answers, instead_of=instead_of)
        is_replaced = combined is not None
        return None if combined is None else _to_parquet(combined)

    change_file(filesystem, path, replace)
    return is_replaced


def drop_rows(
    filesystem: fsspec.AbstractFileSystem, path: str, keys: Collection[str], *, version: str | None = None
) -> bool:
    """Rewrite a file without the rows of these keys, which have a better row, or a copy, in another file.

    Args:
        filesystem: That of ``path``.
        path: Of the file.
        keys: Of rows in it; others are none of its business.
        version: Of the file that was looked at: a later one stays as it is. None: only failed rows are dropped.

    Returns:
        Whether the file was rewritten.
    """
    is_rewritten = False

    def drop(old: bytes | None) -> bytes | None:
        nonlocal is_rewritten
        is_rewritten = False
        if old is None or (version is not None and current_version(filesystem, path) != version):
            return None
        held = parse_part(pa.BufferReader(old), name=path)
        is_dropped = pc.is_in(held.column("question_key"), pa.array(list(keys), pa.string()))
        if version is None:
            is_dropped = pc.and_(is_dropped, pc.equal(held.column("status"), "failed").combine_chunks())
        is_rewritten = bool(pc.any(is_dropped, min_count=0).as_py())
        return _to_parquet(held.filter(pc.invert(is_dropped))) if is_rewritten else None

    change_file(filesystem, path, drop)
    return is_rewritten


def _combine(old: bytes, path: str, answers: pa.Table, *, instead_of: Sequence[str] | None = None) -> pa.Table | None:
    """The better row of each key of a file that holds the rows which ``answers`` replace; None if it does not fit."""
    keys = answers.column("question_key").combine_chunks()
    replaced = keys if instead_of is None else pa.array(instead_of, pa.string())
    try:
        held = parse_part(pa.BufferReader(old), name=path)
        of_held = held.column("question_key").combine_chunks()
        if not pc.all(pc.is_in(replaced, of_held)).as_py():
            return None
        goes = pc.and_(pc.is_in(of_held, replaced), pc.invert(pc.is_in(of_held, keys)))
        return combine_rows([held.filter(pc.invert(goes)), answers], last_of_equals=True)
    except (ValueError, pa.ArrowException):
        return None


def _add_to(old: bytes, path: str, answers: pa.Table) -> pa.Table | None:
    """The better row of each key, and what the file holds besides: answers in the place of failed rows."""
    try:
        held = parse_part(pa.BufferReader(old), name=path)
        return combine_rows([held, answers], last_of_equals=True)
    except (ValueError, pa.ArrowException):
        return None


def _to_parquet(answers: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(answers, buffer, compression="zstd", row_group_size=_ROW_GROUP_ROWS)
    return buffer.getvalue()
