"""``OUTPUT/delta``: the answers as a Delta table, of which each version is one state of them, exactly.

Bringing it up to date is one transaction with the difference to what counts in ``OUTPUT/answers`` now: a reader sees
all of it or nothing, and every earlier version stays readable. The files of ``answers`` are neither needed nor changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.results.compaction import find_standing
from pipeline.results.delta_store import delta_store
from pipeline.results.part_files import AnswersFolder, PartFile
from pipeline.results.row_choice import with_added_columns
from pipeline.results.row_index import read_index
from pipeline.results.schema import ANSWERS_SCHEMA
from pipeline.uris import StorageOptions, strip_secrets

if TYPE_CHECKING:
    from deltalake import DeltaTable

FOLDER = "delta"
INSTALL = "the Delta table needs the package deltalake: pip install 'adapttoken-ray[delta]'"
_STAMP = ("question_key", "status", "num_runs", "finished_at", "run_id")
_GONE = "_gone"
_MAX_ATTEMPTS = 5

_Stamp: TypeAlias = tuple[object, ...]
"""What tells two rows of one key apart: they are written once, and differ in when and by whom."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeltaReport:
    """What one transaction did; ``version`` is the table's now."""

    version: int
    num_added: int
    num_changed: int
    num_removed: int


def check_delta() -> None:
    """Whether Delta tables can be kept here; before any work.

    Raises:
        ValueError: The library is missing; says what to type.
    """
    try:
        import deltalake  # noqa: F401
    except ImportError as error:
        raise ValueError(INSTALL) from error


def sync_delta(output_uri: str, *, storage_options: StorageOptions = None) -> DeltaReport:
    """Bring ``OUTPUT/delta`` up to date with the rows that count; no version is made where nothing differs.

    Args:
        output_uri: folder of all results.
        storage_options: for its file system.

    Raises:
        ValueError: The library is missing, a result file is not readable, or a column has changed its type.
        OSError: The storage failed, or files keep vanishing.
    """
    check_delta()
    from deltalake.exceptions import DeltaError

    place, options = delta_store(output_uri, FOLDER, storage_options)
    for attempt in range(_MAX_ATTEMPTS):
        folder = AnswersFolder(output_uri, storage_options)
        try:
            return _sync(folder, place, options)
        except FileNotFoundError:  # merged away, or replaced, since it was listed
            continue
        except DeltaError as error:  # another run was faster
            if attempt == _MAX_ATTEMPTS - 1:
                raise OSError(f"{strip_secrets(place)} cannot be written: {error}") from error
    raise OSError(f"result files under {strip_secrets(output_uri)} vanished {_MAX_ATTEMPTS} times while they were read")


def tidy_delta(output_uri: str, *, storage_options: StorageOptions = None) -> int:
    """Merge the table's small files; every version stays readable. Returns the version."""
    check_delta()
    from deltalake import DeltaTable

    place, options = delta_store(output_uri, FOLDER, storage_options)
    table = DeltaTable(place, storage_options=options)
    table.optimize.compact()
    return int(table.version())


def _sync(folder: AnswersFolder, place: str, options: dict[str, str]) -> DeltaReport:
    from deltalake.exceptions import DeltaError

    # 1. what counts (all files → 1 stamp per question) and what the table has
    found = _stamps_by_file(folder)
    table = _open(place, options)
    known = {} if table is None else _stamps(table.to_pyarrow_table(columns=list(_STAMP)))
    # 2. the difference
    changed = {part: [key for key, stamp in rows.items() if known.get(key) != stamp] for part, rows in found.items()}
    changed = {part: keys for part, keys in changed.items() if keys}
    keys = [key for names in changed.values() for key in names]
    gone = sorted(known.keys() - {key for rows in found.values() for key in rows})
    num_changed = sum(key in known for key in keys)
    if not keys and not gone and table is not None:
        return DeltaReport(version=table.version(), num_added=0, num_changed=0, num_removed=0)
    # 3. one transaction
    schema = _agree(folder, list(changed), table)
    difference = _Rows(folder, changed, schema)
    try:
        version = _write(place, options, table, difference, gone if num_changed or gone else None)
    except DeltaError as error:
        raise difference.failure or error from error
    return DeltaReport(
        version=version, num_added=len(keys) - num_changed, num_changed=num_changed, num_removed=len(gone)
    )


def _stamps_by_file(folder: AnswersFolder) -> dict[PartFile, dict[str, _Stamp]]:
    index = read_index(folder)
    standing = find_standing(folder, index)
    wanted: dict[PartFile, set[str]] = {}
    for row in standing.tolist():
        wanted.setdefault(index.parts[index.files[row]], set()).add(index.keys[row].decode())
    read = {
        part: {key: stamp for key, stamp in _stamps(folder.read_part(part, _STAMP)).items() if key in keys}
        for part, keys in wanted.items()
    }
    if any(read[part].keys() != keys for part, keys in wanted.items()):
        raise FileNotFoundError("a file was replaced while it was read")
    return read


