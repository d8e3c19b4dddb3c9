"""What earlier runs left: which questions are done, and the answers as the ``answers`` view shows them."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import TypeVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.results.schema import ANSWERS_SCHEMA
from pipeline.uris import StorageOptions, strip_secrets

NUM_READERS = 16

_Read = TypeVar("_Read")


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedKeys:
    """Question keys with a row: ``ok`` if any row of the key is, else ``failed``."""

    ok: frozenset[str]
    failed: frozenset[str]

    def skipped(self, *, retry_failed: bool = False) -> frozenset[str]:
        """Keys that a run need not compute: failed ones too, unless they are to be tried again."""
        return self.ok if retry_failed else self.ok | self.failed


def finished_keys(output_uri: str, *, storage_options: StorageOptions = None) -> FinishedKeys:
    """Read which questions have rows; files without a final name are none.

    Raises:
        ValueError: A result file is not readable; names it.
    """
    read = partial(_read_part, columns=["question_key", "status"])
    keys: dict[str, set[str]] = {"ok": set(), "failed": set()}
    for table in _map_parts(read, output_uri, storage_options):
        for key, status in zip(*(column.to_pylist() for column in table.columns), strict=True):
            keys[status].add(key)
    return FinishedKeys(ok=frozenset(keys["ok"]), failed=frozenset(keys["failed"] - keys["ok"]))


def read_answers(output_uri: str, *, storage_options: StorageOptions = None) -> pa.Table:
    """One row per question key: ok before failed, then the newest; an empty table where there are no results.

    Raises:
        ValueError: A result file is not readable, or two hold a manifest column with types that do not mix.
    """
    tables = list(_map_parts(_read_part, output_uri, storage_options))
    if not tables:
        return ANSWERS_SCHEMA.empty_table()
    try:
        answers = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        place = strip_secrets(output_uri)
        message = f"results under {place} hold a column with types that do not mix ({error}): use one output per shape"
        raise ValueError(message) from error
    return answers.take(pa.array(_best_rows(answers), pa.int64()))


def views_sql(output_uri: str) -> str:
    """DuckDB statements that create the views ``answers, groups, evidence, failures, runs`` over an output folder."""
    template = resources.files("pipeline.results").joinpath("views.sql").read_text()
    return template.replace("{output}", output_uri.rstrip("/").replace("'", "''"))


def _best_rows(answers: pa.Table) -> Sequence[int]:
    """Row indices, in table order, of the row that counts for each question key; the first of equals."""
    columns = [answers.column(name).to_pylist() for name in ("question_key", "status", "finished_at")]
    best: dict[str, int] = {}
    rank = [(status == "ok", finished_at) for status, finished_at in zip(*columns[1:], strict=True)]
    for row, key in enumerate(columns[0]):
        if rank[row] > rank[best.setdefault(key, row)]:
            best[key] = row
    return sorted(best.values())


def _map_parts(
    read: Callable[[fsspec.AbstractFileSystem, str], _Read], output_uri: str, storage_options: StorageOptions
) -> Iterable[_Read]:
    """Apply ``read`` to every committed file, by name; several at once, because object stores answer slowly."""
    filesystem, root = fsspec.core.url_to_fs(output_uri, **(storage_options or {}))
    filesystem.invalidate_cache()
    found: list[str] = filesystem.find(f"{root.rstrip('/')}/answers")
    paths = sorted(path for path in found if _is_part(path.rpartition("/")[2]))
    with ThreadPoolExecutor(NUM_READERS) as pool:
        yield from pool.map(partial(read, filesystem), paths)


def _is_part(name: str) -> bool:
    return name.startswith("part-") and name.endswith(".parquet")


def _read_part(filesystem: fsspec.AbstractFileSystem, path: str, columns: list[str] | None = None) -> pa.Table:
    remedy = "delete it and run again: its questions are answered anew"
    try:
        with filesystem.open(path, "rb") as file:
            table = pq.ParquetFile(file).read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"result file {strip_secrets(path)} is not readable ({error}): {remedy}") from error
    missing = sorted({"question_key", "status", *(columns or ANSWERS_SCHEMA.names)} - set(table.column_names))
    if missing:
        raise ValueError(f"result file {strip_secrets(path)} lacks the columns {missing}: {remedy}")
    return table.select(columns) if columns else table
