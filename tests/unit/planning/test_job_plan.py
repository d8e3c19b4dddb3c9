"""What a run has to do: tasks in columns behave as tuples of records, whatever is finished, missing or rejected."""

import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from pipeline.failures import Failure, FailureClass
from pipeline.manifest.reading import group_by_video, read_manifest
from pipeline.planning.job_plan import plan_job
from pipeline.planning.task_queue import TaskQueue, count_questions
from pipeline.planning.tasks import VideoTask
from pipeline.results.keys import missing_fingerprint, question_keys, rejected_key, video_fingerprint
from pipeline.results.rows import RunStamp, failed_result
from pipeline.results.schema import results_table
from pipeline.results.writer import commit_answers

STAMP = RunStamp(run_id="r", method="adapttoken", model="demo", model_revision="1", config_hash="c" * 16)
VIDEOS = ("b.mp4", "a.mp4", "b.mp4", "./a.mp4", "gone.mp4", "c.mp4", "b.mp4", "gone.mp4")


@pytest.fixture
def manifest(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    rows = [{"question_id": str(i), "video": v, "question": "Why?", "options": None} for i, v in enumerate(VIDEOS)]
    rows[2]["options"], rows[5]["question"] = ["x", "y"], ""
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return read_manifest(str(tmp_path / "m.jsonl"), skip_bad_rows=True)


def plan(manifest, tmp_path, **options):
    return plan_job(manifest, stamp=STAMP, output_uri=str(tmp_path / "out"), **options)


def straight_tasks(manifest, *, skipped=()):
    """The same, written down row by row."""
    tasks = []
    for video_id, (uri, questions) in enumerate(group_by_video(manifest.questions).items()):
        found = missing_fingerprint(uri) if uri.endswith("gone.mp4") else video_fingerprint(uri)
        keys = question_keys(questions, fingerprint=found, config_hash=STAMP.config_hash)
        left = [(q, key) for q, key in zip(questions, keys, strict=True) if key not in skipped]
        if left:
            ids, of = tuple(q for q, _ in left), tuple(key for _, key in left)
            task = VideoTask(video_id=video_id, uri=uri, fingerprint=found, questions=ids, question_keys=of)
            tasks.append(task)
    return tasks


def commit_failed(tmp_path, question, key):
    failure = Failure(failure_class=FailureClass.MODEL, message="m")
    row = failed_result(question, failure, question_key=key, stamp=STAMP, finished_at=datetime.now(UTC))
    commit_answers(str(tmp_path / "out"), results_table([row], pa.table({})), [key])


def test_tasks_are_the_questions_by_video_in_first_seen_order(manifest, tmp_path):
    found = plan(manifest, tmp_path)
    assert list(found.tasks) == straight_tasks(manifest)[:2]
    assert [task.uri.rpartition("/")[2] for task in found.tasks] == ["b.mp4", "a.mp4"]
    assert (found.num_skipped, found.num_failed) == (0, 3)


def test_missing_videos_and_rejected_rows_become_failed_rows(manifest, tmp_path):
    rows = list(plan(manifest, tmp_path).failed_rows(STAMP))
    assert [[row.question_id for row in commit] for commit in rows] == [["4", "7"], ["5"]]
    assert [row.error_class for commit in rows for row in commit] == ["not_found", "not_found", "manifest"]
    assert rows[1][0].question_key == rejected_key(manifest.rejected[0], config_hash=STAMP.config_hash)


@pytest.mark.parametrize("retry_failed", [False, True])
def test_what_is_finished_is_dropped_unless_it_failed_and_is_tried_again(manifest, tmp_path, retry_failed):
    done = straight_tasks(manifest)[0]
    commit_failed(tmp_path, done.questions[1], done.question_keys[1])
    found = plan(manifest, tmp_path, retry_failed=retry_failed)
    skipped = () if retry_failed else (done.question_keys[1],)
    assert list(found.tasks) == straight_tasks(manifest, skipped=skipped)[:2]
    assert (found.num_skipped, found.num_skipped_failed) == (len(skipped), len(skipped))


def test_a_video_whose_questions_are_all_finished_is_no_task_and_the_others_keep_their_numbers(manifest, tmp_path):
    done = straight_tasks(manifest)[0]
    for question, key in zip(done.questions, done.question_keys, strict=True):
        commit_failed(tmp_path, question, key)
    found = plan(manifest, tmp_path)
    assert list(found.tasks) == straight_tasks(manifest)[1:2]
    assert found.tasks.video_ids.tolist() == [1]


def test_a_task_table_is_a_sequence_and_survives_pickling_in_part(manifest, tmp_path):
    tasks = plan(manifest, tmp_path).tasks
    expected = straight_tasks(manifest)[:2]
    assert (tasks[0], tasks[-1], len(tasks), tasks.num_questions) == (expected[0], expected[1], 2, 5)
    assert list(tasks[1:]) == expected[1:]
    assert list(tasks[:0]) == []
    assert list(tasks.without({0})) == expected[1:]
    assert list(pickle.loads(pickle.dumps(tasks.without([1])))) == expected[:1]
    assert tasks.uris() == [task.uri for task in expected]
    with pytest.raises(IndexError):
        tasks[2]


def test_a_queue_hands_out_every_task_once_in_order(manifest, tmp_path):
    tasks = plan(manifest, tmp_path).tasks
    for source in (tasks, tuple(tasks)):
        queue = TaskQueue(source)
        assert (len(queue), count_questions(source)) == (2, 5)
        assert [queue.popleft() for _ in range(len(queue))] == straight_tasks(manifest)[:2]
        assert not queue
        with pytest.raises(IndexError):
            queue.popleft()


def commit(tmp_path, task, *, failure_class=None, num_runs=1, is_absent=False):
    """Rows of all questions of a task: failed ones, or answers."""
    rows = []
    for question, key in zip(task.questions, task.question_keys, strict=True):
        failure = Failure(failure_class=failure_class or FailureClass.INTERNAL, message="m")
        fingerprint = None if is_absent else task.fingerprint
        row = failed_result(
            question,
            failure,
            question_key=key,
            stamp=STAMP,
            finished_at=datetime.now(UTC),
            video_fingerprint=fingerprint,
        )
        row = replace(row, num_runs=num_runs)
        if failure_class is None:
            row = replace(row, status="ok", answer="A", error_class=None, error_message=None)
        rows.append(row)
    commit_answers(str(tmp_path / "out"), results_table(rows, pa.table({})), list(task.question_keys))


@pytest.mark.parametrize(("num_runs", "is_asked"), [(1, True), (4, True), (5, False)])
def test_what_failed_by_circumstance_is_asked_again_up_to_a_cap(num_runs, is_asked, manifest, tmp_path):
    task = straight_tasks(manifest)[0]
    commit(tmp_path, task, failure_class=FailureClass.TRANSFER, num_runs=num_runs)
    found = plan(manifest, tmp_path, max_runs=5)
    assert list(found.tasks) == straight_tasks(manifest)[0 if is_asked else 1 : 2]
    assert found.num_skipped_failed == (0 if is_asked else 3)
    if is_asked:
        assert {found.replaces[key].num_runs for key in task.question_keys} == {num_runs}
    assert list(plan(manifest, tmp_path, max_runs=5, retry_failed=True).tasks) == straight_tasks(manifest)[:2]


def test_an_absent_videos_failed_rows_give_way_to_those_of_the_video_once_it_is_back(manifest, tmp_path):
    gone = straight_tasks(manifest)[2]
    commit(tmp_path, gone, failure_class=FailureClass.NOT_FOUND, is_absent=True)
    assert plan(manifest, tmp_path, max_runs=5).unreadable.num_questions == 0
    (tmp_path / "gone.mp4").write_bytes(b"back")
    found = plan(manifest, tmp_path, max_runs=5)
    [back] = [task for task in found.tasks if task.uri.endswith("gone.mp4")]
    replaced = [found.replaces[key].question_key for key in back.question_keys]
    assert replaced == list(gone.question_keys)
    assert not set(replaced).intersection(back.question_keys)


def test_a_video_that_was_answered_and_is_away_now_takes_nothing_back(manifest, tmp_path):
    (tmp_path / "gone.mp4").write_bytes(b"there")
    [there] = [task for task in plan(manifest, tmp_path).tasks if task.uri.endswith("gone.mp4")]
    commit(tmp_path, replace(there, questions=there.questions[:1], question_keys=there.question_keys[:1]))
    (tmp_path / "gone.mp4").unlink()
    found = plan(manifest, tmp_path)
    assert [question.question_id for task in found.unreadable for question in task.questions] == ["7"]
    assert (found.num_skipped, found.num_skipped_away, found.num_skipped_failed) == (1, 1, 0)
