"""A table once, shown twice: aligned for a terminal, and as Markdown; the one place where columns are laid out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipeline.results.fitted_rows import fit_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A title, a header, rows of as many cells, and remarks below."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def to_text(tables: Sequence[Table], *, width: int | None = None) -> str:
    """For a terminal: columns of numbers to the right, of words to the left; see ``fit_rows`` on ``width``."""
    return "\n\n".join("\n".join(_text_lines(table, width)) for table in tables)


def to_markdown(tables: Sequence[Table]) -> str:
    """Sections with pipe tables."""
    return "\n\n".join("\n".join(_markdown_lines(table)) for table in tables) + "\n"


def pipe_rows(rows: Sequence[Sequence[object]], *, header: Sequence[str], numbers: Collection[int] = ()) -> list[str]:
    """``[(1, 2)], header=("a", "b")  ->  "| a | b |", "|---|---|", "| 1 | 2 |"``: the lines of a Markdown table."""
    rules = ["---:" if column in numbers else "---" for column in range(len(header))]
    return [_piped(header), f"|{'|'.join(rules)}|", *map(_piped, rows)]


def _text_lines(table: Table, width: int | None) -> list[str]:
    numbers = _number_columns(table)
    rows = fit_rows(table.rows, header=table.header, numbers=numbers, width=width) if table.rows else []
    return [table.title, *rows, *(f"  {note}" for note in table.notes)]


def _number_columns(table: Table) -> frozenset[int]:
    """Columns without a word: numbers and dashes; never the first."""
    columns = range(1, len(table.header))
    return frozenset(column for column in columns if not any(row[column][:1].isalpha() for row in table.rows))


def _markdown_lines(table: Table) -> list[str]:
    rows = pipe_rows(table.rows, header=table.header, numbers=_number_columns(table)) if table.rows else []
    between = [""] if table.notes and table.rows else []
    return [f"## {table.title}", "", *rows, *between, *(f"- {note}" for note in table.notes)]


def _piped(row: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
