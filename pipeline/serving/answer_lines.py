"""A million answers, page by page: what the list shows of each lies sorted in a DuckDB file; rows are read singly."""

import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.evaluation.scoring.judging import judge_row
from pipeline.report.cards import Json, list_entry
from pipeline.results.part_files import AnswersFolder
from pipeline.results.row_choice import with_added_columns
from pipeline.results.schema import ANSWERS_SCHEMA
from pipeline.results.views import open_database
from pipeline.uris import StorageOptions

if TYPE_CHECKING:
    import duckdb

PAGE_LINES = 100
_MOST_PAGES = 10**9
_JUDGED_AT_ONCE = 50_000
_KEPT_READINGS = 2  # of before, for pages that are being made
_LONG = ("kept_tokens", "groups", "evidence")
_SORTS = {
    "video": "place",
    "unsure": "answer_entropy DESC NULLS LAST, place",
    "cost": "total_s DESC NULLS LAST, place",
    "groups": "num_groups_scored DESC NULLS LAST, place",
    "question": "lower(question), place",
}
_FILTERS = {
    "all": "true",
    "ok": "status = 'ok'",
    "failed": "status <> 'ok'",
    "right": "is_right",
    "wrong": "NOT is_right",
    "early": "stop_reason = 'confident'",
    "here": "place < 0",
}
_TEXT = "lower(concat_ws(chr(10), question, answer, array_to_string(options, ' '), video, question_id, error_class))"


