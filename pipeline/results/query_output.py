"""What a query found, as people or other programs want it: a table of text, CSV, JSON lines or Parquet."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from pipeline.results.tables import align_rows

if TYPE_CHECKING:
    import duckdb

OutputFormat = Literal["table", "csv", "json", "parquet"]

MAX_TABLE_ROWS = 200
"""Rows that a table of text shows; the other formats hold all."""

_MAX_CELL_CHARS = 80
_COPY_OPTIONS = {"csv": "FORMAT csv, HEADER", "json": "FORMAT json", "parquet": "FORMAT parquet, COMPRESSION zstd"}


def write_result(connection: "duckdb.DuckDBPyConnection", sql: str, target: BinaryIO, *, form: OutputFormat) -> None:
    """Run statements and write what the last one finds.

    Args:
        connection: From ``views.open_database``.
        sql: One or more statements; only what the last one returns is written.
        target: Receives UTF-8 text, or a Parquet file.
        form: ``json`` is one object per line.

    Raises:
        ValueError: There is no statement in ``sql``.
        duckdb.Error: The SQL is wrong, or a file cannot be read.
    """
    import duckdb

    statements = duckdb.extract_statements(sql)
    if not statements:
        raise ValueError(f'there is no SQL statement in {sql!r}: write for example "SELECT count(*) FROM answers"')
    for statement in statements[:-1]:
        connection.execute(statement)
    if form == "table" or statements[-1].type != duckdb.StatementType.SELECT:
        target.write(_as_table(connection.execute(statements[-1])).encode())
        return
    found = connection.sql(statements[-1].query).to_arrow_table()
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as writer:
        path = Path(folder) / "result"
        writer.register("found", found)
        writer.execute(f"COPY found TO '{path}' ({_COPY_OPTIONS[form]})")
        with path.open("rb") as file:
            shutil.copyfileobj(file, target)


def format_table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns under their names, numbers to the right; control characters, which steer terminals, are written out."""
    cells = [[_format_cell(value) for value in row] for row in rows]
    numbers = [column for column in range(len(names)) if _holds_numbers([row[column] for row in rows])]
    return "\n".join(align_rows(cells, header=[printable(name) for name in names], numbers=numbers))


def _as_table(result: "duckdb.DuckDBPyConnection") -> str:
    if not result.description:
        return ""
    rows = result.fetchmany(MAX_TABLE_ROWS)
    text = format_table([column[0] for column in result.description], rows)
    hidden = result.fetchone() is not None
    more = f"… only the first {MAX_TABLE_ROWS} rows; --format csv, json or parquet gives all\n" if hidden else ""
    return f"{text}\n{more}({len(rows)}{'+' if hidden else ''} {'row' if len(rows) == 1 else 'rows'})\n"


def _holds_numbers(column: Sequence[object]) -> bool:
    values = [value for value in column if value is not None]
    return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _format_cell(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, list | dict | tuple):
        value = json.dumps(_shorten(value), ensure_ascii=False, default=str)
    text = printable(str(value))
    return text if len(text) <= _MAX_CELL_CHARS else f"{text[: _MAX_CELL_CHARS - 1]}…"


def _shorten(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _shorten(inner) for name, inner in value.items()}
    return [_shorten(inner) for inner in value] if isinstance(value, list | tuple) else value


def printable(text: str) -> str:
    """Control characters, which steer terminals, written out as their codes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
