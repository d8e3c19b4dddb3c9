"""The files that hold answers: finding and reading them while runs and compactions replace and delete some."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeAlias, TypeVar

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from pipeline.results.atomic_files import file_version
from pipeline.results.schema import ADDED_COLUMNS, ANSWERS_SCHEMA
from pipeline.uris import StorageOptions, strip_secrets

NUM_LOCAL_READERS = os.cpu_count() or 1
NUM_REMOTE_READERS = 32
MAX_LISTINGS = 10
"""How often files may vanish between listing and reading before a reader gives up."""

_ONE_LOOK = 300  # files that every storage lists at one moment: in one answer of S3, in one call of the kernel
_MAX_ATTEMPTS = 3
_WHOLE_BYTES = 4 * 1024**2
_BLOCK_BYTES = 1024**2
_KINDS: tuple[Callable[[pa.DataType], bool], ...] = (
    lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind),
    lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind),
    pa.types.is_timestamp,
    pa.types.is_struct,
    lambda kind: pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_list_view(kind),
)
_REMEDY = "delete it and run again: its questions are answered anew"
_LOG = logging.getLogger("adapttoken.results")

_Read = TypeVar("_Read")


class ForeignFileError(ValueError):
    """A Parquet file that only has the name of a result file; readers of a whole folder warn of it and go on."""


class BrokenFileError(ValueError):
    """A result file that cannot be read; who only shows rows warns of it and goes on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartFile:
    """One file as a listing names it.

    Attributes:
        path: As the file system calls it, without a scheme.
        version: From ``atomic_files.file_version``.
    """

    path: str
    size_bytes: int
    version: str


ReadPart: TypeAlias = Callable[[PartFile], _Read]


