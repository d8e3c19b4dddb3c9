"""``OUTPUT/delta`` holds, version by version, exactly the rows that counted then; any reader of Delta says the same."""

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from pipeline.results import delta
from pipeline.results.compaction import compact
from pipeline.results.delta import sync_delta, tidy_delta
from pipeline.results.delta_store import delta_store
from pipeline.results.finished import read_answers
from tests.unit.results.answer_rows import commit, row
from tests.unit.results.query_output_rows import write_output

NAMES = ["question_key", "status", "finished_at", "run_id", "answer", "groups", "evidence", "kept_tokens"]


def by_key(table):
    return sorted(table.select(NAMES).to_pylist(), key=lambda one: one["question_key"])


@pytest.fixture
def output(tmp_path):
    write_output(str(tmp_path))
    sync_delta(str(tmp_path))
    return str(tmp_path)


def test_delta_rs_duckdb_and_polars_read_the_rows_that_count(output):
    expected = by_key(read_answers(output))
    table = DeltaTable(f"{output}/delta")
    assert by_key(table.to_pyarrow_table()) == expected
    with duckdb.connect() as connection:
        connection.register("found", table.to_pyarrow_dataset())
        counts = connection.execute("SELECT count(*), count(DISTINCT question_key) FROM found").fetchall()
    assert counts == [(4, 4)]
    assert sorted(pl.read_delta(f"{output}/delta")["question_key"]) == [one["question_key"] for one in expected]


def test_a_version_is_made_only_where_something_differs_and_old_ones_stay(output):
    before = by_key(read_answers(output))
    same = sync_delta(output)
    assert (same.version, same.num_added, same.num_changed, same.num_removed) == (0, 0, 0, 0)
    commit(output, [row("e", second=5), row("c", second=9, run="run-9", answer="A", num_runs=2)])
    report = sync_delta(output)
    assert (report.version, report.num_added, report.num_changed, report.num_removed) == (1, 1, 1, 0)
    assert by_key(DeltaTable(f"{output}/delta").to_pyarrow_table()) == by_key(read_answers(output))
    assert by_key(DeltaTable(f"{output}/delta", version=0).to_pyarrow_table()) == before


def test_doubled_rows_and_compactions_are_never_seen(output):
    commit(output, [row("a", second=50, run="run-2", num_runs=2)])
    commit(output, [row("b", second=40, run="run-3", num_runs=2)])
    sync_delta(output)
    versions = DeltaTable(f"{output}/delta").version()
    compact(output, grace_s=0)
    assert sync_delta(output).version == versions  # the same rows in other files
    keys = [one["question_key"] for one in by_key(DeltaTable(f"{output}/delta").to_pyarrow_table())]
    assert keys == ["a", "b", "c", "d"]
    tidy_delta(output)
    assert by_key(DeltaTable(f"{output}/delta").to_pyarrow_table()) == by_key(read_answers(output))


def test_a_failed_row_that_gave_way_under_another_key_leaves_the_table(tmp_path):
    output = str(tmp_path)
    asked = {"question_id": "q", "video": "/v.mp4"}
    commit(output, [row("away", "failed", **asked), row("other")])
    sync_delta(output)
    commit(output, [row("back", second=9, video_fingerprint="f", **asked)])
    report = sync_delta(output)
    assert (report.num_added, report.num_removed) == (1, 1)
    assert [one["question_key"] for one in by_key(DeltaTable(f"{output}/delta").to_pyarrow_table())] == [
        "back",
        "other",
    ]


def test_new_columns_of_a_manifest_join_the_table_and_changed_types_are_named(tmp_path):
    output = str(tmp_path)
    commit(output, [row("a")])
    sync_delta(output)
    commit(output, [row("b")], pa.table({"My, column": [7], "nothing yet": pa.nulls(1)}))
    sync_delta(output)
    commit(output, [row("a", second=5, run="run-2", num_runs=2)], pa.table({"later": ["x"]}))
    sync_delta(output)
    rows = {one["question_key"]: one for one in DeltaTable(f"{output}/delta").to_pyarrow_table().to_pylist()}
    assert (rows["b"]["My, column"], rows["a"]["later"], rows["b"]["later"]) == (7, "x", None)
    commit(output, [row("c")], pa.table({"My, column": ["seven"]}))
    with pytest.raises(ValueError, match="column 'My, column' holds int64 in the table and string"):
        sync_delta(output)


def test_the_missing_library_is_one_line(monkeypatch, output):
    monkeypatch.setitem(__import__("sys").modules, "deltalake", None)
    with pytest.raises(ValueError, match=r"pip install 'adapttoken-ray\[delta\]'"):
        sync_delta(output)
    assert delta.INSTALL.count("\n") == 0


def test_options_of_s3fs_become_those_of_delta_s_client():
    given = {"key": "k", "secret": "s", "endpoint_url": "http://minio:9000", "client_kwargs": {"region_name": "eu"}}
    assert delta_store("s3://bucket/out/", "delta", given) == (
        "s3://bucket/out/delta",
        {
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_ENDPOINT_URL": "http://minio:9000",
            "AWS_REGION": "eu",
            "AWS_ALLOW_HTTP": "true",
            "AWS_CONDITIONAL_PUT": "etag",
        },
    )
    assert delta_store("/data/out", "delta", None) == ("/data/out/delta", {})
