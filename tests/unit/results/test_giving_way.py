"""A failed row gives way to what came of the same question later, or under another key, for every reader."""

import itertools

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.failures import RETRYABLE, FailureClass
from pipeline.manifest.questions import Question
from pipeline.manifest.reading import read_manifest
from pipeline.results.asked import hash_question
from pipeline.results.committer import AnswerCommitter
from pipeline.results.compaction import compact
from pipeline.results.failed_rows import FailedRow
from pipeline.results.finished import answered_questions, finished_keys, read_answers
from pipeline.results.keys import part_name
from pipeline.results.part_files import AnswersFolder
from pipeline.results.views import views_sql
from pipeline.results.writer import write_part
from tests.unit.results.answer_rows import NOTHING, commit, names_of, row
from tests.unit.results.answer_rows import results_table as to_table

FRESH = itertools.count()
ASKED = {"question": "Why?", "options": ("x", "y")}


def of(question, key, status="ok", second=0, *, is_absent=False, **columns):
    """A row of one question under one key."""
    fingerprint = None if is_absent else "1" * 16
    values = ASKED | {"question_id": question, "video_fingerprint": fingerprint} | columns
    return row(key, status, second, run=f"run-{second}", **values)


def shown(output):
    """Keys that the view shows, and its failures; fails where Python's reader shows others."""
    with duckdb.connect(config={"threads": 1}) as connection:
        for statement in views_sql(output).split(";\n\n")[:-1]:
            connection.execute(statement)
        answers = connection.execute("SELECT question_key FROM answers ORDER BY ALL").fetchall()
        failures = connection.execute("SELECT question_key FROM failures ORDER BY ALL").fetchall()
    keys = [key for (key,) in answers]
    assert sorted(read_answers(output).column("question_key").to_pylist()) == keys
    return keys, [key for (key,) in failures]


@pytest.mark.parametrize(
    ("rows", "keys", "failures"),
    [
        pytest.param(
            [of("q", "away", "failed", 1, is_absent=True), of("q", "b", "ok", 2)], ["b"], [], id="it came back"
        ),
        pytest.param([of("q", "b", "ok", 1), of("q", "away", "failed", 2, is_absent=True)], ["b"], [], id="it went"),
        pytest.param([of("q", "a", "failed", 1), of("q", "b", "ok", 2)], ["b"], [], id="a version that can be read"),
        pytest.param([of("q", "a", "ok", 1), of("q", "b", "failed", 2)], ["a", "b"], ["b"], id="one that cannot"),
        pytest.param(
            [of("q", "away", "failed", 1, is_absent=True), of("q", "b", "failed", 2)],
            ["b"],
            ["b"],
            id="back and broken",
        ),
        pytest.param([of("q", "a", "ok", 1), of("q", "b", "ok", 2)], ["a", "b"], [], id="two versions"),
        pytest.param([of("q", "a", "failed", 1), of("r", "b", "ok", 2)], ["a", "b"], ["a"], id="another question"),
        pytest.param(
            [of("q", "a", "failed", 1), of("q", "b", "ok", 2, config_hash="d")], ["a", "b"], ["a"], id="other settings"
        ),
        pytest.param(
            [of("q", "a", "failed", 1, options=None), of("q", "b", "ok", 2)], ["a", "b"], ["a"], id="other options"
        ),
    ],
)
@pytest.mark.parametrize("is_one_file", [True, False])
def test_a_failed_row_gives_way_to(rows, keys, failures, is_one_file, tmp_path):
    for file in [rows] if is_one_file else [[one] for one in rows]:
        commit(str(tmp_path), file)
    assert shown(str(tmp_path)) == (keys, failures)


ROWS = st.tuples(st.sampled_from("qr"), st.sampled_from("abc"), st.booleans(), st.integers(0, 3))


@settings(max_examples=25, deadline=None)
@given(files=st.lists(st.lists(ROWS, min_size=1, max_size=4), min_size=1, max_size=4))
def test_sql_and_python_show_the_same_rows_and_each_question_at_least_once(tmp_path_factory, files):
    output = str(tmp_path_factory.mktemp(f"g{next(FRESH)}"))
    asked = set()
    for file in files:
        made = {}
        for question, version, is_ok, second in file:
            key = f"{question}-{version}"
            is_absent = not is_ok and (ord(version) + second) % 2 == 0  # one row of a key and a moment is one row
            made[key] = of(question, key, "ok" if is_ok else "failed", second, is_absent=is_absent)
        asked |= {key[0] for key in made}
        commit(output, list(made.values()))
    keys, failures = shown(output)
    assert {key[0] for key in keys} == asked
    assert all(sum(key.startswith(question) for key in failures) <= 1 for question in "qr")
    compact(output, grace_s=0)
    assert shown(output) == (keys, failures)
    held = duckdb.sql(f"SELECT question_key FROM '{output}/answers/*.parquet' ORDER BY ALL").fetchall()
    assert [key for (key,) in held] == keys, "who does not choose among rows sees the same after a compaction"


