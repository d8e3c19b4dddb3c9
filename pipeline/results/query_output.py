"""What a query found, as people or other programs want it: a table of text, CSV, JSON lines or Parquet."""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeVar

from pipeline.results.fitted_rows import fit_rows

if TYPE_CHECKING:
    import duckdb

OutputFormat = Literal["table", "csv", "json", "parquet"]
_Found = TypeVar("_Found")

MAX_TABLE_ROWS = 200
"""Rows that a table of text shows; the other formats hold all."""

_MAX_CELL_CHARS = 80
_LEAST_CHARS = 14
_MAX_ATTEMPTS = 5
_FORMULA = re.compile(r"^[=+\-@\t\r\n＝＋－＠]")
_TEXT_TYPES = frozenset({"varchar", "enum", "union", "blob"})
_COPY_OPTIONS = {"csv": "FORMAT csv, HEADER", "json": "FORMAT json", "parquet": "FORMAT parquet, COMPRESSION zstd"}


def write_result(
    connection: "duckdb.DuckDBPyConnection",
    sql: str,
    target: BinaryIO,
    *,
    form: OutputFormat,
    width: int | None = None,
) -> None:
    """Run statements and write what the last one finds.

    Args:
        connection: From ``views.open_database``.
        sql: One or more statements; only what the last one returns is written.
        target: Receives UTF-8 text, or a Parquet file.
        form: ``json`` is one object per line.
        width: Of the screen that a table is for; None shows every column in full.

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
    if statements[-1].type != duckdb.StatementType.SELECT:
        target.write(_as_table(connection.execute(statements[-1]), width).encode())
        return
    if form == "table":
        shown = _again(lambda: _as_table(connection.execute(statements[-1].query), width))
        target.write(shown.encode())
        return
    found = _again(lambda: connection.sql(statements[-1].query).to_arrow_table())
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as writer:
        path = Path(folder) / "result"
        writer.register("found", found)
        columns = _harmless_columns(writer.table("found")) if form == "csv" else "*"
        writer.execute(f"COPY (SELECT {columns} FROM found) TO '{path}' ({_COPY_OPTIONS[form]})")
        with path.open("rb") as file:
            shutil.copyfileobj(file, target)


def _again(ask: Callable[[], _Found]) -> _Found:
    """The answer; asked again where a compaction took a file away between listing and reading."""
    import duckdb

    for _ in range(_MAX_ATTEMPTS - 1):
        with suppress(duckdb.IOException):
            return ask()
    return ask()


def _harmless_columns(found: "duckdb.DuckDBPyRelation") -> str:
    """As SQL: text that a spreadsheet would run as a formula gets a quote before it, as OWASP has it.

    Numbers stay as they are, also those in columns of text.
    """
    columns: list[str] = []
    for name, column_type in zip(found.columns, found.types, strict=True):
        quoted, shown = _identifier(name), f"'{name}" if _FORMULA.match(name) else name
        if column_type.id in _TEXT_TYPES:
            text = f"CAST({quoted} AS VARCHAR)"
            is_formula = f"regexp_matches({text}, '{_FORMULA.pattern}') AND TRY_CAST({text} AS DOUBLE) IS NULL"
            quoted = f"CASE WHEN {is_formula} THEN chr(39) || {text} ELSE {text} END"
        columns.append(f"{quoted} AS {_identifier(shown)}")
    return ", ".join(columns)


def _identifier(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def format_table(names: Sequence[str], rows: Sequence[Sequence[object]], *, width: int | None = None) -> str:
    """Columns under their names, numbers to the right; control characters, which steer terminals, are written out.

    Args:
        names: of the columns.
        rows: of their values.
        width: of the screen: columns of text are cut to fit it, and those in the middle left out where that is not
            enough, with a line that says so.
    """
    cells = [[_format_cell(value) for value in row] for row in rows]
    header = [printable(name) for name in names]
    numbers = {column for column in range(len(names)) if _holds_numbers([row[column] for row in rows])}
    widths = [max(len(line[column]) for line in (header, *cells)) for column in range(len(names))]
    shown, room = fit_columns(widths, width)
    lines = fit_rows(
        [[_cut(row[column], size) for column, size in zip(shown, room, strict=True)] for row in cells],
        header=[_cut(header[column], size) for column, size in zip(shown, room, strict=True)],
        numbers=[place for place, column in enumerate(shown) if column in numbers],
    )
    if len(shown) < len(names):
        lines.append(f"({len(names)} columns, {len(shown)} of them fit; name some, or --format csv or json for all)")
    return "\n".join(lines)


def fit_columns(widths: Sequence[int], width: int | None) -> tuple[list[int], list[int]]:
    """Which columns are shown, in order, and how wide each: the widest are cut first, to `_LEAST_CHARS` at most.

    Example: ``([4, 30, 4], 30) -> ([0, 1, 2], [4, 18, 4])``, with two blanks between columns.
    """
    shown = list(range(len(widths)))
    if width is None:
        return shown, list(widths)
    least = [min(size, _LEAST_CHARS) for size in widths]
    while len(shown) > 1 and sum(least[column] + 2 for column in shown) - 2 > width:
        shown.pop(len(shown) // 2)
    room = [widths[column] for column in shown]
    while sum(size + 2 for size in room) - 2 > width and max(room) > 1:
        room[room.index(max(room))] -= 1
    return shown, room


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[: max(0, size - 1)]}…"


def _as_table(result: "duckdb.DuckDBPyConnection", width: int | None) -> str:
    if not result.description:
        return ""
    rows = result.fetchmany(MAX_TABLE_ROWS)
    text = format_table([column[0] for column in result.description], rows, width=width)
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
