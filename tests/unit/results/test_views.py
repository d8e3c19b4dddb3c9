from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.failures import FailureClass
from pipeline.results.finished import read_answers
from pipeline.results.rows import EvidenceRow, GroupRow, RunStamp
from pipeline.results.schema import results_table
from pipeline.results.summary import summarize, write_json_atomic
from pipeline.results.views import open_database, views_sql
from pipeline.results.writer import commit_answers


def at(hour):
    return datetime(2026, 1, 31, hour, tzinfo=UTC)


def group(index, response="B"):
    return GroupRow(
        group_index=index,
        entropy=0.5,
        certainty=-0.5,
        response=response,
        num_tokens_offered=64,
        num_tokens_bought=8,
        num_tokens_kept=4,
    )


@pytest.fixture
def database(tmp_path, make_result, make_failed):
    """Two overlapping runs over a folder whose name needs quoting."""
    output = str(tmp_path / "it's out")
    evidence = tuple(EvidenceRow(start_s=s, end_s=s + 1, weight=0.5, num_tokens=3) for s in (4.0, 1.0))
    first = [
        make_failed(question_key="a", error_class=FailureClass.TRANSFER, finished_at=at(9)),
        make_result(
            question_key="b", question_id="ü", question="何色? 🎈", options=None, answer="blå", finished_at=at(1)
        ),
        make_failed(question_key="c", question_id="q3", error_message="first", finished_at=at(1)),
    ]
    second = [
        make_result(question_key="a", evidence=evidence, groups=(group(0), group(2, "何")), finished_at=at(2)),
        make_result(question_key="b", question_id="ü", answer="newer", evidence=(), groups=(), finished_at=at(3)),
        make_failed(question_key="c", question_id="q3", error_message="second", finished_at=at(5)),
        make_result(question_key="d", question_id="q4", finished_at=at(1)),
    ]
    extra = {
        "answer": ["A", None, "C", "D"],
        "level": pa.array([1, 2, None, 255], pa.uint8()),
        "day": pa.array([date(2026, 1, 1)] * 4),
        "tags": pa.array([["x", None], [], None, ["y"]]),
        "price": pa.array([Decimal("1.50")] * 4),
    }
    columns = pa.table(extra)
    for results, subfolder in ((first, ""), (second, "day=2026")):
        keys = [result.question_key for result in results]
        commit_answers(output, results_table(results, columns.slice(0, len(keys))), keys, subfolder=subfolder)
    for run_id in ("r1", "r2"):
        stamp = RunStamp(run_id=run_id, method="m", model="demo", model_revision=None, config_hash="c")
        summary = summarize(
            results_table(first, pa.table({})),
            stamp=stamp,
            started_at=at(1),
            finished_at=at(2),
            wall_s=1.0,
            exit_code=3,
        )
        write_json_atomic(f"{output}/runs/{run_id}/summary.json", summary)
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(views_sql(output))
    return connection, output


def query(database, sql):
    return database[0].execute(sql).fetchall()


def test_answers_has_one_row_per_key_ok_before_failed_then_newest(database):
    rows = query(database, "SELECT question_key, status, answer, error_message FROM answers ORDER BY 1")
    assert rows == [
        ("a", "ok", "B", None),
        ("b", "ok", "newer", None),
        ("c", "failed", None, "second"),
        ("d", "ok", "B", None),
    ]


def test_answers_equals_what_read_answers_gives(database):
    in_python = sorted(read_answers(database[1]).to_pylist(), key=lambda row: row["question_key"])
    cursor = database[0].execute("SELECT * REPLACE (epoch_us(finished_at) AS finished_at) FROM answers ORDER BY 2")
    names = [column[0] for column in cursor.description]
    in_sql = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    assert names == read_answers(database[1]).column_names
    for row in in_python:
        row["finished_at"] = int(row["finished_at"].timestamp()) * 1_000_000
    assert in_sql == in_python


def test_manifest_columns_arrive_with_their_values(database):
    rows = query(database, "SELECT manifest_answer, level, day, tags, price FROM answers ORDER BY question_key")
    day, price = date(2026, 1, 1), Decimal("1.50")
    assert rows == [
        ("A", 1, day, ["x", None], price),
        (None, 2, day, [], price),
        ("C", None, day, None, price),
        ("D", 255, day, ["y"], price),
    ]


