"""Writes files so that they are there in whole or not at all: one video's answers are one such file."""

import io
import os
import uuid
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from pipeline.results.keys import part_name
from pipeline.uris import StorageOptions


def commit_answers(
    output_uri: str,
    answers: pa.Table,
    keys: Sequence[str],
    *,
    storage_options: StorageOptions = None,
    subfolder: str = "",
) -> str:
    """Write ``answers`` as one atomic file under ``OUTPUT/answers``; writing the same keys again replaces it.

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
    buffer = io.BytesIO()
    pq.write_table(answers, buffer, compression="zstd")
    uri = f"{output_uri.rstrip('/')}/{PurePosixPath('answers') / folder / part_name(keys)}"
    write_bytes_atomic(uri, buffer.getvalue(), storage_options=storage_options)
    return uri


def write_bytes_atomic(uri: str, content: bytes, *, storage_options: StorageOptions = None) -> None:
    """Write a file that readers see in whole or not at all; folders are made, an older file is replaced.

    Locally a temporary name, fsync and rename; on object stores, which have no rename, one PUT.
    """
    filesystem, path = fsspec.core.url_to_fs(uri, **(storage_options or {}))
    if isinstance(filesystem, LocalFileSystem):
        _write_local(Path(path), content)
    else:
        filesystem.pipe_file(path, content)


def _write_local(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}-{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)
