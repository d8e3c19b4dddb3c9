"""A table once, shown twice: aligned for a terminal, and as Markdown."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A title, a header, rows of as many cells, and remarks below."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def to_text(tables: Sequence[Table]) -> str:
    """For a terminal: columns of numbers to the right, of words to the left."""
    return "\n\n".join("\n".join(_text_lines(table)) for table in tables)


def to_markdown(tables: Sequence[Table]) -> str:
    """Sections with pipe tables."""
    return "\n\n".join("\n".join(_markdown_lines(table)) for table in tables) + "\n"


def _text_lines(table: Table) -> list[str]:
    lines = [table.title]
    if table.rows:
        cells = [table.header, *table.rows]
        widths = [max(_width(row[column]) for row in cells) for column in range(len(table.header))]
        rule = tuple("-" * width for width in widths)
        numbers = _number_columns(table)
        lines += [_aligned(row, widths, numbers) for row in (table.header, rule, *table.rows)]
    return [*lines, *(f"  {note}" for note in table.notes)]


def _number_columns(table: Table) -> frozenset[int]:
    """Columns without a word: numbers and dashes; never the first."""
    columns = range(1, len(table.header))
    return frozenset(column for column in columns if not any(row[column][:1].isalpha() for row in table.rows))


def _aligned(row: Sequence[str], widths: Sequence[int], numbers: frozenset[int]) -> str:
    cells: list[str] = []
    for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
        padding = " " * (width - _width(cell))
        cells.append(padding + cell if column in numbers else cell + padding)
    return "  ".join(cells).rstrip()


def _markdown_lines(table: Table) -> list[str]:
    lines = [f"## {table.title}", ""]
    if table.rows:
        lines.append(_piped(table.header))
        numbers = _number_columns(table)
        rules = ["---:" if column in numbers else "---" for column in range(len(table.header))]
        lines.append("|" + "|".join(rules) + "|")
        lines += [_piped(row) for row in table.rows]
    return [*lines, *([""] if table.notes and table.rows else []), *(f"- {note}" for note in table.notes)]


def _piped(row: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _width(text: str) -> int:
    """Columns on a terminal: wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