def test_groups_and_evidence_have_one_row_per_element_of_counting_answers(database):
    assert query(database, "SELECT question_key, group_index, response, num_tokens_kept FROM groups ORDER BY 1, 2") == [
        ("a", 0, "B", 4),
        ("a", 2, "何", 4),
        ("d", 0, "B", 12),
    ]
    assert query(database, "SELECT question_key, start_s, end_s, weight FROM evidence ORDER BY 1, 2") == [
        ("a", 1.0, 2.0, 0.5),
        ("a", 4.0, 5.0, 0.5),
        ("d", 1.0, 2.5, 0.75),
    ]


def test_failures_lists_only_what_no_run_answered(database):
    rows = query(database, "SELECT question_key, question_id, error_class, error_message FROM failures")
    assert rows == [("c", "q3", "not_found", "second")]


def test_runs_has_one_row_per_summary(database):
    rows = query(database, "SELECT run_id, exit_code, num_failed, stage_seconds.total_s FROM runs ORDER BY 1")
    assert rows == [("r1", 3, 2, 0.0), ("r2", 3, 2, 0.0)]


def test_broken_and_foreign_files_are_left_out_by_name_and_never_stop_other_queries(tmp_path, make_result, caplog):
    output = str(tmp_path / "it's [out]")
    for key in ("a", "b"):
        results = [make_result(question_key=key)]
        commit_answers(output, results_table(results, pa.table({})), [key])
    write_json_atomic(f"{output}/runs/r1/summary.json", {"run_id": "r1"})
    answers, runs = tmp_path / "it's [out]" / "answers", tmp_path / "it's [out]" / "runs"
    (answers / "part-0.parquet").write_bytes(b"PAR1 half")
    pq.write_table(pa.table({"name": ["x"]}), answers / "part-1.parquet")
    pq.write_table(pa.table({"name": ["x"]}), answers / "theirs.parquet")
    contents = ("", '{"run_id": "r2", ', "[1]", '{"run_id": {}}', "{}", '{"run_id": "r2", "num_ok": "many"}')
    for number, content in enumerate(contents):
        (runs / f"broken-{number}").mkdir()
        (runs / f"broken-{number}" / "summary.json").write_text(content)
    with open_database(output) as connection:
        assert connection.execute("SELECT question_key FROM answers ORDER BY 1").fetchall() == [("a",), ("b",)]
        assert connection.execute("SELECT run_id FROM runs").fetchall() == [("r1",)]
        names = [column[0] for column in connection.execute("SELECT * FROM answers").description]
    assert "name" not in names
    for name in ("part-0.parquet", "part-1.parquet", *(f"broken-{number}/summary.json" for number in range(6))):
        assert name in caplog.text


@pytest.mark.parametrize("content", ['{"run_id": {}}', '{"run_id": 7}', '{"run_id": "r2", "exit_code": {}}', "{}"])
def test_json_that_no_run_has_written_is_no_run_and_spoils_no_column(tmp_path, make_result, content):
    output = str(tmp_path)
    commit_answers(output, results_table([make_result(question_key="a")], pa.table({})), ["a"])
    write_json_atomic(f"{output}/runs/r1/summary.json", {"run_id": "r1", "exit_code": 0, "num_ok": 1})
    (tmp_path / "runs" / "theirs").mkdir()
    (tmp_path / "runs" / "theirs" / "summary.json").write_text(content)
    with open_database(output) as connection:
        assert connection.execute("SELECT run_id, exit_code, num_ok FROM runs").fetchall() == [("r1", 0, 1)]


def test_rows_without_a_key_are_no_answers(tmp_path, make_result):
    output = str(tmp_path)
    table = results_table([make_result(question_key=key) for key in ("a", "b")], pa.table({}))
    commit_answers(output, table, ["a", "b"])
    keyed = table.set_column(table.schema.get_field_index("question_key"), "question_key", pa.nulls(2, pa.string()))
    pq.write_table(keyed, tmp_path / "answers" / "part-0.parquet")
    with open_database(output) as connection:
        assert connection.execute("SELECT question_key FROM answers ORDER BY 1").fetchall() == [("a",), ("b",)]
