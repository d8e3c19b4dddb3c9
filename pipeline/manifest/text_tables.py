"""Manifests of text, as spreadsheets and other programs write them: CSV with commas, semicolons or tabs; JSON."""

import codecs
import csv
import io
import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.csv

from pipeline.manifest.problems import ManifestError, shown
from pipeline.manifest.rows import KNOWN_COLUMNS

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins like the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DELIMITERS = ",;\t"


def decode_text(uri: str, content: bytes) -> str:
    """Text of UTF-8, or of what the mark at its beginning says; the mark goes.

    Raises:
        ManifestError: It is neither.
    """
    mark, encoding = next(((mark, name) for mark, name in _MARKS if content.startswith(mark)), (b"", "utf-8"))
    try:
        return content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise ManifestError(uri, [f"not a readable {encoding.upper()} text ({error}): write it as UTF-8"]) from error


def parse_csv(uri: str, text: str) -> pa.Table:
    """Cells between commas, semicolons or tabs: whichever sets the known columns of the header apart.

    Raises:
        ManifestError: Rows differ in length, or it cannot be parsed.
    """
    problems: list[str] = []
    delimiter = _find_delimiter(text)

    def note_ragged_row(row: pyarrow.csv.InvalidRow) -> str:
        counts = f"has {row.actual_columns} cells, the header has {row.expected_columns}"
        name = {",": "commas", ";": "semicolons", "\t": "tabs"}[delimiter]
        problems.append(f"row {row.number - 1} {counts}: quote cells that hold {name} ({shown(row.text)})")
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(text.encode()),
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note_ragged_row
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: pa.string() for name in KNOWN_COLUMNS}, null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowException as error:
        raise ManifestError(uri, [f"not a readable CSV file ({error}): write it again"]) from error
    if problems:
        raise ManifestError(uri, problems)
    return table


def parse_json(uri: str, text: str, limit: int | None) -> list[dict[str, object]]:
    """Rows of an array of objects, or else of JSON lines.

    Raises:
        ManifestError: It is neither.
    """
    if not text.lstrip().startswith("["):
        return parse_json_lines(uri, text, limit)
    try:
        rows = json.loads(text)[:limit]
    except (ValueError, RecursionError) as error:
        raise ManifestError(uri, [f"not JSON ({error}): write an array of objects"]) from error
    return _objects(uri, rows, remedy="write an array of objects")


def parse_json_lines(uri: str, text: str, limit: int | None) -> list[dict[str, object]]:
    """Rows of one object per line.

    Raises:
        ManifestError: A line is not JSON, or no object.
    """
    problems: list[str] = []
    rows: list[object] = []
    for row_number, line in enumerate([line for line in text.split("\n") if line.strip()][:limit], start=1):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            problems.append(f"row {row_number} is not JSON ({error}): write one object per line ({shown(line)})")
            rows.append({})
    return _objects(uri, rows, problems=problems, remedy="write one object per line")


def _objects(uri: str, rows: Sequence[object], *, remedy: str, problems: Sequence[str] = ()) -> list[dict[str, object]]:
    objects = [row for row in rows if isinstance(row, dict)]
    found = [
        *problems,
        *(
            f"row {number} is not a JSON object: {remedy} ({shown(row)})"
            for number, row in enumerate(rows, start=1)
            if not isinstance(row, dict)
        ),
    ]
    if found:
        raise ManifestError(uri, found)
    return objects


def _find_delimiter(text: str) -> str:
    """Of those that set equally many known columns apart the first; a header may hold any of them in a name."""
    header = next((line for line in io.StringIO(text) if line.strip()), "")

    def num_known(delimiter: str) -> int:
        cells = next(csv.reader([header], delimiter=delimiter), [])
        return sum(cell.strip() in KNOWN_COLUMNS for cell in cells)

    return max(_DELIMITERS, key=num_known)
