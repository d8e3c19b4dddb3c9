import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pytest
from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.results.atomic_files import change_file, delete_unchanged
from pipeline.results.finished import finished_keys
from pipeline.results.keys import part_name
from pipeline.results.part_files import AnswersFolder
from pipeline.results.schema import results_table
from pipeline.results.writer import replace_rows
from tests.unit.results.answer_rows import NOTHING, commit, names_of, row, seen, told

ROOT = Path(__file__).resolve().parents[3]
KILLED_WRITERS = """
import os, random, signal, sys, time
from tests.unit.results.answer_rows import commit, row, seen
from pipeline.results.finished import finished_keys
output, num_kills = sys.argv[1], int(sys.argv[2])
KEYS = [[f"k{video}-{question}" for question in range(3)] for video in range(4)]
random.seed(7)
found_seconds = set()
for kill in range(num_kills):
    child = os.fork()
    if child == 0:
        for second in range(kill * 1000, kill * 1000 + 999):
            for keys in KEYS:
                commit(output, [row(key, second=second, answer=str(second)) for key in keys])
    time.sleep(random.uniform(0.0, 0.12))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    answers = {key: answer for key, (_, _, _, answer) in seen(output).items()}
    for keys in KEYS:
        found = {answers.get(key) for key in keys}
        assert len(found) == 1, found  # all rows of a commit, or none
    assert finished_keys(output).ok == set(answers)
    found_seconds |= set(map(int, answers.values()))
print(len(found_seconds), max(found_seconds))
"""


