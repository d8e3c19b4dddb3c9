"""Reads a manifest file (Parquet, or text: see ``text_tables``) into columns. What values must be is in ``rows``."""

import io
from dataclasses import dataclass

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.failures import with_store_errors
from pipeline.manifest.problems import ManifestError
from pipeline.manifest.rows import CARRIED_COLUMNS, KNOWN_COLUMNS
from pipeline.manifest.text_tables import decode_text, parse_csv, parse_json, parse_json_lines
from pipeline.uris import StorageOptions, strip_secrets

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestColumns:
    """A manifest as it was written: known columns as Arrow columns (JSON: as values), what is carried as Arrow."""

    names: tuple[str, ...]
    known: dict[str, pa.ChunkedArray | list[object]]
    pass_through: pa.Table
    num_rows: int


def read_columns(uri: str, *, storage_options: StorageOptions, limit: int | None) -> ManifestColumns:
    """Read the first ``limit`` rows (all by default).

    Raises:
        ManifestError: The file is missing, empty, of an unknown type or not readable as what its suffix says.
    """
    suffix = suffix_of(uri)
    content = _read_bytes(uri, storage_options)
    if not content.strip():
        raise ManifestError(uri, ["the file is empty: write a header and at least one row"])
    if suffix in (".jsonl", ".ndjson", ".json"):
        parse = parse_json if suffix == ".json" else parse_json_lines
        return _from_records(uri, parse(uri, decode_text(uri, content), limit))
    table = _read_parquet(uri, content) if suffix == ".parquet" else parse_csv(uri, decode_text(uri, content))
    table = table if limit is None else table.slice(0, limit)
    duplicated = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if duplicated:
        raise ManifestError(uri, [f"column {name!r} appears more than once: rename one" for name in duplicated])
    present = [name for name in KNOWN_COLUMNS if name in table.column_names]
    return ManifestColumns(
        names=tuple(table.column_names),
        known={name: table.column(name) for name in present},
        pass_through=table.drop_columns([name for name in present if name not in CARRIED_COLUMNS]).combine_chunks(),
        num_rows=table.num_rows,
    )


def suffix_of(uri: str) -> str:
    """Which of `SUFFIXES` the file has.

    Raises:
        ManifestError: None of them.
    """
    name = strip_secrets(uri).partition("?versionId=")[0].lower()  # which S3 has behind a key
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix
    raise ManifestError(uri, [f"the name must end in {', '.join(SUFFIXES)}: rename or convert the file"])


def _read_bytes(uri: str, storage_options: StorageOptions) -> bytes:
    try:
        filesystem, path = fsspec.core.url_to_fs(uri, **(storage_options or {}))
        content: bytes = filesystem.cat_file(path)
    except FileNotFoundError as error:
        raise ManifestError(uri, ["there is no such file: check the path"]) from error
    except IsADirectoryError as error:
        raise ManifestError(uri, ["this is a folder: name the file in it"]) from error
    except with_store_errors(OSError) as error:
        reason = f"the file cannot be read ({type(error).__name__}): check permissions and credentials"
        raise ManifestError(uri, [reason]) from error
    except (ValueError, ImportError) as error:
        raise ManifestError(uri, [f"this kind of address is not supported ({error})"]) from error
    return content


def _read_parquet(uri: str, content: bytes) -> pa.Table:
    try:
        # INT96, which Spark and Impala wrote, reaches beyond what nanoseconds can say
        table = pq.ParquetFile(io.BytesIO(content), coerce_int96_timestamp_unit="us").read()
        table.validate(full=True)  # texts that are not UTF-8 show only now
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(uri, [f"not a readable Parquet file ({error}): write it again"]) from error
    return table


def _from_records(uri: str, rows: list[dict[str, object]]) -> ManifestColumns:
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    extra_columns: dict[str, pa.Array] = {}
    problems: list[str] = []
    for name in [name for name in names if name not in KNOWN_COLUMNS or name in CARRIED_COLUMNS]:
        try:
            extra_columns[name] = pa.array([row.get(name) for row in rows])
        except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
            problems.append(f"column {name!r} mixes types ({error}): give all its values one type")
    if problems:
        raise ManifestError(uri, problems)
    known: dict[str, pa.ChunkedArray | list[object]] = {
        name: [row.get(name) for row in rows] for name in KNOWN_COLUMNS if name in names
    }
    return ManifestColumns(names=names, known=known, pass_through=pa.table(extra_columns), num_rows=len(rows))
