import json
import os
from datetime import UTC, date, datetime
from decimal import Decimal

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.results.atomic_files import write_bytes_atomic
from pipeline.results.finished import finished_keys, read_answers
from pipeline.results.keys import part_name
from pipeline.results.schema import ANSWERS_SCHEMA, results_table
from pipeline.results.summary import write_json_atomic
from pipeline.results.views import open_database
from pipeline.results.writer import commit_answers

NOTHING = pa.table({})


def at(hour):
    return datetime(2026, 1, 31, hour, tzinfo=UTC)


@pytest.fixture(params=["local", "memory"])
def output(request, tmp_path):
    if request.param == "local":
        yield str(tmp_path / "out")
    else:
        yield "memory://results-test/out"
        for path in fsspec.filesystem("memory").find("/results-test"):
            fsspec.filesystem("memory").rm(path)


def commit(output, results, pass_through=NOTHING, **options):
    keys = [result.question_key for result in results]
    return commit_answers(output, results_table(results, pass_through), keys, **options)


def files_below(output):
    filesystem, root = fsspec.core.url_to_fs(output)
    return sorted(path.removeprefix(root) for path in filesystem.find(root) if not path.endswith("/.lock"))


def test_a_commit_is_one_file_named_by_its_keys_that_reads_back_as_written(output, make_result):
    results = [make_result(question_key="k2"), make_result(question_key="k1", options=None)]
    uri = commit(output, results)
    assert uri == f"{output}/answers/{part_name(['k1', 'k2'])}"
    assert files_below(output) == [f"/answers/{part_name(['k1', 'k2'])}"]
    with fsspec.open(uri) as file:
        parquet = pq.ParquetFile(file)
        assert parquet.read().equals(results_table(results, NOTHING))
        assert parquet.schema_arrow.equals(ANSWERS_SCHEMA)
        assert b"UTC" in parquet.schema_arrow.field("finished_at").metadata[b"description"]
        assert parquet.metadata.row_group(0).column(0).compression == "ZSTD"


def test_committing_the_same_keys_again_replaces_the_file(output, make_result):
    commit(output, [make_result(answer="A")])
    commit(output, [make_result(answer="B")])
    assert len(files_below(output)) == 1
    assert read_answers(output).column("answer").to_pylist() == ["B"]


@pytest.mark.parametrize("keys", [["k1", "k2"], ["other"], [], ["k1", "k1"]])
def test_rows_of_other_keys_are_not_committed(tmp_path, make_result, keys):
    with pytest.raises(ValueError, match="the table must hold each of its"):
        commit_answers(str(tmp_path), results_table([make_result()], NOTHING), keys)
    assert files_below(str(tmp_path)) == []


def test_a_subfolder_is_read_back_and_cannot_leave_the_output(output, make_result):
    uri = commit(output, [make_result()], subfolder="day=2026-01-31")
    assert uri.rpartition("/")[0] == f"{output}/answers/day=2026-01-31"
    assert finished_keys(output).ok == {"k1"}
    for subfolder in ("../x", "/x"):
        with pytest.raises(ValueError, match="subfolder must be a relative path"):
            commit(output, [make_result()], subfolder=subfolder)


