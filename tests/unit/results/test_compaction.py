import os
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.results import part_files
from pipeline.results.compaction import compact, plan_compaction
from pipeline.results.finished import finished_keys, read_answers
from pipeline.results.keys import part_name
from pipeline.results.part_files import AnswersFolder
from pipeline.results.row_index import read_index
from pipeline.results.schema import results_table
from pipeline.results.writer import commit_answers, replace_rows
from tests.unit.results.answer_rows import commit, names_of, row, seen, told
from tests.unit.results.stepped_storage import KilledError, SteppedFileSystem, is_locked, steps

OUTPUT = "stepped://out"
FIRST = [[row("a", "failed"), row("b")], [row("c")], [row("a", second=5), row("d", "failed")]]
MERGED = part_name(["a", "b", "c", "d"])
ROWS = [one for rows in FIRST for one in rows]


@pytest.fixture(autouse=True)
def _one_reader(monkeypatch):
    """Steps come in one order."""
    monkeypatch.setattr(part_files, "NUM_REMOTE_READERS", 1)


@pytest.fixture
def output():
    SteppedFileSystem.store.clear()
    SteppedFileSystem.pseudo_dirs[:] = [""]
    for rows in FIRST:
        commit(OUTPUT, rows)
    return OUTPUT


def two_compactions(output=OUTPUT):
    """What a nightly job does in two nights: merge, then delete what was merged."""
    return compact(output, grace_s=0), compact(output, grace_s=0)


def test_two_compactions_leave_one_file_with_every_row(output):
    merged, deleted = two_compactions(output)
    assert (merged.num_files, merged.num_rows, merged.num_merged, merged.num_written) == (3, 4, 3, 1)
    assert (merged.num_retired, merged.num_deleted, merged.num_waiting) == (3, 0, 3)
    assert (deleted.num_files, deleted.num_retired, deleted.num_deleted, deleted.num_merged) == (1, 0, 3, 0)
    assert not [path for path in SteppedFileSystem.store if "_superseded" in path]
    assert names_of(output) == [MERGED]
    assert seen(output) == told(ROWS)
    assert compact(output, grace_s=0).num_files == 1
    assert names_of(output) == [MERGED]


def test_superseded_files_leave_the_folder_at_once_and_are_kept_aside_for_the_grace_time(output):
    before = names_of(output)
    compact(output, grace_s=3600)
    assert [path for path in SteppedFileSystem.store if path.startswith("/out/answers/")] == [f"/out/answers/{MERGED}"]
    waiting = compact(output, grace_s=3600)
    assert (waiting.num_deleted, waiting.num_waiting, waiting.num_merged) == (0, 3, 0)
    assert set(SteppedFileSystem.store) >= {f"/out/_superseded/{name}.old" for name in before}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(output):
    before = dict(SteppedFileSystem.store)
    report = compact(output, dry_run=True)
    assert (report.num_merged, report.num_written, report.num_retired, report.num_deleted) == (3, 1, 3, 0)
    assert SteppedFileSystem.store == before


def telling_steps(act):
    """Numbers of the steps that differ: one of a run of readings is like the next, and after X is before Y."""
    seen_steps = []
    with steps(lambda number, what: seen_steps.append(what.partition("/")[0])):
        act()
    pairs = zip(seen_steps, [*seen_steps[1:], ""], strict=True)
    return [number for number, (what, after) in enumerate(pairs) if what != after and not what.startswith("after")]


def test_killed_at_any_step_no_row_is_lost_and_the_next_compactions_finish_the_work(output):
    stored = dict(SteppedFileSystem.store)
    numbers = telling_steps(two_compactions)
    assert len(numbers) > 6
    for killed_at in numbers:
        SteppedFileSystem.store.clear()
        SteppedFileSystem.store.update(stored)

        def kill(number, what, killed_at=killed_at):
            if number == killed_at:
                raise KilledError

        with steps(kill), pytest.raises(KilledError):
            two_compactions()
        assert seen(output) == told(ROWS), killed_at
        two_compactions()
        assert names_of(output) == [MERGED]
        assert seen(output) == told(ROWS)


