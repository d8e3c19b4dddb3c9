"""The results as a database: DuckDB with the views of ``views.sql`` over a local or remote output folder."""

import re
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from pipeline.results.asked import ASKED_COLUMNS
from pipeline.results.part_files import AnswersFolder
from pipeline.results.schema import ADDED_COLUMNS, ANSWERS_SCHEMA
from pipeline.results.sound_files import sound_parts, sound_summaries
from pipeline.results.summary import has_summary_types
from pipeline.uris import StorageOptions, strip_secrets

if TYPE_CHECKING:
    import duckdb

VIEWS = ("answers", "groups", "evidence", "failures", "best_by_question", "runs")

_SQL_TYPES = {pa.string(): "VARCHAR", pa.int32(): "INTEGER", pa.int64(): "BIGINT"} | {
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
}
_ANSWERS = "answers/**/part-*.parquet"
_NO_RUNS = "CREATE OR REPLACE VIEW runs AS SELECT NULL::VARCHAR AS run_id WHERE false"


def open_database(
    output_uri: str,
    *,
    storage_options: StorageOptions = None,
    num_threads: int | None = None,
    with_rows: bool = False,
) -> "duckdb.DuckDBPyConnection":
    """A DuckDB in memory that has the views; what is queried is read from the files at that moment.

    Args:
        output_uri: Folder of all results.
        storage_options: For its file system.
        num_threads: Of DuckDB; default one per core.
        with_rows: Also a view ``rows_of_files``, of all rows that lie there, those that do not count included: finding
            one of them by key and time reads little, where ``answers`` has to rank all.

    Raises:
        ImportError: DuckDB is not installed.
        ValueError: The folder holds no results.
        OSError: It cannot be listed.
    """
    import duckdb

    folder = AnswersFolder(output_uri, storage_options)
    if not folder.list_parts():
        place = strip_secrets(output_uri)
        raise ValueError(f"{place}/answers holds no results: name the --output of a run that has answered something")
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})  # nothing is downloaded
    connection.execute("SET enable_progress_bar = false")  # it would stand among the rows of a slow query
    if num_threads is not None:
        connection.execute(f"SET threads = {num_threads}")
    root = folder.path.removesuffix("/answers")
    if not isinstance(folder.filesystem, LocalFileSystem):
        root = output_uri.rstrip("/")
        connection.register_filesystem(_fresh_filesystem(output_uri, storage_options))
    parts = _create_views(connection, root, folder)
    if with_rows:
        connection.execute(
            f"CREATE VIEW rows_of_files AS FROM read_parquet({_paths(root, parts, default=_ANSWERS)}, "
            "union_by_name = true, hive_partitioning = false)"
        )
    return connection


def views_sql(output_uri: str, *, parts: Sequence[str] | None = None, summaries: Sequence[str] | None = None) -> str:
    """DuckDB statements that create the `VIEWS` over an output folder.

    ``runs`` comes last; it cannot be created while no run has ended.

    Args:
        output_uri: Folder of all results.
        parts: Of its result files only these, relative to it; default all, also those of later commits.
        summaries: Likewise of the runs' files.
    """
    template = resources.files("pipeline.results").joinpath("views.sql").read_text()
    added = [
        f"NULL::{_sql_type(field.type)} AS {field.name}" for field in ANSWERS_SCHEMA if field.name in ADDED_COLUMNS
    ]
    root = output_uri.rstrip("/")
    answers = _paths(root, parts, default=_ANSWERS)
    runs = _paths(root, summaries, default="runs/*/summary.json")
    template = template.replace("{added_columns}", ", ".join(added)).replace("{asked}", ", ".join(ASKED_COLUMNS))
    return template.replace("{answers}", answers).replace("{runs}", runs)


def _create_views(connection: "duckdb.DuckDBPyConnection", root: str, folder: AnswersFolder) -> list[str] | None:
    """Over all files there are and will be; if one of them is broken, over the others, and a warning names it.

    Returns:
        Those others, where it is so.
    """
    import duckdb

    parts = None
    *views, runs = views_sql(root).split(";\n\n")
    try:
        for statement in views:
            connection.execute(statement)
    except duckdb.Error:
        parts = list(sound_parts(folder))
        for statement in views_sql(root, parts=parts).split(";\n\n")[:-1]:
            connection.execute(statement)
    try:
        connection.execute(runs)
        described = connection.execute("DESCRIBE runs").fetchall()
        is_sound = has_summary_types({name: kind for name, kind, *_ in described})
    except duckdb.Error:  # none, or one that is broken
        is_sound = False
    if not is_sound:
        summaries = sound_summaries(folder)
        found = views_sql(root, summaries=summaries).split(";\n\n")[-1]
        connection.execute(found if summaries else _NO_RUNS)
    return parts


def _paths(root: str, names: Sequence[str] | None, *, default: str) -> str:
    """As SQL: a pattern, or a list of files."""
    place = _escape_glob(root)
    paths = [f"{place}/{default}"] if names is None else [f"{place}/{_escape_glob(name)}" for name in names]
    quoted = ["'" + path.replace("'", "''") + "'" for path in paths]
    return quoted[0] if names is None else f"[{', '.join(quoted)}]"


def _sql_type(column_type: pa.DataType) -> str:
    if pa.types.is_list(column_type):
        return f"{_sql_type(column_type.value_type)}[]"
    if pa.types.is_struct(column_type):
        return f"STRUCT({', '.join(f'{field.name} {_sql_type(field.type)}' for field in column_type)})"
    return _SQL_TYPES[column_type]


def _escape_glob(path: str) -> str:
    return re.sub(r"[*?\[]", lambda found: f"[{found[0]}]", path)


def _fresh_filesystem(output_uri: str, storage_options: StorageOptions) -> fsspec.AbstractFileSystem:
    """One that lists folders anew for each query, so that commits since then are seen."""
    options = {**(storage_options or {}), "skip_instance_cache": True, "use_listings_cache": False}
    filesystem, _ = fsspec.core.url_to_fs(output_uri, **options)
    return filesystem
