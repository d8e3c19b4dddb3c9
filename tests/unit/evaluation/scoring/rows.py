"""Rows of a run, as ``read_answers`` gives them, from what a test says of them."""

from datetime import UTC, datetime

import pyarrow as pa

DEFAULTS = {
    "question": "Which?",
    "options": ["red", "green", "blue", "cyan"],
    "status": "ok",
    "duration_s": 100.0,
    "num_groups": 10,
    "num_groups_scored": 5,
    "num_tokens_kept": 16,
    "total_s": 2.0,
    "model": "demo",
    "method": "adapttoken",
    "config_hash": "c1",
    "finished_at": datetime(2026, 1, 1, tzinfo=UTC),
    "evidence": [],
}
EVIDENCE = pa.list_(pa.struct([("start_s", pa.float64()), ("end_s", pa.float64())]))


def row(question_id, video="v1", letter="A", expected="A", **others):
    """One row; ``letter`` is both the answer and its text unless others say so."""
    own = {"question_id": question_id, "video": video, "answer": letter, "answer_text": letter, "expected": expected}
    return DEFAULTS | own | others


def table(*rows):
    names = list(dict.fromkeys(name for item in rows for name in item))
    columns = {}
    for name in names:
        values = [item.get(name) for item in rows]
        columns[name] = pa.array(values, EVIDENCE) if name == "evidence" else pa.array(values)
    return pa.table(columns)


def spans(*pairs):
    return [{"start_s": float(start), "end_s": float(end)} for start, end in pairs]