def test_at_every_step_every_reader_sees_every_row_once_and_the_same_keys_are_finished(output):
    expected, looks = told(ROWS), []

    def look(number, what):
        looks.append(what)
        assert seen(output) == expected, what
        finished = finished_keys(output)
        assert (finished.ok, finished.failed) == ({"a", "b", "c"}, {"d"}), what

    with steps(look):
        two_compactions()
    assert any("after deleting" in what for what in looks)
    assert any("after writing" in what for what in looks)


def test_a_reader_that_listed_the_files_earlier_finds_every_row_all_the_same(output, monkeypatch):
    """Between its listing and its reading two whole compactions run."""
    list_parts, listings = AnswersFolder.list_parts, []

    def list_then_compact(self):
        listed = list_parts(self)
        listings.append(listed)
        if len(listings) == 1:
            compact(output, grace_s=0)
            compact(output, grace_s=0)
        return listed

    monkeypatch.setattr(AnswersFolder, "list_parts", list_then_compact)
    assert seen(output) == told(ROWS)
    assert len(listings) > 3


def test_rows_that_do_not_count_leave_files_that_hold_others(tmp_path):
    """A file too large to be merged keeps its place and its other rows."""
    output = str(tmp_path)
    commit(output, [row("a", "failed"), row("b"), row("c")])
    commit(output, [row("a", second=5), row("d")])
    size = max(path.stat().st_size for path in (tmp_path / "answers").glob("part-*"))
    report = compact(output, target_bytes=size, grace_s=0)
    assert (report.num_pruned, report.num_merged) == (1, 0)
    rows = [one for path in (tmp_path / "answers").glob("part-*") for one in pq.ParquetFile(path).read().to_pylist()]
    assert sorted((one["question_key"], one["status"]) for one in rows) == [(key, "ok") for key in "abcd"]


def test_one_compaction_leaves_each_row_once(tmp_path):
    output = str(tmp_path)
    big = [row(key, kept_tokens=None, answer_text="x" * 2000 * ord(key)) for key in "abcdef"]
    commit(output, [row("a", "failed"), row("x")])
    commit(output, big)
    commit(output, [row("y"), row("b", "failed", 99)])
    size = max(path.stat().st_size for path in (tmp_path / "answers").glob("part-*"))
    assert compact(output, target_bytes=2 * size, grace_s=0).num_merged == 2
    assert sorted(pq.read_table(tmp_path / "answers").column("question_key").to_pylist()) == list("abcdefxy")


@pytest.mark.parametrize(
    "other",
    [
        lambda: compact(OUTPUT, grace_s=0),
        lambda: compact(OUTPUT, grace_s=0, target_bytes=40_000),
        lambda: commit(OUTPUT, [row("c", second=9, run="run-9")]),
        lambda: commit(OUTPUT, [row("c", second=9, run="run-9"), row("new")]),
        lambda: commit(OUTPUT, [row("a", "failed", 99), row("b", "failed", 99)]),
        lambda: retry_as_planned_before_all_this(),
    ],
    ids=["compaction", "other sizes", "same file", "new file", "failed again", "retry"],
)
def test_what_others_write_between_any_two_steps_is_kept(output, other):
    """The other writer runs to its end between two steps of two compactions, once for each pair that differs."""
    stored = dict(SteppedFileSystem.store)
    for interrupted_at in telling_steps(two_compactions):
        SteppedFileSystem.store.clear()
        SteppedFileSystem.store.update(stored)
        expected = [None]

        def interrupt(number, what, interrupted_at=interrupted_at, expected=expected):
            if number >= interrupted_at and expected[0] is None and not is_locked():
                other()
                expected[0] = seen(OUTPUT)
            elif expected[0] is not None and what.startswith("after"):
                assert seen(OUTPUT) == expected[0], (interrupted_at, what)

        with steps(interrupt):
            two_compactions()
        two_compactions()
        if expected[0] is not None:
            assert seen(OUTPUT) == expected[0], interrupted_at
            assert len(expected[0]) >= 4


