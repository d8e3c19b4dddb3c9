"""Readers that know nothing of this project, in a loop beside compactions and retries: each row once, or an error."""

import builtins
import io
import os
import threading
import time

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from pipeline.manifest.reading import read_manifest
from pipeline.results import compaction
from pipeline.results.committer import AnswerCommitter
from pipeline.results.compaction import compact
from pipeline.results.finished import finished_keys
from tests.unit.results.answer_rows import commit, row, seen

KEYS = [f"k{number:02d}" for number in range(12)]
# Each as its users write it; with the folder of the output, of which DuckDB and Polars look into every folder below.
READERS = {
    "pandas": lambda output: pandas.read_parquet(output / "answers", columns=["question_key"])["question_key"].tolist(),
    "polars": lambda output: polars.read_parquet(output / "answers/**/*.parquet")["question_key"].to_list(),
    "duckdb": lambda output: [
        key for (key,) in duckdb.sql(f"SELECT question_key FROM '{output}/**/*.parquet'").fetchall()
    ],
    "pyarrow": lambda output: pyarrow.dataset.dataset(output / "answers").to_table()["question_key"].to_pylist(),
}
GONE = (OSError, pa.ArrowException, duckdb.Error, polars.exceptions.PolarsError)


def write_small_files(output):
    for key in KEYS:
        commit(str(output), [row(key)])


@pytest.mark.parametrize("name", READERS)
def test_after_a_compaction_every_reader_sees_each_row_once(tmp_path, name):
    write_small_files(tmp_path)
    commit(str(tmp_path), [row("k00", "failed"), row("k12")])
    compact(str(tmp_path))
    assert sorted(READERS[name](tmp_path)) == [*KEYS, "k12"]
    compact(str(tmp_path))
    assert sorted(READERS[name](tmp_path)) == [*KEYS, "k12"]


@pytest.mark.parametrize("name", READERS)
def test_a_reader_in_a_loop_sees_each_row_once_but_in_the_stated_window(tmp_path, name, monkeypatch):
    """The window lasts from when a merged file is being written to when the last of what it holds has left."""
    windows, reads = [], []

    def close(_, end):
        if windows and len(windows[-1]) == 1:
            windows[-1].append(end)

    opened = timed(compaction.write_part, lambda start, _: windows.append([start]))
    monkeypatch.setattr(compaction, "write_part", opened)
    monkeypatch.setattr(compaction, "retire", timed(compaction.retire, close))
    for number in range(5):
        output = tmp_path / str(number)
        write_small_files(output)
        done = threading.Event()
        reader = threading.Thread(target=read_until, args=(done, READERS[name], output, reads))
        reader.start()
        compact(str(output))
        done.set()
        reader.join()
    assert len(windows) == 5
    is_outside = [all(end < first or start > last for first, last in windows) for start, _, end in reads]
    found = [(keys, outside) for (_, keys, _), outside in zip(reads, is_outside, strict=True) if keys is not None]
    assert all(set(keys) == set(KEYS) for keys, _ in found)  # never one too few
    assert all(keys == KEYS for keys, outside in found if outside)
    assert sum(outside for _, outside in found) >= 5


def test_in_the_window_of_a_merge_nothing_is_read_or_written_and_names_change_once_each(tmp_path, monkeypatch):
    """However long the disk takes for these: a sync of the folder, so that no power cut undoes it, and the renames."""
    write_small_files(tmp_path)
    steps = []
    for owner, name in ((os, "replace"), (os, "fsync"), (io, "open"), (builtins, "open")):
        monkeypatch.setattr(owner, name, noted(getattr(owner, name), name, steps))
    compact(str(tmp_path))
    ends = [at for at, (name, target) in enumerate(steps) if name == "replace" and "_superseded" in target]
    [start] = [at for at, (name, target) in enumerate(steps) if name == "replace" and "_superseded" not in target]
    window = [(name, target) for name, target in steps[start + 1 : ends[-1] + 1] if not target.endswith("/.lock")]
    assert len(ends) == len(KEYS)
    assert [name for name, _ in window] == ["fsync", *["replace"] * len(KEYS)]
    assert any(name == "open" and target.endswith(".parquet") for name, target in steps[:start])


def noted(act, name, steps):
    """With the last path that it is about."""

    def act_and_note(*args, **options):
        paths = [str(one) for one in args if isinstance(one, str | os.PathLike)]
        steps.append((name, paths[1] if name == "replace" else (paths or [""])[0]))
        return act(*args, **options)

    return act_and_note


def timed(act, note):
    def act_and_note(*args):
        start = time.monotonic()
        result = act(*args)
        note(start, time.monotonic())
        return result

    return act_and_note


def read_until(done, read, output, reads):
    """At least once after ``done``; None where a file left between listing and reading, which readers say."""
    is_last = False
    while not is_last:
        is_last, start = done.is_set(), time.monotonic()
        try:
            keys = sorted(read(output))
        except GONE:
            keys = None
        reads.append((start, keys, time.monotonic()))


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("column", [["x", "y"], [1, 2]], ids=["same types", "a type that drifted"])
def test_after_a_retry_every_reader_sees_each_row_once(tmp_path, name, column):
    columns = {"question_id": ["id-a", "id-b"], "video": ["/v.mp4"] * 2, "question": ["?"] * 2}
    output = str(tmp_path)
    for values, rows in ((["x", "y"], [row("a", "failed"), row("b")]), (column, [row("a", second=9)])):
        pq.write_table(pa.table(columns | {"level": values}), tmp_path / "manifest.parquet")
        manifest = read_manifest(str(tmp_path / "manifest.parquet"))
        replaces = finished_keys(output).failed_rows
        AnswerCommitter(manifest, output_uri=output, replaces=replaces).commit(rows)
    (tmp_path / "manifest.parquet").unlink()
    if name in ("pandas", "duckdb") or column == ["x", "y"]:  # the others know no common type, whoever writes
        assert sorted(READERS[name](tmp_path)) == ["a", "b"]
    assert {key: found[0] for key, found in seen(output).items()} == {"a": "ok", "b": "ok"}
    assert sum(pq.ParquetFile(path).metadata.num_rows for path in (tmp_path / "answers").glob("*.parquet")) == 2