@dataclass(frozen=True, kw_only=True, slots=True)
class LineQuery:
    """Which lines, in which order.

    Raises:
        ValueError: There is no such order, filter or page.
    """

    search: str = ""
    sort: str = "video"
    show: str = "all"
    method: str = ""
    page: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (("sort", self.sort, _SORTS), ("show", self.show, _FILTERS)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if not 0 <= self.page <= _MOST_PAGES:
            raise ValueError(f"page must be from 0 to {_MOST_PAGES:,}, got {self.page}")

    @property
    def is_all(self) -> bool:
        """Whether the lines lie one after the other as they are wanted."""
        return not self.search.split() and self.sort == "video" and self.show == "all" and not self.method

    def condition(self) -> tuple[str, list[str]]:
        """SQL, and what stands for its question marks."""
        words = self.search.lower().split()
        parts = [_FILTERS[self.show], *["contains(searched, ?)"] * len(words), *["method = ?"] * bool(self.method)]
        return " AND ".join(f"({part})" for part in parts), words + [self.method] * bool(self.method)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """One reading of the folder: a database with the table of its lines, which lies in a file."""

    database: "duckdb.DuckDBPyConnection"
    lines: str
    path: Path


class AnswerLines:
    """The answers of an output folder as they were when they were last read, and those that were given here.

    Methods may be called from several threads.
    """

    def __init__(self, output_uri: str | None, *, storage_options: StorageOptions = None) -> None:
        """Read the folder.

        Args:
            output_uri: folder of all results; None begins with no answers.
            storage_options: for its file system.

        Raises:
            ValueError: The folder holds no results.
            OSError: It cannot be read.
        """
        self._output_uri, self._storage_options = output_uri, storage_options
        self._here: dict[str, pa.Table] = {}
        self._lock, self._folder = threading.Lock(), tempfile.TemporaryDirectory(prefix="adapttoken-serve-")
        self._num_reads, self._before = 0, list[_Reading]()
        self._now = self._read()

    def close(self) -> None:
        """Remove the file."""
        for reading in (*self._before, self._now):
            reading.database.close()
        self._folder.cleanup()

    def page(self, query: LineQuery) -> Json:
        """Lines of one page, how many there are under these conditions, and how many in all."""
        condition, values = query.condition()
        first = query.page * PAGE_LINES
        with self.table() as (cursor, lines):
            (num_all,) = _one(cursor, f"SELECT count(*) FROM {lines}")
            num_found = num_all
            if query.is_all:
                chosen = f"SELECT place FROM {lines} ORDER BY place LIMIT {PAGE_LINES} OFFSET {first}"
                places = [place for (place,) in cursor.execute(chosen).fetchall()]
            else:
                (num_found,) = _one(cursor, f"SELECT count(*) FROM {lines} WHERE {condition}", values)
                order = f"ORDER BY {_SORTS[query.sort]} LIMIT {PAGE_LINES} OFFSET {first}"
                chosen = f"SELECT place FROM {lines} WHERE {condition} {order}"
                places = [place for (place,) in cursor.execute(chosen, values).fetchall()]
            rows = _rows_at(cursor, lines, places)
        return {
            "entries": [list_entry(row) for row in rows],
            "num_found": num_found,
            "num_all": num_all,
            "page": query.page,
            "page_lines": PAGE_LINES,
        }

    def row(self, key: str) -> pa.Table | None:
        """The whole row of an answer; None where there is no such answer (any more)."""
        if key in self._here:
            return self._here[key]
        with self.table() as (cursor, lines):
            stamp = cursor.execute(f"SELECT run_id, finished_at FROM {lines} WHERE question_key = ?", [key])
            found = stamp.fetchall()  # to the end: DuckDB begins nothing else before
            if not found:
                return None
            table = cursor.sql(
                "SELECT * FROM rows_of_files WHERE question_key = ? AND run_id IS NOT DISTINCT FROM ? "
                "AND finished_at IS NOT DISTINCT FROM ? LIMIT 1",
                params=[key, *found[0]],
            ).to_arrow_table()
        return with_added_columns(table) if table.num_rows else None

    def videos(self, search: str = "", *, limit: int) -> list[str]:
        """Different videos whose address holds all words, by address."""
        words = search.lower().split()
        condition = " AND ".join(["video IS NOT NULL", *["contains(lower(video), ?)"] * len(words)])
        with self.table() as (cursor, lines):
            sql = f"SELECT DISTINCT video FROM {lines} WHERE {condition} ORDER BY video LIMIT {limit}"
            return [video for (video,) in cursor.execute(sql, words).fetchall()]

    def has_video(self, uri: str) -> bool:
        """Whether there is an answer about it."""
        with self.table() as (cursor, lines):
            sql = f"SELECT count(*) FROM {lines} WHERE video = ?"
            return bool(_one(cursor, sql, [uri])[0])

    def add(self, row: pa.Table) -> Json:
        """Put an answer that was given here before all others; returns its line."""
        (record,) = row.drop_columns([*_LONG]).to_pylist()
        with self._lock:
            self._here[record["question_key"]] = row
            with self.table() as (cursor, lines):
                self._insert(cursor, lines, row)
        return list_entry(record)

    def read_again(self) -> None:
        """See what has been committed since; the old lines are shown until the new ones are there."""
        with self._lock:
            if self._output_uri is None:
                return
            reading = self._read()
            with closing(reading.database.cursor()) as cursor:
                for row in self._here.values():
                    self._insert(cursor, reading.lines, row)
            while len(self._before) >= _KEPT_READINGS:
                self._forget(self._before.pop(0))
            self._before.append(self._now)
            self._now = reading

    def describe_state(self) -> str:
        """Changes whenever the folder's files do."""
        if self._output_uri is None:
            return ""
        parts = AnswersFolder(self._output_uri, self._storage_options).list_parts()
        return str(hash(tuple((part.path, part.size_bytes, part.version) for part in parts)))

    @contextmanager
    def table(self) -> "Iterator[tuple[duckdb.DuckDBPyConnection, str]]":
        """A cursor, and the name of the table of lines; both of one reading of the folder."""
        reading = self._now
        with closing(reading.database.cursor()) as cursor:
            yield cursor, reading.lines

    def _read(self) -> "_Reading":
        """A database of its own for every reading: a page that is being made goes on with the old one."""
        self._num_reads += 1
        database, lines = self._open(), f"kept.lines_{self._num_reads}"
        path = Path(self._folder.name) / f"lines_{self._num_reads}.duckdb"
        database.execute(f"ATTACH '{str(path).replace(chr(39), chr(39) * 2)}' AS kept")
        database.execute(
            f"CREATE TABLE {lines} AS SELECT row_number() OVER (ORDER BY video, question_key) AS place, {_TEXT} AS "
            f"searched, NULL::BOOLEAN AS is_right, * EXCLUDE ({', '.join(_LONG)}) FROM answers ORDER BY place"
        )
        names = {name for name, *_ in database.execute(f"DESCRIBE {lines}").fetchall()}
        if "expected" in names:
            self._judge(database, lines)
        return _Reading(database=database, lines=lines, path=path)

    def _forget(self, reading: "_Reading") -> None:
        reading.database.close()
        reading.path.unlink(missing_ok=True)

    def _open(self) -> "duckdb.DuckDBPyConnection":
        import duckdb

        if self._output_uri is not None:
            return open_database(self._output_uri, storage_options=self._storage_options, with_rows=True)
        database = duckdb.connect(config={"autoinstall_known_extensions": "false"})
        database.register("nothing", ANSWERS_SCHEMA.empty_table())
        database.execute("CREATE VIEW answers AS SELECT * FROM nothing")
        database.execute("CREATE VIEW rows_of_files AS SELECT * FROM nothing")
        return database

    def _insert(self, cursor: "duckdb.DuckDBPyConnection", lines: str, row: pa.Table) -> None:
        """Before all others; instead of a line of the same key."""
        (record,) = row.drop_columns([*_LONG]).to_pylist()
        cursor.execute(f"DELETE FROM {lines} WHERE question_key = ?", [record["question_key"]])
        (first,) = _one(cursor, f"SELECT least(coalesce(min(place), 0), 0) FROM {lines}")
        cursor.register("given", row.drop_columns([*_LONG]))
        cursor.execute(
            f"INSERT INTO {lines} BY NAME SELECT {first - 1} AS place, {_TEXT} AS searched, "
            "NULL::BOOLEAN AS is_right, * FROM given"
        )
        cursor.unregister("given")

    def _judge(self, database: "duckdb.DuckDBPyConnection", lines: str) -> None:
        """Right and wrong by the rule of the report, once for all lines."""
        reader = database.sql(
            f"SELECT * EXCLUDE (searched, is_right, warnings) FROM {lines} WHERE expected IS NOT NULL"
        ).to_arrow_reader(_JUDGED_AT_ONCE)
        places, verdicts = [pa.array([], pa.int64())], [pa.array([], pa.bool_())]
        for batch in reader:
            places.append(batch.column("place"))
            verdicts.append(pa.array([judge_row(row) for row in batch.to_pylist()], pa.bool_()))
        judged = pa.table({"place": pa.concat_arrays(places), "verdict": pa.concat_arrays(verdicts)})
        database.register("judged", judged)
        database.execute(f"UPDATE {lines} SET is_right = verdict FROM judged WHERE judged.place = {lines}.place")
        database.unregister("judged")


def _one(cursor: "duckdb.DuckDBPyConnection", sql: str, values: Sequence[object] = ()) -> tuple[Any, ...]:
    ((*found,),) = cursor.execute(sql, list(values)).fetchall()
    return tuple(found)


def _rows_at(cursor: "duckdb.DuckDBPyConnection", lines: str, places: list[int]) -> list[dict[str, Any]]:
    """Lines at these places, in this order: the many are sorted by what orders them, and few are read in full."""
    wanted = ", ".join(map(str, places)) or "NULL"
    sql = f"SELECT * EXCLUDE (searched, is_right) FROM {lines} WHERE place IN ({wanted})"
    rows = {row["place"]: row for row in cursor.sql(sql).to_arrow_table().to_pylist()}
    return [rows[place] for place in places]