def retry_as_planned_before_all_this():
    """A run that knows the failed row of "d" from before the compaction."""
    path = f"/out/answers/{part_name(['a', 'd'])}"
    answers = results_table([row("d", second=50, run="run-3", answer="after all")], pa.table({}))
    if not replace_rows(SteppedFileSystem(), path, answers):
        commit_answers(OUTPUT, answers, ["d"])
    assert seen(OUTPUT)["d"][3] == "after all"


def test_a_retry_after_a_compaction_rewrites_the_compacted_file(output):
    compact(output, grace_s=3600)  # the file that held "d" is still there
    path = finished_keys(output).failed_rows["d"].path
    assert path.endswith(f"/{MERGED}")
    before = names_of(output)
    answers = results_table([row("d", second=50, answer="after all")], pa.table({}))
    assert replace_rows(SteppedFileSystem(), path, answers)
    assert names_of(output) == before
    two_compactions()
    assert names_of(output) == [MERGED]
    assert seen(output) == told([*ROWS, row("d", second=50, answer="after all")])


def test_folders_of_partitions_are_kept_apart(output):
    for day in (1, 2):
        for key in (f"x{day}", f"y{day}"):
            commit(output, [row(key)], subfolder=f"day={day}")
    two_compactions()
    apart = {MERGED}
    apart |= {f"day={day}/{part_name([f'x{day}', f'y{day}'])}" for day in (1, 2)}
    assert set(names_of(output)) == apart


def test_rows_are_kept_as_they_were_written_and_what_older_files_lack_is_null(tmp_path):
    old = results_table([row("a", warnings=("w",), duration_s=0.1)], pa.table({"topic": ["x"]}))
    old = old.drop_columns(["memory_rung"])
    commit_answers(str(tmp_path), old, ["a"])
    new = results_table([row("b", memory_rung=2)], pa.table({"level": pa.array([7], pa.int8())}))
    commit_answers(str(tmp_path), new, ["b"])
    assert read_answers(str(tmp_path)).column("memory_rung").null_count == 1
    two_compactions(str(tmp_path))
    (path,) = (tmp_path / "answers").glob("part-*")
    merged = pq.ParquetFile(path).read()
    assert merged.column_names == [
        *new.column_names[:5],
        *sorted({"topic", "level"}, key=merged.column_names.index),
        *new.column_names[6:],
    ]
    for held, key in ((old, "a"), (new, "b")):
        kept = merged.filter(pa.compute.equal(merged.column("question_key"), key))
        assert kept.select(held.column_names).cast(held.schema).equals(held)
        for name in set(merged.column_names) - set(held.column_names):
            assert kept.column(name).to_pylist() == [None]
        assert kept.schema.field("finished_at").type == pa.timestamp("us", tz="UTC")


def test_columns_whose_types_differ_are_not_converted_but_stay_in_files_of_their_own(tmp_path):
    big = 2**53 + 1
    for key, level in (("a", big), ("b", 0.5), ("c", big), ("d", 1.5)):
        commit(str(tmp_path), [row(key)], pa.table({"level": [level]}))
    two_compactions(str(tmp_path))
    files = [pq.ParquetFile(path).read() for path in (tmp_path / "answers").glob("part-*")]
    levels = sorted(sorted(file.column("level").to_pylist()) for file in files)
    assert levels == [[0.5, 1.5], [big, big]]
    assert sorted(names_of(str(tmp_path))) == sorted([part_name(["a", "c"]), part_name(["b", "d"])])
    assert compact(str(tmp_path), grace_s=0).num_written == 0


def test_large_files_are_left_alone(tmp_path):
    for key in "abcdef":
        commit(str(tmp_path), [row(key)])
    size = max(path.stat().st_size for path in (tmp_path / "answers").glob("part-*"))
    assert compact(str(tmp_path), target_bytes=2 * size - 1, grace_s=0).num_merged == 0
    assert compact(str(tmp_path), target_bytes=3 * size, grace_s=0).num_written == 2
    before = names_of(str(tmp_path))
    assert compact(str(tmp_path), target_bytes=3 * size, grace_s=0, dry_run=True).num_deleted == 6  # put aside before
    assert names_of(str(tmp_path)) == before


