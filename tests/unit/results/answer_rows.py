"""Rows of answers with little in them, files of such rows, and the rule of the view written out plainly."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from pipeline.failures import FailureClass
from pipeline.results.finished import read_answers
from pipeline.results.part_files import AnswersFolder
from pipeline.results.rows import QuestionResult
from pipeline.results.schema import results_table
from pipeline.results.writer import commit_answers

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
NOTHING = pa.table({})


def row(key, status="ok", second=0, *, run="run-1", answer="B", **columns):
    if status == "ok":
        outcome = {"answer": answer}
    else:
        outcome = {"error_class": FailureClass.WORKER_LOST, "error_message": "its worker died"}
    values = {
        "question_id": f"id-{key}",
        "question_key": key,
        "video": "/videos/a.mp4",
        "question": "Which colour?",
        "options": None,
        "status": status,
        "model": "demo",
        "model_revision": None,
        "method": "adapttoken",
        "config_hash": "c",
        "video_fingerprint": None,
        "run_id": run,
        "finished_at": NOON + timedelta(seconds=second),
    }
    return QuestionResult(**(values | outcome | columns))


def commit(output, rows, pass_through=NOTHING, **options):
    return commit_answers(output, results_table(rows, pass_through), [one.question_key for one in rows], **options)


def seen(output, storage_options=None):
    """What a reader is told: key -> (status, finished_at, run_id, answer). Fails when a key appears twice."""
    names = ["question_key", "status", "finished_at", "run_id", "answer"]
    rows = read_answers(output, storage_options=storage_options).select(names).to_pylist()
    by_key = {one["question_key"]: tuple(one.values())[1:] for one in rows}
    assert len(by_key) == len(rows)
    return by_key


def told(rows):
    """What a reader must be told: of each key ok before failed, then the later run, the newest, the last by name."""
    best = {}
    for one in rows:
        rank = (one.status == "ok", one.num_runs, one.finished_at, one.run_id)
        if one.question_key not in best or rank > best[one.question_key][0]:
            best[one.question_key] = (rank, (one.status, one.finished_at, one.run_id, one.answer))
    return {key: shown for key, (_, shown) in best.items()}


def names_of(output, storage_options=None):
    return [part.path.rpartition("/answers/")[2] for part in AnswersFolder(output, storage_options).list_parts()]