class AnswersFolder:
    """``OUTPUT/answers`` and all folders below."""

    def __init__(self, output_uri: str, storage_options: StorageOptions = None) -> None:
        self.filesystem, root = fsspec.core.url_to_fs(output_uri, **(storage_options or {}))
        self.path = f"{root.rstrip('/')}/answers"

    def is_there(self) -> bool:
        """Whether some run has used the output folder."""
        root = self.path.removesuffix("/answers")
        return any(self.filesystem.exists(path) for path in (self.path, f"{root}/runs"))

    def list_parts(self) -> list[PartFile]:
        """Every committed file, by path.

        Raises:
            OSError: A folder cannot be listed.
        """
        parts = [
            PartFile(path=path, size_bytes=int(str(info["size"])), version=file_version(info))
            for path, info in self._list()
            if is_part(path.rpartition("/")[2])
        ]
        return sorted(parts, key=lambda part: part.path)

    def read_all(self, read: ReadPart[_Read], *, skips_broken: bool = False) -> list[tuple[PartFile, _Read]]:
        """Apply ``read`` to every committed file, several at once; by path.

        What was written before this call is seen: when a file vanishes, because its rows are in a larger one by now,
        the folder is listed again; so it is after a long listing, which is of no one moment and may have missed both.

        Args:
            read: Called in several threads.
            skips_broken: Leave out what cannot be read, with a warning that names it, unless that is every file. A run
                must not: it would answer the questions in there once more.

        Raises:
            BrokenFileError: A file cannot be read.
            OSError: The folder cannot be listed, or files keep vanishing.
        """
        results: dict[PartFile, _Read | _LeftOut] = {}
        attempt = partial(_try_to_read, read, skips_broken=skips_broken)
        is_local = isinstance(self.filesystem, LocalFileSystem)
        with ThreadPoolExecutor(NUM_LOCAL_READERS if is_local else NUM_REMOTE_READERS) as pool:
            for _ in range(MAX_LISTINGS):
                parts = self.list_parts()
                new = [part for part in parts if part not in results]
                found = list(zip(new, pool.map(attempt, new), strict=True))
                results |= {part: result for part, result in found if result is not None}
                if all(result is not None for _, result in found) and len(new) <= _ONE_LOOK:
                    kept = [(part, results[part]) for part in parts]
                    return _without_left_out(kept)
        message = f"result files under {strip_secrets(self.path)} vanished {MAX_LISTINGS} times while they were read"
        raise OSError(f"{message}: try again when no compaction runs")

    def read_part(self, part: PartFile, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of one file, of one point in time.

        Args:
            part: From `list_parts`.
            columns: Of these only; default all.

        Raises:
            FileNotFoundError: It has gone since.
            ForeignFileError: It is no result file; names it.
            BrokenFileError: It is not readable; names it.
        """
        for attempt in range(_MAX_ATTEMPTS):
            try:
                return parse_part(self._source(part, columns), name=part.path, columns=columns)
            except (FileNotFoundError, ForeignFileError):
                raise
            except (ValueError, OSError) as error:  # replaced while it was read in pieces: again from the start
                if attempt == _MAX_ATTEMPTS - 1:
                    if isinstance(error, ValueError):
                        raise
                    raise _unreadable(part.path, error) from error
        raise AssertionError("the last attempt returns or raises")

    def modified_s(self, part: PartFile) -> float:
        """When the file was written, seconds since 1970 by the storage's clock; now if it has gone."""
        try:
            modified: datetime = self.filesystem.modified(part.path)
        except FileNotFoundError:
            return time.time()
        return (modified if modified.tzinfo else modified.replace(tzinfo=UTC)).timestamp()

    def _source(self, part: PartFile, columns: Sequence[str] | None) -> "pa.NativeFile | str":
        if columns is None or part.size_bytes <= _WHOLE_BYTES:
            return pa.BufferReader(self.filesystem.cat_file(part.path))
        if isinstance(self.filesystem, LocalFileSystem):
            return part.path
        self.filesystem.invalidate_cache(part.path.rpartition("/")[0])
        return pa.PythonFile(self.filesystem.open(part.path, "rb", block_size=_BLOCK_BYTES), mode="r")

    def _list(self) -> Iterator[tuple[str, dict[str, object]]]:
        if not isinstance(self.filesystem, LocalFileSystem):
            self.filesystem.invalidate_cache()
            yield from self.filesystem.find(self.path, detail=True).items()
            return
        # Unlike fsspec's own, this one does not take a folder that cannot be read for an empty one.
        for folder, _, names in os.walk(self.path, onerror=_raise_unless_missing):
            for name in filter(is_part, names):
                path = f"{folder}/{name}"
                try:
                    yield path, self.filesystem.info(path)
                except FileNotFoundError:
                    continue  # deleted since: its rows are in another file


def is_part(name: str) -> bool:
    """Whether a file of this name is a commit; temporary and foreign files are not."""
    return name.startswith("part-") and name.endswith(".parquet")


def parse_part(source: "pa.NativeFile | str", *, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The table of a result file; ``name`` is for messages.

    Raises:
        FileNotFoundError: There is no such file.
        ForeignFileError: It is no result file.
        BrokenFileError: It is not readable.
    """
    try:
        with pq.ParquetFile(source, pre_buffer=False) as file:  # buffering would hand each read to other threads
            table = file.read(columns=None if columns is None else list(columns), use_threads=False)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(name, error) from error
    required = set(columns or ANSWERS_SCHEMA.names)
    missing = sorted(required - ADDED_COLUMNS - set(table.column_names))
    if missing:
        raise ForeignFileError(f"{strip_secrets(name)} is no result file: it lacks the columns {missing}")
    for field in table.schema:
        if not _is_of_a_kind(field):
            message = f"its column {field.name} holds {field.type}, not {ANSWERS_SCHEMA.field(field.name).type}"
            raise ForeignFileError(f"{strip_secrets(name)} is no result file: {message}")
    for added in required - set(table.column_names) if columns else ():
        table = table.append_column(added, pa.nulls(table.num_rows, ANSWERS_SCHEMA.field(added).type))
    table = table.select(list(columns)) if columns else table
    return _with_keys(table, name) if "question_key" in table.column_names else table


def _with_keys(table: pa.Table, name: str) -> pa.Table:
    """Without rows that no key identifies: nothing can say which question they answer, or which of two counts."""
    keys = table.column("question_key")
    if not keys.null_count:
        return table
    if keys.null_count == len(keys):
        raise ForeignFileError(f"{strip_secrets(name)} is no result file: none of its rows has a question_key")
    _LOG.warning("result file %s: %d rows without question_key are left out", strip_secrets(name), keys.null_count)
    return table.filter(pc.is_valid(keys))


def _is_of_a_kind(field: pa.Field) -> bool:
    """Whether a column of ours has texts where texts belong, numbers or times where those do."""
    if field.name not in ANSWERS_SCHEMA.names:
        return True
    held, wanted = field.type, ANSWERS_SCHEMA.field(field.name).type
    held = held.value_type if pa.types.is_dictionary(held) else held
    return bool(held == wanted or pa.types.is_null(held) or any(kind(held) and kind(wanted) for kind in _KINDS))


def _unreadable(name: str, error: Exception) -> BrokenFileError:
    return BrokenFileError(f"result file {strip_secrets(name)} is not readable ({error}): {_REMEDY}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _LeftOut:
    """Stands for what was read of a file that is foreign, or broken."""

    error: ValueError


def _try_to_read(read: ReadPart[_Read], part: PartFile, *, skips_broken: bool) -> "_Read | _LeftOut | None":
    """None where the file has vanished."""
    try:
        return read(part)
    except FileNotFoundError:
        return None
    except (ForeignFileError, BrokenFileError) as error:
        if isinstance(error, BrokenFileError) and not skips_broken:
            raise
        return _LeftOut(error=error)


def _without_left_out(found: "Sequence[tuple[PartFile, _Read | _LeftOut]]") -> list[tuple[PartFile, _Read]]:
    """What has been read; a warning for each of the others."""
    sound = [(part, result) for part, result in found if not isinstance(result, _LeftOut)]
    errors = [result.error for _, result in found if isinstance(result, _LeftOut)]
    broken = [error for error in errors if isinstance(error, BrokenFileError)]
    if broken and not sound:
        raise broken[0]
    for error in errors:
        _LOG.warning("%s; it is left out", error)
    return sound


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