def question(name, index):
    return Question(question_id=name, video="/videos/a.mp4", text="Why?", options=("x", "y"), row_index=index)


@pytest.fixture
def committer(tmp_path):
    """Of a manifest with three questions about one video."""
    columns = {"question_id": list("qrs"), "video": ["/videos/a.mp4"] * 3, "question": ["Why?"] * 3}
    pq.write_table(pa.table(columns), tmp_path / "manifest.parquet")
    manifest = read_manifest(str(tmp_path / "manifest.parquet"))

    def make(replaces=None):
        return AnswerCommitter(manifest, output_uri=str(tmp_path), replaces=replaces)

    return make


def test_the_answer_takes_the_place_of_the_failed_row_in_its_file_and_counts_the_runs(committer, tmp_path):
    output = str(tmp_path)
    committer().commit([of(name, f"away-{name}", "failed", 1, is_absent=True) for name in "qrs"])
    before, failed = names_of(output), finished_keys(output).failed_rows
    replaces = {f"b-{name}": failed.of_question(hash_question(question(name, 0), config_hash="c")) for name in "qr"}
    committer(replaces).commit([of(name, f"b-{name}", "ok", 2) for name in "qr"])
    assert names_of(output) == before
    rows = pq.ParquetFile(f"{output}/answers/{before[0]}").read().to_pylist()
    found = sorted((one["question_key"], one["status"], one["num_runs"]) for one in rows)
    assert found == [("away-s", "failed", 1), ("b-q", "ok", 2), ("b-r", "ok", 2)]


def test_a_late_run_that_found_the_video_away_does_not_wipe_out_the_answers_in_its_file(committer, tmp_path):
    output = str(tmp_path)
    away = [of(name, f"away-{name}", "failed", 1, is_absent=True) for name in "qr"]
    committer().commit(away)
    [name] = names_of(output)
    assert name == part_name(["away-q", "away-r"])
    path = AnswersFolder(output).list_parts()[0].path
    replaces = {f"b-{one}": FailedRow(path=path, question_key=f"away-{one}", num_runs=1) for one in "qr"}
    committer(replaces).commit([of(one, f"b-{one}", "ok", 2) for one in "qr"])
    write_part(AnswersFolder(output).filesystem, path, to_table(away, NOTHING))
    assert shown(output) == (["b-q", "b-r"], [])


@pytest.mark.parametrize("failure_class", sorted(set(FailureClass)))
@pytest.mark.parametrize("is_absent", [False, True])
@pytest.mark.parametrize("num_runs", [1, 4, 5])
def test_failures_by_circumstance_are_not_finished_up_to_a_cap(failure_class, is_absent, num_runs, tmp_path):
    made = of("q", "k", "failed", is_absent=is_absent, error_class=failure_class, num_runs=num_runs)
    commit(str(tmp_path), [made])
    finished = finished_keys(str(tmp_path))
    is_verdict = failure_class not in RETRYABLE or (failure_class is FailureClass.NOT_FOUND and is_absent)
    assert finished.skipped(max_runs=5) == ({"k"} if is_verdict or num_runs >= 5 else set())
    assert finished.skipped(max_runs=5, retry_failed=True) == set()
    assert finished.failed_rows["k"].num_runs == num_runs


def test_failed_rows_from_before_runs_were_counted_count_as_one(tmp_path):
    uri = commit(str(tmp_path), [of("q", "k", "failed")])
    pq.write_table(pq.ParquetFile(uri).read().drop_columns(["num_runs"]), uri)
    finished = finished_keys(str(tmp_path))
    assert finished.failed_rows["k"].num_runs == 1
    assert finished.skipped(max_runs=2) == set()


@settings(max_examples=30, deadline=None)
@given(keys=st.dictionaries(st.text("0123456789abcdef", min_size=1, max_size=8), st.integers(1, 9), max_size=12))
def test_failed_rows_behave_like_a_dictionary(tmp_path_factory, keys):
    output = str(tmp_path_factory.mktemp(f"d{next(FRESH)}"))
    for key, num_runs in keys.items():
        commit(output, [of(f"id-{key}", key, "failed", num_runs=num_runs)])
    failed = finished_keys(output).failed_rows
    assert {key: found.num_runs for key, found in failed.items()} == keys
    for key in keys:
        asked = hash_question(question(f"id-{key}", 0), config_hash="c")
        assert failed.of_question(asked) == failed[key]
    assert failed.get("not there") is None
    assert failed.of_question(7) is None


def test_answered_questions_are_found_whatever_version_of_their_video_was_asked_about(tmp_path):
    commit(str(tmp_path), [of("q", "a", "ok"), of("r", "b", "failed")])
    commit(str(tmp_path), [of("s", "c", "ok")])
    hashes = {name: hash_question(question(name, 0), config_hash="c") for name in "qrs"}
    assert answered_questions(str(tmp_path), {"q", "r", "z"}) == {hashes["q"]}
    assert answered_questions(str(tmp_path), {"z"}) == frozenset()
