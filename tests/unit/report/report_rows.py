"""Rows with everything that the report draws, about a small real video."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from pipeline.results.atomic_files import write_bytes_atomic
from pipeline.results.keys import video_fingerprint
from pipeline.results.rows import EvidenceRow, KeptTokens, RunStamp
from pipeline.results.schema import results_table
from pipeline.results.summary import summarize, write_json_atomic
from pipeline.results.writer import commit_answers
from tests.unit.results.answer_rows import row
from tests.unit.results.query_output_rows import group
from tests.unit.video.odd_videos import FPS, write_video

START = datetime(2026, 1, 31, tzinfo=UTC)
HOSTILE = '</script><script>alert("x")</script><!-- <img src=x onerror=alert(1)> {style}\u2028'
TOKENS = KeptTokens(
    start_s=(1.0, 1.0, 2.0, 4.0),
    group_index=(2, 2, 0, 2),
    token_row=(0, 1, 1, 0),
    token_column=(1, 1, 0, 2),
    weight=(0.25, 0.125, 0.5, 0.125),
)
EVIDENCE = (
    EvidenceRow(start_s=1.0, end_s=3.0, weight=0.875, num_tokens=3),
    EvidenceRow(start_s=4.0, end_s=5.0, weight=0.125, num_tokens=1),
)


def brightness_of(index):
    return 40 + 8 * (index % 24)


def paint_brightness(index, *, width, height):
    """Pictures tell their time; neighbours differ by more than encoding changes."""
    return np.full((height, width, 3), brightness_of(index), np.uint8)


def make_video(path):
    """Six seconds, 96 by 64."""
    return write_video(path, num_frames=6 * FPS, paint=paint_brightness)


def make_row(key, path, **columns):
    values = {
        "video": str(path),
        "video_fingerprint": video_fingerprint(str(path)),
        "options": ("red", "blue", "green"),
        "answer": "B",
        "answer_text": "B",
        "option_probabilities": (0.125, 0.75, 0.125),
        "answer_entropy": 0.5,
        "evidence": EVIDENCE,
        "kept_tokens": TOKENS,
        "groups": (group(0, 1.25, "A", 1), group(2, 0.125, "B", 3)),
        "num_groups": 4,
        "num_groups_scored": 2,
        "num_tokens_offered": 128,
        "num_tokens_kept": 4,
        "num_token_rows": 2,
        "num_token_columns": 3,
        "stop_reason": "confident",
        "duration_s": 6.0,
        "method": "adapttoken-lite",
        **{"decode_s": 1.0, "encode_s": 2.0, "answer_s": 0.5, "total_s": 3.5},
    }
    return row(key, **(values | columns))


def write_run(output, rows, *, run_id="run-1", expected=None):
    """Commit rows by video, and the files of their run."""
    columns = pa.table({"expected": expected} if expected else {})
    table = results_table(rows, columns)
    for video in dict.fromkeys(one.video for one in rows):
        chosen = [index for index, one in enumerate(rows) if one.video == video]
        commit_answers(str(output), table.take(chosen), [rows[index].question_key for index in chosen])
    stamp = RunStamp(run_id=run_id, method="adapttoken-lite", model="demo", model_revision=None, config_hash="c")
    summary = summarize(table, stamp=stamp, started_at=START, finished_at=START, wall_s=2.0, exit_code=0)
    write_json_atomic(f"{output}/runs/{run_id}/summary.json", summary)
    write_bytes_atomic(f"{output}/runs/{run_id}/config.yaml", b"stopping:\n  stop_entropy: 0.2\n")
