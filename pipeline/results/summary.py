"""What one run did, as ``summary.json`` says it: counts, failures by class, seconds by stage."""

import json
from collections import Counter
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.results.rows import RunStamp
from pipeline.results.writer import write_bytes_atomic
from pipeline.uris import StorageOptions

STAGES = ("decode_s", "encode_s", "prefill_s", "score_s", "scorer_wait_s", "answer_s", "total_s")
_VIDEO_COUNTERS = (
    "video_num_frames_decoded",
    "video_num_decode_passes",
    "video_num_groups_encoded",
    "video_num_groups_prefilled",
)


def summarize(
    answers: pa.Table,
    *,
    stamp: RunStamp,
    started_at: datetime,
    finished_at: datetime,
    wall_s: float,
    exit_code: int,
    num_skipped: int = 0,
) -> dict[str, object]:
    """Sum up the rows that one run wrote.

    Args:
        answers: Those rows (not what earlier runs left).
        stamp: What identifies the run.
        started_at: With time zone.
        finished_at: With time zone.
        wall_s: Seconds by a monotonic clock.
        exit_code: What the process ends with: 0, 1, 2, 3, 130 or 143.
        num_skipped: Questions that an earlier run had finished.
    """
    status = Counter(answers.column("status").to_pylist())
    classes = Counter(name for name in answers.column("error_class").to_pylist() if name is not None)
    return {
        "run_id": stamp.run_id,
        "method": stamp.method,
        "model": stamp.model,
        "model_revision": stamp.model_revision,
        "config_hash": stamp.config_hash,
        "exit_code": exit_code,
        "started_at": started_at.isoformat(),
        "finished_at": finished_at.isoformat(),
        "wall_s": wall_s,
        "num_videos": len(set(answers.column("video").to_pylist())),
        "num_questions": answers.num_rows,
        "num_ok": status["ok"],
        "num_failed": status["failed"],
        "num_skipped": num_skipped,
        "failures_by_class": dict(sorted(classes.items())),
        "num_groups_planned": _total(answers, "num_groups"),
        "num_groups_scored": _total(answers, "num_groups_scored"),
        "num_groups_wasted": _total(answers, "num_groups_wasted"),
        **_video_totals(answers),
        "stage_seconds": {stage: float(_total(answers, stage)) for stage in STAGES},
    }


def write_json_atomic(uri: str, content: object, *, storage_options: StorageOptions = None) -> None:
    """Write JSON that readers see in whole or not at all.

    Raises:
        ValueError: The content holds NaN or infinity, which JSON has no word for.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes_atomic(uri, f"{text}\n".encode(), storage_options=storage_options)


def _total(answers: pa.Table, name: str) -> int | float:
    """Sum of a column; what is null counts as nothing."""
    total: int | float | None = pc.sum(answers.column(name)).as_py()
    return total or 0


def _video_totals(answers: pa.Table) -> dict[str, int]:
    """Sums over videos of the counters that every row of a video repeats."""
    videos = answers.group_by("video").aggregate([(name, "max") for name in _VIDEO_COUNTERS])
    return {name.removeprefix("video_"): int(_total(videos, f"{name}_max")) for name in _VIDEO_COUNTERS}