def test_writers_that_are_killed_at_any_moment_leave_whole_commits(tmp_path):
    (tmp_path / "answers").mkdir()
    command = [sys.executable, "-c", KILLED_WRITERS, str(tmp_path), "25"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": "."}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    num_versions, last_second = map(int, done.stdout.split())
    assert last_second > 1000  # later writers replaced what earlier ones had left
    assert num_versions > 1


def test_two_runs_that_finish_the_same_questions_share_a_file_that_keeps_the_better_rows(tmp_path):
    output = str(tmp_path)
    first = [row("a", second=1, run="r1"), row("b", "failed", 1, run="r1"), row("c", second=1, run="r1")]
    second = [row("a", "failed", 2, run="r2"), row("b", second=2, run="r2"), row("c", second=2, run="r2", answer="C")]
    commit(output, first)
    commit(output, second)
    assert names_of(output) == [part_name(["a", "b", "c"])]
    assert seen(output) == told([*first, *second])
    assert {key: shown[2] for key, shown in seen(output).items()} == {"a": "r1", "b": "r2", "c": "r2"}


def test_a_commit_replaces_an_unreadable_file_of_its_name(tmp_path):
    output = str(tmp_path)
    commit(output, [row("a")])
    (tmp_path / "answers" / part_name(["a"])).write_bytes(b"PAR1 torn")
    commit(output, [row("a", second=1)])
    assert seen(output) == told([row("a", second=1)])


@pytest.fixture(params=["local", "memory"])
def held(request, tmp_path):
    """An output whose one file holds twelve failed rows; with its file system and path."""
    output = str(tmp_path) if request.param == "local" else "memory://results-held/out"
    MemoryFileSystem.store.clear()
    commit(output, [row(f"k{number}", "failed") for number in range(12)])
    folder = AnswersFolder(output)
    return output, folder.filesystem, folder.list_parts()[0].path


def test_runs_that_retry_different_rows_of_one_file_at_once_all_leave_their_answer(held):
    output, filesystem, path = held
    rows = [row(f"k{number}", second=number, run=f"run-{number}") for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        done = pool.map(lambda one: replace_rows(filesystem, path, results_table([one], NOTHING)), rows)
    assert all(done)
    assert seen(output) == told(rows)
    assert names_of(output) == [path.rpartition("/")[2]]


def test_a_row_replaces_another_in_its_place_only_if_it_is_better(held):
    output, filesystem, path = held
    for one in (row("k3", second=5), row("k3", "failed", 9), row("k3", second=4, answer="older")):
        assert replace_rows(filesystem, path, results_table([one], NOTHING))
    folder = AnswersFolder(output)
    (part,) = folder.list_parts()
    assert folder.read_part(part).column("question_key").to_pylist() == [f"k{number}" for number in range(12)]
    assert seen(output)["k3"] == told([row("k3", second=5)])["k3"]


@pytest.mark.parametrize("make_unfit", ["gone", "other keys", "other types"])
def test_a_file_that_cannot_take_the_row_is_left_alone(held, make_unfit):
    output, filesystem, path = held
    table = results_table([row("k0")], NOTHING)
    if make_unfit == "gone":
        filesystem.rm_file(path)
    elif make_unfit == "other keys":
        table = results_table([row("k99")], NOTHING)
    else:
        table = table.set_column(2, "video", pa.array([7]))
    before = names_of(output)
    assert not replace_rows(filesystem, path, table)
    assert names_of(output) == before
    assert "ok" not in {shown[0] for shown in seen(output).values()}


def test_a_file_is_deleted_only_while_it_is_what_was_listed(held):
    output, filesystem, path = held
    (listed,) = AnswersFolder(output).list_parts()
    replace_rows(filesystem, path, results_table([row("k0")], NOTHING))
    assert not delete_unchanged(filesystem, path, listed.version)
    (listed,) = AnswersFolder(output).list_parts()
    assert delete_unchanged(filesystem, path, listed.version)
    assert not delete_unchanged(filesystem, path, listed.version)
    assert names_of(output) == []


def test_a_network_file_system_gets_a_temporary_name_and_a_move(tmp_path):
    filesystem = ArrowFSWrapper(pyarrow.fs.LocalFileSystem())
    path = str(tmp_path / "folder" / "x")
    change_file(filesystem, path, lambda old: b"1" if old is None else b"wrong")
    change_file(filesystem, path, lambda old: (old or b"") + b"2")
    assert (tmp_path / "folder" / "x").read_bytes() == b"12"

    class Broken(ArrowFSWrapper):
        cachable = False

        def pipe_file(self, path, value, **kwargs):
            super().pipe_file(path, value[:1])
            raise OSError(errno.EIO, "connection lost")

    with pytest.raises(OSError, match="connection lost"):
        change_file(Broken(pyarrow.fs.LocalFileSystem()), path, lambda old: b"345")
    assert (tmp_path / "folder" / "x").read_bytes() == b"12"
    assert os.listdir(tmp_path / "folder") == ["x"]


def test_a_file_that_vanishes_while_all_are_read_makes_the_reader_list_again(tmp_path, monkeypatch):
    output = str(tmp_path)
    rows = [row("a"), row("b", "failed")]
    for one in rows:
        commit(output, [one])
    list_parts, num_listings = AnswersFolder.list_parts, []

    def list_then_merge(self):
        parts = list_parts(self)
        num_listings.append(len(parts))
        if len(num_listings) == 1:
            commit(output, rows)
            for part in parts:
                os.unlink(part.path)
        return parts

    monkeypatch.setattr(AnswersFolder, "list_parts", list_then_merge)
    assert seen(output) == told(rows)
    assert num_listings == [2, 1]


def test_files_that_keep_vanishing_are_an_error_not_an_empty_result(tmp_path, monkeypatch):
    commit(str(tmp_path), [row("a")])
    parts = AnswersFolder(str(tmp_path)).list_parts()
    os.unlink(parts[0].path)
    monkeypatch.setattr(AnswersFolder, "list_parts", lambda self: parts)
    with pytest.raises(OSError, match="vanished 10 times while they were read: try again"):
        finished_keys(str(tmp_path))


def test_a_folder_that_cannot_be_listed_is_an_error_not_an_empty_result(tmp_path, monkeypatch):
    commit(str(tmp_path), [row("a")])

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        finished_keys(str(tmp_path))