def test_a_write_that_is_interrupted_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_bytes_atomic(str(path), b"old")

    def fail(file_descriptor):
        assert any(name.startswith(".tmp-x.json-") for name in os.listdir(tmp_path))
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes_atomic(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.json"]


def test_json_is_written_whole_and_readable(output):
    uri = f"{output}/runs/r/summary.json"
    write_json_atomic(uri, {"name": "何", "n": 1})
    with fsspec.open(uri) as file:
        assert json.load(file) == {"name": "何", "n": 1}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_atomic(uri, {"x": float("nan")})


def test_an_output_without_results_has_no_finished_keys_and_no_answers(output):
    assert finished_keys(output).skipped() == frozenset()
    assert read_answers(output).equals(ANSWERS_SCHEMA.empty_table())


def test_finished_keys_are_ok_if_any_row_is_and_failed_ones_can_be_retried(output, make_result, make_failed):
    commit(output, [make_failed(question_key="a"), make_failed(question_key="b")])
    commit(output, [make_result(question_key="a"), make_result(question_key="c")])
    finished = finished_keys(output)
    assert (finished.ok, finished.failed) == ({"a", "c"}, {"b"})
    assert finished.skipped() == {"a", "b", "c"}
    assert finished.skipped(retry_failed=True) == {"a", "c"}


def test_temporary_and_foreign_files_are_no_results(output, make_result):
    commit(output, [make_result()])
    for name in (".tmp-part-0.parquet-ab", ".tmp-part-0.parquet", "_SUCCESS", "notes.parquet", "part-0.parquet.crc"):
        write_bytes_atomic(f"{output}/answers/{name}", b"half")
    assert finished_keys(output).ok == {"k1"}
    assert read_answers(output).num_rows == 1


def test_a_corrupt_result_file_among_others_is_named_by_who_shows_rows_and_ends_who_would_answer_again(
    output, make_result, caplog
):
    uri = commit(output, [make_result()])
    commit(output, [make_result(question_key="other")])
    filesystem, path = fsspec.core.url_to_fs(uri)
    write_bytes_atomic(uri, filesystem.cat_file(path)[:-20])
    assert read_answers(output).column("question_key").to_pylist() == ["other"]
    assert caplog.text.count(f"{part_name(['k1'])} is not readable") == 1
    with pytest.raises(ValueError, match=rf"{part_name(['k1'])} is not readable .*: delete it and run again"):
        finished_keys(output)


@pytest.mark.parametrize("read", [finished_keys, read_answers])
@pytest.mark.parametrize("name", ["question_key", "status", "finished_at"])
def test_a_foreign_file_with_our_names_and_other_types_is_left_out(tmp_path, make_result, read, name, caplog):
    commit(str(tmp_path), [make_result()])
    table = results_table([make_result(question_key="theirs")], pa.table({}))
    odd = table.set_column(table.schema.get_field_index(name), name, pa.array([7], pa.int64()))
    pq.write_table(odd, tmp_path / "answers" / "part-0.parquet")
    found = read(str(tmp_path))
    assert set(found.column("question_key").to_pylist() if isinstance(found, pa.Table) else found.ok) == {"k1"}
    assert f"part-0.parquet is no result file: its column {name} holds int64, not" in caplog.text


@pytest.mark.parametrize("read", [finished_keys, read_answers])
def test_a_corrupt_result_file_is_named_with_a_remedy(output, make_result, read):
    uri = commit(output, [make_result()])
    filesystem, path = fsspec.core.url_to_fs(uri)
    write_bytes_atomic(uri, filesystem.cat_file(path)[:-20])
    with pytest.raises(ValueError, match=rf"{part_name(['k1'])} is not readable .*: delete it and run again"):
        read(output)


@pytest.mark.parametrize("read", [finished_keys, read_answers])
def test_a_foreign_file_is_named_and_left_out(tmp_path, make_result, read, caplog):
    commit(str(tmp_path), [make_result()])
    pq.write_table(pa.table({"question_key": ["k"]}), tmp_path / "answers" / "part-0.parquet")
    pq.write_table(pa.table({"status": ["ok"]}), tmp_path / "answers" / "part-1.parquet")
    nameless = results_table([make_result(question_key=key) for key in ("a", "b", "c")], pa.table({}))
    for name, keys in (("part-2", [None] * 3), ("part-3", [None, "b", None])):
        position = nameless.schema.get_field_index("question_key")
        keyed = nameless.set_column(position, "question_key", pa.array(keys, pa.string()))
        pq.write_table(keyed, tmp_path / "answers" / f"{name}.parquet")
    found = read(str(tmp_path))
    keys = found.column("question_key").to_pylist() if isinstance(found, pa.Table) else found.ok
    assert set(keys) == {"k1", "b"}
    said = caplog.text
    assert "part-0.parquet is no result file: it lacks the columns" in said
    assert "part-1.parquet is no result file" in said
    assert "part-2.parquet is no result file: none of its rows has a question_key; it is left out" in said
    assert "part-3.parquet: 2 rows without question_key are left out" in said


def test_of_rows_with_one_key_ok_counts_before_failed_and_then_the_newest(output, make_result, make_failed):
    # Overlapping runs had different things to do, so that their files hold overlapping keys.
    commit(output, [make_result(question_key="a", answer="old", finished_at=at(1)), make_failed(question_key="b")])
    commit(output, [make_result(question_key="a", answer="new", finished_at=at(2))])
    commit(
        output,
        [
            make_failed(question_key="a", finished_at=at(3)),
            make_failed(question_key="b", error_message="again", finished_at=at(23)),
            make_result(question_key="c"),
        ],
    )
    rows = {row["question_key"]: row for row in read_answers(output).to_pylist()}
    assert read_answers(output).num_rows == 3
    assert rows["a"]["answer"] == "new"
    assert rows["b"]["error_message"] == "again"
    assert rows["c"]["status"] == "ok"


def test_manifest_columns_that_only_some_files_have_are_null_in_the_others(output, make_result):
    commit(output, [make_result(question_key="a")], pa.table({"topic": ["x"]}))
    commit(output, [make_result(question_key="b")])
    rows = read_answers(output).select(["question_key", "topic"]).to_pylist()
    assert sorted(rows, key=lambda row: row["question_key"]) == [
        {"question_key": "a", "topic": "x"},
        {"question_key": "b", "topic": None},
    ]


def test_a_column_whose_type_drifts_is_read_as_the_view_reads_it(output, make_result):
    nights = [
        {"level": [7], "price": [1], "day": [date(2026, 1, 31)], "tags": [["x"]], "made": [at(1)]},
        {"level": ["high"], "price": [1.5], "day": [datetime(2026, 2, 1, 12)], "tags": [[1]], "made": [at(2)]},
        {
            "level": [True],
            "price": [Decimal("2.25")],
            "day": [datetime(2026, 2, 1, 12)],
            "tags": [["y"]],
            "made": ["soon"],
        },
    ]
    for number, night in enumerate(nights):
        commit(output, [make_result(question_key=f"k{number}")], pa.table(night))
    names = ["question_key", "level", "price", "day", "tags", "made"]
    rows = sorted(tuple(row.values()) for row in read_answers(output).select(names).to_pylist())
    with open_database(output) as connection:
        shown = connection.execute(f"SELECT {', '.join(names)} FROM answers ORDER BY 1").fetchall()
    assert rows == shown
    assert [row[1] for row in rows] == ["7", "high", "true"]


def test_a_column_that_no_type_fits_is_read_as_text(output, make_result):
    commit(output, [make_result(question_key="a")], pa.table({"topic": ["x"]}))
    commit(output, [make_result(question_key="b")], pa.table({"topic": [[1, 2]]}))
    commit(output, [make_result(question_key="c")])
    rows = read_answers(output).select(["question_key", "topic"]).to_pylist()
    assert {row["question_key"]: row["topic"] for row in rows} == {"a": "x", "b": "[1, 2]", "c": None}
