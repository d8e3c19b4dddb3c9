"""What one run did, as ``summary.json`` says it: counts, failures by class, seconds by stage, cost per question."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.results.atomic_files import write_bytes_atomic
from pipeline.results.rows import RunStamp
from pipeline.uris import StorageOptions

STAGES = ("decode_s", "encode_s", "prefill_s", "score_s", "scorer_wait_s", "answer_s", "total_s")
DEVICE_STAGES = ("encode_s", "prefill_s", "score_s", "answer_s")
_SQL_NUMBERS = frozenset({"BIGINT", "UBIGINT", "HUGEINT", "DOUBLE", "INTEGER"})
STATUSES = ("ok", "failed")
_GROUP_COUNTERS = ("num_groups", "num_groups_scored", "num_groups_wasted")
_VIDEO_COUNTERS = (
    "video_num_frames_decoded",
    "video_num_decode_passes",
    "video_num_groups_encoded",
    "video_num_groups_prefilled",
)


_TEXTS = ("run_id", "method", "model", "config_hash", "started_at", "finished_at")
_NUMBERS = ("wall_s", "exit_code", "num_videos", "num_questions", "num_ok", "num_failed", "num_skipped")


def is_summary(found: object) -> bool:
    """Whether a run can have written it: an object with the run's name, and texts and numbers in their places."""
    if not isinstance(found, dict) or not isinstance(found.get("run_id"), str):
        return False
    texts, numbers = [found.get(name) for name in _TEXTS], [found.get(name) for name in _NUMBERS]
    return all(text is None or isinstance(text, str) for text in texts) and all(
        number is None or (isinstance(number, int | float) and not isinstance(number, bool)) for number in numbers
    )


def has_summary_types(types: Mapping[str, str]) -> bool:
    """Whether DuckDB has taken all of these columns for texts, times and numbers, which one odd file would spoil."""
    is_text = all(types.get(name, "VARCHAR").startswith(("VARCHAR", "TIMESTAMP", "DATE")) for name in _TEXTS)
    return is_text and all(types.get(name, "BIGINT") in _SQL_NUMBERS for name in _NUMBERS)


class RunTotals:
    """Sums over the rows that a run wrote, commit by commit: a million rows need not stay in memory."""

    def __init__(self, tables: Iterable[pa.Table] = ()) -> None:
        self.num_by_status: Counter[str] = Counter()
        self.num_by_class: Counter[str] = Counter()
        self._sums: dict[str, float] = dict.fromkeys((*_GROUP_COUNTERS, *STAGES), 0)
        self._videos: dict[str, tuple[bool, tuple[int, ...]]] = {}
        for table in tables:
            self.add(table)

    @property
    def num_questions(self) -> int:
        """Rows so far."""
        return self.num_by_status.total()

    def add(self, answers: pa.Table) -> None:
        """Count the rows of one commit, or of several."""
        self.num_by_status.update(answers.column("status").to_pylist())
        self.num_by_class.update(name for name in answers.column("error_class").to_pylist() if name is not None)
        for name in self._sums:
            self._sums[name] += _total(answers, name)
        has_failed = pc.equal(answers.column("status"), "failed")
        counted = answers.select(["video", *_VIDEO_COUNTERS]).append_column("has_failed", has_failed)
        names = ("has_failed", *_VIDEO_COUNTERS)
        videos = counted.group_by("video").aggregate([(name, "max") for name in names])
        for video, failed, *counters in zip(
            *(videos.column(name).to_pylist() for name in ("video", *(f"{name}_max" for name in names))), strict=True
        ):
            had_failed, before = self._videos.get(video, (False, (0,) * len(counters)))
            most = tuple(max(pair) for pair in zip(before, counters, strict=True))
            self._videos[video] = (had_failed or failed, most)

    def describe(self, *, wall_s: float) -> dict[str, object]:
        """The counts and sums, by their names in ``summary.json``."""
        groups = {name: int(self._sums[name]) for name in _GROUP_COUNTERS}
        num_computed = groups["num_groups_scored"] + groups["num_groups_wasted"]
        num_videos_failed = sum(has_failed for has_failed, _ in self._videos.values())
        sums = [sum(column) for column in zip(*(counters for _, counters in self._videos.values()), strict=True)]
        device_s = sum(self._sums[stage] for stage in DEVICE_STAGES)
        num_ok = self.num_by_status["ok"]
        return {
            "num_videos": len(self._videos),
            "num_videos_by_status": {"ok": len(self._videos) - num_videos_failed, "failed": num_videos_failed},
            "num_questions": self.num_questions,
            "num_questions_by_status": {status: self.num_by_status[status] for status in STATUSES},
            "num_ok": num_ok,
            "num_failed": self.num_by_status["failed"],
            "questions_per_second": self.num_questions / wall_s if wall_s > 0 else None,
            "failures_by_class": dict(sorted(self.num_by_class.items())),
            "num_groups_planned": groups["num_groups"],
            "num_groups_scored": groups["num_groups_scored"],
            "num_groups_wasted": groups["num_groups_wasted"],
            "groups_wasted_share": groups["num_groups_wasted"] / num_computed if num_computed else None,
            **{
                name.removeprefix("video_"): total
                for name, total in zip(_VIDEO_COUNTERS, sums or [0] * len(_VIDEO_COUNTERS), strict=True)
            },
            "gpu_seconds_per_question": device_s / num_ok if num_ok else None,
            "stage_seconds": {stage: float(self._sums[stage]) for stage in STAGES},
        }


def summarize(
    answers: pa.Table | RunTotals,
    *,
    stamp: RunStamp,
    started_at: datetime,
    finished_at: datetime,
    wall_s: float,
    exit_code: int,
    num_skipped: int = 0,
) -> dict[str, object]:
    """Sum up the rows that one run wrote.

    ``gpu_seconds_per_question`` is what encoding, prefilling, scoring and answering took for all rows, failed ones too,
    per question with an answer; a video counts as failed when any of its questions did.

    Args:
        answers: Those rows (not what earlier runs left), or their totals.
        stamp: What identifies the run.
        started_at: With time zone.
        finished_at: With time zone.
        wall_s: Seconds by a monotonic clock.
        exit_code: What the process ends with: 0, 1, 2, 3, 130 or 143.
        num_skipped: Questions that an earlier run had finished.
    """
    totals = answers if isinstance(answers, RunTotals) else RunTotals([answers])
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
        "num_skipped": num_skipped,
        **totals.describe(wall_s=wall_s),
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
