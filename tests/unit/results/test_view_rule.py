"""The view in SQL, the reader in Python and the planner agree with the rule written out plainly."""

import itertools
from datetime import timedelta

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.results.compaction import compact
from pipeline.results.finished import finished_keys
from pipeline.results.part_files import AnswersFolder
from pipeline.results.views import views_sql
from tests.unit.results.answer_rows import NOON, commit, row, seen, told

OUTCOME = st.tuples(st.booleans(), st.integers(0, 2), st.sampled_from(["r1", "r2", "r3"]), st.integers(1, 2))
COMMITS = st.lists(st.dictionaries(st.sampled_from("abcde"), OUTCOME, min_size=1, max_size=4), min_size=1, max_size=6)
FRESH = itertools.count()


def by_sql(output):
    """What the view shows; fails when a key appears twice."""
    with duckdb.connect(config={"threads": 1}) as connection:
        create_answers = views_sql(output).partition(";\n\n")[0]
        connection.execute(create_answers)
        columns = "question_key, status, epoch_us(finished_at), run_id, answer"
        rows = connection.execute(f"SELECT {columns} FROM answers").fetchall()
    by_key = {
        key: (status, NOON + timedelta(microseconds=time - int(NOON.timestamp() * 1e6)), run, answer)
        for key, status, time, run, answer in rows
    }
    assert len(by_key) == len(rows)
    return by_key


@settings(max_examples=8, deadline=None)
@given(commits=COMMITS, folders=st.lists(st.sampled_from(["", "day=1"]), min_size=6, max_size=6))
def test_whatever_runs_commit_every_reader_shows_the_row_that_counts(tmp_path_factory, commits, folders):
    output = str(tmp_path_factory.mktemp(f"o{next(FRESH)}"))
    everything = []
    for number, rows in enumerate(commits):
        made = [
            # The answer follows from run and time: a run does not finish a question twice in one microsecond.
            row(key, "ok" if ok else "failed", second, run=run, answer=f"{run}{second}{num}", num_runs=num)
            for key, (ok, second, run, num) in rows.items()
        ]
        commit(output, made, subfolder=folders[number])
        everything += made
    expected = told(everything)
    assert seen(output) == expected
    assert by_sql(output) == expected
    finished = finished_keys(output)
    assert finished.ok == {key for key, shown in expected.items() if shown[0] == "ok"}
    assert finished.failed == {key for key, shown in expected.items() if shown[0] == "failed"}
    folder = AnswersFolder(output)
    parts = {part.path: part for part in folder.list_parts()}
    assert set(finished.failed_rows) == set(finished.failed)
    for key, failed in finished.failed_rows.items():
        held = (
            folder.read_part(parts[failed.path]).select(["question_key", "status", "finished_at", "run_id"]).to_pylist()
        )
        assert {"question_key": key, "status": "failed"}.items() <= next(
            one.items() for one in held if (one["question_key"], one["finished_at"]) == (key, expected[key][1])
        )
    for _ in range(2):
        compact(output, grace_s=0)
        assert by_sql(output) == seen(output) == expected
