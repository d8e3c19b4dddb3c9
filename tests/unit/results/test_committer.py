from datetime import date

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from pipeline.manifest.reading import read_manifest
from pipeline.results.committer import AnswerCommitter
from pipeline.results.compaction import compact
from pipeline.results.finished import finished_keys, read_answers
from pipeline.results.keys import part_name
from tests.unit.results.answer_rows import names_of, row, seen, told

IDS = ("id-a", "id-b", "id-c", "id-d")
VIDEOS = ("/v/1.mp4", "/v/1.mp4", "/v/2.mp4", "/v/2.mp4")


@pytest.fixture
def manifest(tmp_path):
    """Builds a manifest of two questions about each of two videos, with further columns."""

    def build(**columns):
        table = {"question_id": IDS, "video": VIDEOS, "question": ["?"] * 4} | columns
        path = str(tmp_path / "manifest.parquet")
        pq.write_table(pa.table(table), path)
        return read_manifest(path)

    return build


@pytest.fixture
def output(tmp_path):
    return str(tmp_path / "out")


def test_a_commit_is_one_file_with_the_columns_of_the_manifest(manifest, output):
    committer = AnswerCommitter(manifest(topic=["w", "x", "y", "z"]), output_uri=output)
    table = committer.commit([row("b"), row("a")])
    assert table.select(["question_id", "topic"]).to_pylist() == [
        {"question_id": "id-b", "topic": "x"},
        {"question_id": "id-a", "topic": "w"},
    ]
    assert names_of(output) == [part_name(["a", "b"])]
    assert read_answers(output).equals(table)


@pytest.mark.parametrize(
    ("values", "folders"),
    [
        ([date(2026, 1, 31), date(2026, 2, 1)], ["day=2026-01-31", "day=2026-02-01"]),
        (["plain", "a/b=c ü%"], ["day=plain", "day=a%2Fb%3Dc%20%C3%BC%25"]),
        (["..", None], ["day=..", "day=__HIVE_DEFAULT_PARTITION__"]),
        ([7, -1], ["day=7", "day=-1"]),
        (["", "*?[]"], ["day=__HIVE_DEFAULT_PARTITION__", "day=%2A%3F%5B%5D"]),
    ],
)
def test_commits_of_a_partition_lie_in_its_folder_and_hold_its_value(manifest, output, values, folders):
    column = [values[0]] * 2 + [values[1]] * 2
    committer = AnswerCommitter(manifest(day=column), output_uri=output, partition_by="day")
    committer.commit([row("a"), row("b")])
    committer.commit([row("c"), row("d", "failed")])
    expected = [f"{folders[0]}/{part_name(['a', 'b'])}", f"{folders[1]}/{part_name(['c', 'd'])}"]
    assert sorted(names_of(output)) == sorted(expected)
    rows = read_answers(output).select(["question_key", "day"]).to_pylist()
    assert {one["question_key"]: one["day"] for one in rows} == dict(zip("abcd", column, strict=True))
    dataset = pyarrow.dataset.dataset(f"{output}/answers", format="parquet")
    assert dataset.count_rows() == 4


def test_a_partition_column_named_like_a_result_column_gives_way_as_in_the_file(manifest, output):
    committer = AnswerCommitter(manifest(Status=["x"] * 4), output_uri=output, partition_by="Status")
    committer.commit([row("a")])
    assert names_of(output) == [f"manifest_Status=x/{part_name(['a'])}"]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("dya", ["x"] * 4, r"cannot partition by 'dya': choose a column .* the manifest has \['day'\]"),
        ("video", ["x"] * 4, r"cannot partition by 'video': choose a column of few values"),
        ("day", ["x", "x", "y", "z"], r"questions about /v/2.mp4 have \['day=y', 'day=z'\]; choose a column .* same"),
        ("day", ["x", None, "y", "y"], r"questions about /v/1.mp4 have"),
        ("day", [0.5] * 4, r"cannot partition by 'day' of type double: choose"),
        ("day", [["x"]] * 4, r"cannot partition by 'day' of type list<.*>: choose"),
        ("day", ["x" * 300] * 4, r"'day=xxx.* is too long for a folder; choose"),
    ],
)
def test_a_column_that_makes_no_folders_is_refused_before_any_work(manifest, output, column, values, message):
    with pytest.raises(ValueError, match=message):
        AnswerCommitter(manifest(day=values), output_uri=output, partition_by=column)


def test_retried_questions_go_into_the_file_that_holds_their_failed_row(manifest, output):
    questions = manifest(day=["x"] * 4)
    first = AnswerCommitter(questions, output_uri=output, partition_by="day")
    rows = [row("a"), row("b", "failed"), row("c", "failed"), row("d", "failed")]
    first.commit(rows[:2])
    first.commit(rows[2:])
    before = names_of(output)
    untouched = read_answers(output).filter(pa.compute.equal(read_answers(output).column("question_key"), "a"))
    retry = AnswerCommitter(questions, output_uri=output, replaces=finished_keys(output).failed_rows)
    again = [row("b", second=9, run="run-2"), row("c", second=9, run="run-2"), row("d", "failed", 9, run="run-2")]
    retry.commit(again)
    assert names_of(output) == before
    assert seen(output) == told([*rows, *again])
    held = read_answers(output)
    assert held.filter(pa.compute.equal(held.column("question_key"), "a")).equals(untouched)
    files = [pq.ParquetFile(f"{output}/answers/{name}").read() for name in before]
    assert sum(file.num_rows for file in files) == 4


def test_a_new_question_of_a_retried_video_gets_a_file_of_its_own(manifest, output):
    questions = manifest(day=["x"] * 4)
    AnswerCommitter(questions, output_uri=output).commit([row("a", "failed")])
    retry = AnswerCommitter(questions, output_uri=output, replaces=finished_keys(output).failed_rows)
    retry.commit([row("a", second=1), row("b", second=1)])
    assert sorted(names_of(output)) == sorted([part_name(["a"]), part_name(["b"])])


def test_a_retry_after_its_file_was_compacted_away_still_shows_one_row(manifest, output):
    questions = manifest()
    committer = AnswerCommitter(questions, output_uri=output)
    committer.commit([row("a", "failed"), row("b")])
    committer.commit([row("c"), row("d")])
    planned = finished_keys(output).failed_rows
    compact(output, grace_s=0)
    compact(output, grace_s=0)
    AnswerCommitter(questions, output_uri=output, replaces=planned).commit([row("a", second=1)])
    assert seen(output) == told([row("a", second=1), row("b"), row("c"), row("d")])
    compact(output, grace_s=0)
    compact(output, grace_s=0)
    assert names_of(output) == [part_name(["a", "b", "c", "d"])]
    assert seen(output)["a"][0] == "ok"


def test_a_retry_of_rows_from_before_a_column_was_added_adds_it(manifest, output):
    committer = AnswerCommitter(manifest(), output_uri=output)
    committer.commit([row("a"), row("b", "failed")])
    (name,) = names_of(output)
    path = f"{output}/answers/{name}"
    pq.write_table(pq.ParquetFile(path).read().drop_columns(["memory_rung"]), path)
    planned = finished_keys(output).failed_rows
    AnswerCommitter(manifest(), output_uri=output, replaces=planned).commit([row("b", second=1, memory_rung=3)])
    table = pq.ParquetFile(path).read()
    assert table.schema.equals(read_answers(output).schema)
    assert table.column("memory_rung").to_pylist() == [None, 3]
    assert table.column("status").to_pylist() == ["ok", "ok"]
