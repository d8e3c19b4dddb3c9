"""Rows of a table in a terminal that is narrower than they are: cells go on in the line below, nothing is cut off."""

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest

_GAP, _LEAST_WORDS = 2, 10


def text_width(text: str) -> int:
    """Columns on a terminal: wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def fit_rows(
    rows: Sequence[Sequence[str]],
    *,
    header: Sequence[str] | None = None,
    numbers: Collection[int] = (),
    width: int | None = None,
) -> list[str]:
    """Lines of at most ``width`` columns: ``numbers`` to the right, cells of words and headers wrapped where needed.

    Where even the numbers do not fit side by side, the columns go on below, each time behind the first one.

    Args:
        rows: of as many cells as ``header``.
        header: words above each column.
        numbers: columns whose cells are not wrapped.
        width: None: as wide as it gets.
    """
    if not rows and header is None:
        return []
    columns = list(range(len(header if header is not None else rows[0])))
    natural = [max(map(text_width, cells)) for cells in zip(*([header] if header else []), *rows, strict=True)]
    if width is None or _total(natural) <= width:
        return list(_lay_out(rows, header, columns, natural, numbers))
    least = [_least_width(rows, header, column, natural[column], column in numbers) for column in columns]
    lines: list[str] = []
    for block in _blocks(columns, least, width):
        widths = _shrink([natural[c] for c in block], [least[c] for c in block], width)
        lines += [""] if lines else []
        lines += _lay_out(rows, header, block, widths, numbers)
    return lines


def wrap(text: str, width: int) -> list[str]:
    """At spaces; a word that is too long for a line is broken."""
    lines, line = list[str](), ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if text_width(joined) <= width:
            line = joined
            continue
        lines += [line] if line else []
        line = ""
        for character in word:
            if text_width(line + character) > width:
                lines.append(line)
                line = ""
            line += character
    return [*lines, line]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _least_width(
    rows: Sequence[Sequence[str]], header: Sequence[str] | None, column: int, natural: int, is_number: bool
) -> int:
    """A column's width when everything in it that may be wrapped is."""
    head = max(map(text_width, header[column].split(" "))) if header else 0
    if not is_number:
        return min(natural, max(_LEAST_WORDS, head))
    return max(head, *(text_width(row[column]) for row in rows)) if rows else head


def _blocks(columns: Sequence[int], least: Sequence[int], width: int) -> Iterator[list[int]]:
    """Columns that fit side by side."""
    block = [columns[0]]
    for column in columns[1:]:
        if len(block) > 1 and _total([least[c] for c in (*block, column)]) > width:
            yield block
            block = [columns[0]]
        block.append(column)
    yield block


def _shrink(widths: list[int], least: Sequence[int], width: int) -> list[int]:
    """The widest that may, column by column, until all fit."""
    while _total(widths) > width:
        spare = [(own, position) for position, own in enumerate(widths) if own > least[position]]
        if not spare:
            break
        widths[max(spare)[1]] -= 1
    return widths


def _lay_out(
    rows: Sequence[Sequence[str]],
    header: Sequence[str] | None,
    columns: Sequence[int],
    widths: Sequence[int],
    numbers: Collection[int],
) -> Iterator[str]:
    above = (
        [header, ["-" * (widths[columns.index(c)] if c in columns else 0) for c in range(len(header))]]
        if header
        else []
    )
    for row in (*above, *rows):
        cells = [wrap(row[column], width) for column, width in zip(columns, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            yield _aligned(parts, columns, widths, numbers)


def _aligned(parts: Sequence[str], columns: Sequence[int], widths: Sequence[int], numbers: Collection[int]) -> str:
    cells: list[str] = []
    for part, column, width in zip(parts, columns, widths, strict=True):
        padding = " " * (width - text_width(part))
        cells.append(padding + part if column in numbers else part + padding)
    return (" " * _GAP).join(cells).rstrip()
