"""Browsing an output folder of a million generated answers: seconds to read it, for a page of each kind, for one row.

    python jobs/lab/bench_browsing.py --rows 1000000 --folder /tmp/million

The folder is made where it is not there; a million rows take about 50 MB.
"""

import argparse
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from jobs.wiring.exit_codes import EXIT_OK
from pipeline.results.schema import ANSWERS_SCHEMA, results_table
from pipeline.results.writer import commit_answers
from pipeline.serving.answer_lines import AnswerLines, LineQuery
from pipeline.serving.line_totals import sum_up

_AT_ONCE = 5_000
_NUM_PER_VIDEO, _NUM_GROUPS, _NUM_TOKENS = 40, 8, 16
_START = datetime(2026, 1, 1, tzinfo=UTC)
_WORDS = ("rider", "goal", "bridge", "dog", "kitchen", "train", "storm", "speech", "castle", "river")


def main(arguments: list[str] | None = None) -> int:
    """Make the folder, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5, help="the median is printed")
    options = parser.parse_args(arguments)
    if not options.folder.exists():
        for first in range(0, options.rows, _AT_ONCE):
            table = make_answers(first, min(_AT_ONCE, options.rows - first))
            commit_answers(str(options.folder), table, table.column("question_key").to_pylist())
    started = time.perf_counter()
    with closing(AnswerLines(str(options.folder))) as lines:
        print(f"{'folder read, lines sorted and judged':<44}{time.perf_counter() - started:8.2f} s")
        for name, seconds in measure(lines, options.repeats).items():
            print(f"{name:<44}{seconds:8.3f} s", flush=True)
    return EXIT_OK


def measure(lines: AnswerLines, repeats: int) -> dict[str, float]:
    """Seconds by name."""
    total = lines.page(LineQuery())["num_all"]
    middle = total // 200
    some = lines.page(LineQuery(page=middle))["entries"][0]["key"]
    queries = {
        "first page": LineQuery(),
        "page in the middle": LineQuery(page=middle),
        "last page": LineQuery(page=(total - 1) // 100),
        "least sure first": LineQuery(sort="unsure"),
        "least sure first, page in the middle": LineQuery(sort="unsure", page=middle),
        "question, A to Z": LineQuery(sort="question"),
        "failed only": LineQuery(show="failed"),
        "wrong, most seconds first": LineQuery(show="wrong", sort="cost"),
        "search of two words": LineQuery(search="castle v0123"),
        "search without a hit": LineQuery(search="zeppelin"),
    }
    found = {name: _median(repeats, lambda query=query: lines.page(query)) for name, query in queries.items()}
    found["one answer in full"] = _median(repeats, lambda: lines.row(some))
    found["sums of the head"] = _median(repeats, lambda: sum_up(lines))
    return found


def make_answers(first: int, num_rows: int) -> pa.Table:
    """Rows ``first`` … of the archive, in the columns of a run, with a truth for each."""
    rng = np.random.default_rng(first)
    number = np.arange(first, first + num_rows)
    right = rng.random(num_rows) < 0.7
    failed = rng.random(num_rows) < 0.01
    groups = [
        {"group_index": g, "entropy": 0.1 * g, "certainty": -0.1 * g, "response": "B"} for g in range(_NUM_GROUPS)
    ]
    counts = {"num_tokens_offered": 128, "num_tokens_bought": 4, "num_tokens_kept": 2}
    token = {"start_s": 1.0, "group_index": 0, "token_row": 1, "token_column": 1, "weight": 0.0625}
    words = rng.choice(_WORDS, (num_rows, 2))
    columns: dict[str, object] = {
        "question_id": [f"q{one:07d}" for one in number],
        "question_key": [f"{one * 2654435761 % 2**64:016x}{one:016x}" for one in number.tolist()],
        "video": [f"s3://archive/films/v{one // _NUM_PER_VIDEO:06d}.mp4" for one in number],
        "question": [
            f"What does the {a} do behind the {b} in part {n}?" for (a, b), n in zip(words, number, strict=True)
        ],
        "options": [["runs", "waits", "falls", "nothing"]] * num_rows,
        "status": np.where(failed, "failed", "ok"),
        "error_class": [("transfer" if one else None) for one in failed],
        "error_message": [("the storage did not answer" if one else None) for one in failed],
        "answer": [None if bad else "BC"[not good] for bad, good in zip(failed, right, strict=True)],
        "answer_text": [None if bad else "BC"[not good] for bad, good in zip(failed, right, strict=True)],
        "option_probabilities": [[0.1, 0.6, 0.2, 0.1]] * num_rows,
        "answer_entropy": rng.random(num_rows),
        "evidence": [[{"start_s": 1.0, "end_s": 3.0, "weight": 1.0, "num_tokens": _NUM_TOKENS}]] * num_rows,
        "kept_tokens": [[token] * _NUM_TOKENS] * num_rows,
        "groups": [[one | counts for one in groups]] * num_rows,
        "num_groups": [157] * num_rows,
        "num_groups_scored": rng.integers(2, 158, num_rows),
        "stop_reason": ["confident"] * num_rows,
        "duration_s": [5_400.0] * num_rows,
        "total_s": rng.random(num_rows) * 20,
        "score_s": rng.random(num_rows) * 10,
        "model": ["generated"] * num_rows,
        "method": ["adapttoken-lite"] * num_rows,
        "config_hash": ["0123456789abcdef"] * num_rows,
        "video_fingerprint": [f"{one // _NUM_PER_VIDEO:016x}" for one in number],
        "run_id": ["generated"] * num_rows,
        "finished_at": [_START] * num_rows,
    }
    empty = results_table([], pa.table({"expected": pa.array([], pa.string())}))
    zeros = {"attempts", "num_runs", "schema_version", "num_groups_wasted"}
    arrays = []
    for field in empty.schema:
        if field.name == "expected":
            arrays.append(pa.array(["B"] * num_rows))
        elif field.name in columns:
            arrays.append(pa.array(columns[field.name], field.type))
        elif field.name in zeros or field.name.endswith("_s") or field.name.startswith("video_num"):
            arrays.append(pa.array([0] * num_rows).cast(field.type))
        else:
            arrays.append(pa.nulls(num_rows, field.type))
    assert columns.keys() <= set(ANSWERS_SCHEMA.names)
    return pa.table(arrays, schema=empty.schema)


def _median(repeats: int, work: object) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()  # type: ignore[operator]
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[len(seconds) // 2]


if __name__ == "__main__":
    sys.exit(main())
