"""An output folder with two runs by two methods, a failure and manifest columns, small enough to work out by hand."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from pipeline.results.rows import EvidenceRow, GroupRow, KeptTokens, RunStamp
from pipeline.results.schema import results_table
from pipeline.results.summary import summarize, write_json_atomic
from pipeline.results.writer import commit_answers
from tests.unit.results.answer_rows import row

START = datetime(2026, 1, 31, tzinfo=UTC)
MANIFEST = {"expected": ["A", "B", "C"], "needle_start_s": [1.0, 5.0, 9.0], "needle_end_s": [2.0, 6.0, 10.0]}


def group(index, entropy, response, kept):
    return GroupRow(
        group_index=index,
        entropy=entropy,
        certainty=-entropy,
        response=response,
        num_tokens_offered=64,
        num_tokens_bought=kept + 1,
        num_tokens_kept=kept,
    )


def answered(key, method, *, start_s, answer="A", **columns):
    tokens = KeptTokens(
        start_s=(start_s, start_s), group_index=(2, 2), token_row=(0, 1), token_column=(1, 1), weight=(0.75, 0.25)
    )
    values = {
        "options": ("red", "blue"),
        "option_probabilities": (0.9, 0.1),
        "answer_entropy": 0.325,
        "evidence": (EvidenceRow(start_s=start_s, end_s=start_s + 1.0, weight=1.0, num_tokens=2),),
        "kept_tokens": tokens,
        "groups": (group(0, 1.25, "B", 0), group(2, 0.01, "A", 2)),
        "num_groups": 4,
        "num_groups_scored": 2,
        "stop_reason": "confident",
        "encode_s": 0.5,
        "decode_s": 1.0,
        "total_s": 1.5,
    }
    return row(key, answer=answer, method=method, **(values | columns))


def write_output(output, **options):
    """Runs ``r1`` (two answers, one failure) and ``r2`` (another method: one answer); returns the rows."""
    runs = {
        "r1": [
            answered("a", "adapttoken", start_s=1.5, run="r1"),
            answered("b", "adapttoken", start_s=8.0, answer="B", run="r1"),
            row("c", "failed", run="r1", method="adapttoken"),
        ],
        "r2": [answered("d", "adapttoken-lite", start_s=1.0, run="r2")],
    }
    for number, (run_id, rows) in enumerate(runs.items()):
        columns = pa.table({name: values[: len(rows)] for name, values in MANIFEST.items()})
        table = results_table(rows, columns)
        commit_answers(output, table, [one.question_key for one in rows], **options)
        stamp = RunStamp(run_id=run_id, method=rows[0].method, model="demo", model_revision=None, config_hash="c")
        started_at = START + timedelta(hours=number)
        summary = summarize(table, stamp=stamp, started_at=started_at, finished_at=started_at, wall_s=2.0, exit_code=0)
        write_json_atomic(f"{output}/runs/{run_id}/summary.json", summary, **options)
    return [one for rows in runs.values() for one in rows]
