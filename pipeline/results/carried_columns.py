"""The manifest's other columns as the results will hold them: found out before any work whether they can be written."""

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.results.portable_types import is_json_text, to_portable
from pipeline.results.schema import results_schema

_REMEDY = "give it another type, or leave it out"


def carry_columns(pass_through: pa.Table) -> tuple[pa.Table, list[str]]:
    """All values in the types of the results, and warnings about what changes its form.

    Raises:
        ValueError: Columns cannot be written; names each.
    """
    columns: dict[str, pa.ChunkedArray] = {}
    problems: list[str] = []
    warnings: list[str] = []
    for name in pass_through.column_names:
        column = pass_through.column(name)
        try:
            columns[name] = to_portable(column)
        except (pa.ArrowException, ValueError, OverflowError) as error:
            problems.append(
                f"column {name!r} of type {column.type} cannot be carried ({_first_line(error)}): {_REMEDY}"
            )
            continue
        if is_json_text(column.type):
            warnings.append(f"column {name!r} of type {column.type} is carried as JSON text: Parquet has no such type")
    carried = pa.table(columns) if columns else pass_through.select([])
    problems += _unwritable(carried.schema)
    if problems:
        raise ValueError("\n  ".join(["the manifest cannot be used:", *problems]))
    return carried, warnings


def _unwritable(pass_through: pa.Schema) -> Iterator[str]:
    """An empty file of each column is written to memory and read back: what fails here would fail at a commit."""
    for field in pass_through:
        try:
            written = io.BytesIO()
            pq.write_table(results_schema(pa.schema([field])).empty_table(), written)
            pq.ParquetFile(pa.BufferReader(written.getvalue())).read().validate(full=True)
        except (pa.ArrowException, ValueError, OSError) as error:
            yield f"column {field.name!r} of type {field.type} cannot be written ({_first_line(error)}): {_REMEDY}"
        for name in _repeated_names(field.type):
            yield f"column {field.name!r} holds two fields {name!r} side by side: rename one"


def _repeated_names(column_type: pa.DataType) -> Iterator[str]:
    if not pa.types.is_nested(column_type):
        return
    fields = [column_type.field(index) for index in range(column_type.num_fields)]
    names = [field.name for field in fields]
    yield from sorted({name for name in names if names.count(name) > 1})
    for field in fields:
        yield from _repeated_names(field.type)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