def _stamps(rows: pa.Table) -> dict[str, _Stamp]:
    finished = rows.column("finished_at").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    columns = [rows.column("status"), rows.column("num_runs").fill_null(1), finished, rows.column("run_id")]
    stamps = zip(*(column.to_pylist() for column in columns), strict=True)
    return dict(zip(rows.column("question_key").to_pylist(), stamps, strict=True))


def _open(place: str, options: dict[str, str]) -> "DeltaTable | None":
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    try:
        return DeltaTable(place, storage_options=options)
    except TableNotFoundError:
        return None


class _Rows:
    """The rows of some keys, file by file, so that an archive's first transaction needs no more memory than a file.

    Attributes:
        schema: of all.
        failure: what ended the reading; Delta's own error only quotes it.
    """

    def __init__(self, folder: AnswersFolder, keys: Mapping[PartFile, Sequence[str]], schema: pa.Schema) -> None:
        self._folder, self._keys, self.schema = folder, keys, schema
        self.failure: ValueError | OSError | None = None

    def reader(self, gone: Sequence[str] | None) -> pa.RecordBatchReader:
        """As a stream; with ``gone`` there is a column that marks them, as rows of a key and nothing else."""
        schema = self.schema if gone is None else self.schema.append(pa.field(_GONE, pa.bool_()))
        return pa.RecordBatchReader.from_batches(schema, self._batches(schema, gone))

    def _batches(self, schema: pa.Schema, gone: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        for part, keys in self._keys.items():
            try:
                rows = self._folder.read_part(part)
                rows = rows.filter(pc.is_in(rows.column("question_key"), pa.array(keys, pa.string())))
                fitting = _fit(rows, schema)
            except (ValueError, OSError) as error:
                self.failure = error
                raise
            yield from fitting.to_batches()
        if gone:
            lost = pa.table({"question_key": pa.array(gone, pa.string()), _GONE: np.ones(len(gone), bool)})
            yield from _fit(lost, schema).to_batches()


def _fit(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        if field.name in rows.column_names:
            columns.append(_cast(rows.column(field.name), field))
        elif field.name == _GONE:
            columns.append(pa.array(np.zeros(rows.num_rows, bool)))
        else:
            columns.append(pa.nulls(rows.num_rows, field.type))
    return pa.table(columns, schema=schema)


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise ValueError(
            f"--table delta: column {field.name!r} holds {field.type} in the table and {column.type} in new rows that "
            "cannot be read as such: give the manifest's column the old type, or another name"
        ) from error


def _agree(folder: AnswersFolder, parts: Sequence[PartFile], table: "DeltaTable | None") -> pa.Schema:
    """The table's columns as they are, and those that new rows bring."""
    fields = {} if table is None else {field.name: field for field in pa.schema(table.schema().to_arrow())}
    fields |= {field.name: field for field in ANSWERS_SCHEMA if field.name not in fields}
    for part in parts:
        for field in with_added_columns(folder.read_part(part).slice(0, 0)).schema:
            known = fields.get(field.name)
            if known is None or (table is None and pa.types.is_null(known.type)):
                fields[field.name] = field
    return pa.schema(
        [field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in fields.values()]
    )


def _write(
    place: str, options: dict[str, str], table: "DeltaTable | None", rows: _Rows, gone: Sequence[str] | None
) -> int:
    from deltalake import DeltaTable, write_deltalake

    if table is None or gone is None:  # only new questions, by far the most frequent: nothing is rewritten
        write_deltalake(place, rows.reader(None), mode="append", schema_mode="merge", storage_options=options)
        return int(DeltaTable(place, storage_options=options).version())
    known = {field.name for field in table.schema().fields}
    added = [field for field in rows.schema if field.name not in known]
    if added:
        write_deltalake(place, rows.schema.empty_table(), mode="append", schema_mode="merge", storage_options=options)
        table = DeltaTable(place, storage_options=options)
    values = {_quoted(name): f"s.{_quoted(name)}" for name in rows.schema.names}
    (
        table.merge(rows.reader(gone), predicate="t.question_key = s.question_key", source_alias="s", target_alias="t")
        .when_matched_delete(predicate=f"s.{_GONE}")
        .when_matched_update(updates=values, predicate=f"NOT s.{_GONE}")
        .when_not_matched_insert(updates=values, predicate=f"NOT s.{_GONE}")
        .execute()
    )
    return int(table.version())


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