def test_what_killed_writers_left_is_swept_after_a_while(tmp_path):
    commit(str(tmp_path), [row("a")])
    left = [tmp_path / "answers" / f".tmp-part-{age}" for age in ("old", "new")]
    for path in left:
        path.write_bytes(b"half")
    os.utime(left[0], (0, 0))
    compact(str(tmp_path), grace_s=0)
    assert [path.exists() for path in left] == [False, True]


def test_a_file_that_is_not_readable_is_named_and_stays_while_the_others_are_merged(tmp_path, caplog):
    for key in ("a", "b"):
        commit(str(tmp_path), [row(key)])
    (tmp_path / "answers" / "part-0.parquet").write_bytes(b"PAR1")
    assert compact(str(tmp_path), grace_s=0).num_merged == 2
    assert len(names_of(str(tmp_path))) == 2
    assert (tmp_path / "answers" / "part-0.parquet").read_bytes() == b"PAR1"
    assert "part-0.parquet is not readable" in caplog.text
    assert sorted(read_answers(str(tmp_path)).column("question_key").to_pylist()) == ["a", "b"]


def test_where_no_file_is_readable_nothing_is_changed(tmp_path):
    commit(str(tmp_path), [row("a")])
    [name] = names_of(str(tmp_path))
    (tmp_path / "answers" / name).write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=rf"{name} is not readable"):
        compact(str(tmp_path), grace_s=0)
    assert names_of(str(tmp_path)) == [name]


@pytest.mark.parametrize("bounds", [{"target_bytes": 0}, {"grace_s": -1.0}, {"grace_s": float("nan")}])
def test_bounds_are_checked(tmp_path, bounds):
    with pytest.raises(ValueError, match="target_bytes must be at least 1 and grace_s at least 0"):
        compact(str(tmp_path), **bounds)


def test_an_output_without_results_is_compacted_to_nothing(tmp_path):
    (tmp_path / "runs").mkdir()
    assert compact(str(tmp_path)).num_files == 0


def test_a_place_that_is_no_output_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="nowhere is no output: name the --output of a run"):
        compact(str(tmp_path / "nowhere"))


KEYS = st.sampled_from("abcdef")
A_ROW = st.tuples(st.booleans(), st.integers(0, 2), st.sampled_from(["r1", "r2"]))
FILES = st.lists(st.dictionaries(KEYS, A_ROW, min_size=1, max_size=4), min_size=1, max_size=6)


@settings(max_examples=15, deadline=None)
@given(files=FILES)
def test_what_a_plan_takes_away_has_a_copy_or_a_better_row_in_what_stays(tmp_path_factory, files):
    output = str(tmp_path_factory.mktemp("o"))
    for number, rows in enumerate(files):
        made = [row(key, "ok" if ok else "failed", second, run=run) for key, (ok, second, run) in rows.items()]
        commit(output, made, subfolder=f"n={number}")
    index = read_index(AnswersFolder(output))
    number_of = {part: int(part.path.rpartition("/n=")[2].partition("/")[0]) for part in index.parts}
    plan = plan_compaction(index, standing=index.best, target_bytes=10**9)
    gone = {(number_of[part], key) for part in plan.superseded for key in files[number_of[part]]}
    gone |= {(number_of[part], key) for part, keys in plan.stale for key in keys}
    stays = {(number, key) for number, rows in enumerate(files) for key in rows} - gone
    assert sorted(key for _, key in stays) == sorted({key for rows in files for key in rows})
    for number, key in gone:
        (other,) = (other for other, stayed in stays if stayed == key)
        assert files[other][key] >= files[number][key]


def test_the_time_of_a_file_is_that_of_the_storage(tmp_path):
    commit(str(tmp_path), [row("a")])
    folder = AnswersFolder(str(tmp_path))
    (part,) = folder.list_parts()
    assert abs(folder.modified_s(part) - datetime.now(UTC).timestamp()) < 60
