"""What the head of the page says: counts, cost, failures and seconds of its questions, by method and by run."""

import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from pipeline.report.cards import Json
from pipeline.results.summary import DEVICE_STAGES, RunTotals, is_summary
from pipeline.uris import StorageOptions, strip_secrets

_LOG = logging.getLogger("adapttoken.report")
_RUN_FIELDS = (
    *("run_id", "method", "model", "config_hash", "started_at", "wall_s", "exit_code"),
    *("num_ok", "num_failed", "num_skipped"),
)
_SETTING = ("method", "model", "config_hash")


def describe_totals(answers: pa.Table, entries: Sequence[Json], *, usd_per_gpu_hour: float | None) -> Json:
    """Sums over the page's questions.

    Args:
        answers: its rows.
        entries: from ``cards.list_entry``, one per row: they know what is right.
        usd_per_gpu_hour: None leaves the cost in dollars out.
    """
    by_setting: dict[tuple[str, ...], list[int]] = {}
    settings = zip(*(answers.column(name).to_pylist() for name in _SETTING), strict=True)
    for row, setting in enumerate(settings):
        by_setting.setdefault(setting, []).append(row)
    methods = [
        dict(zip(_SETTING, setting, strict=True))
        | _describe(answers.take(pa.array(rows)), [entries[row] for row in rows], usd_per_gpu_hour)
        for setting, rows in sorted(by_setting.items())
    ]
    return _describe(answers, entries, usd_per_gpu_hour) | {"methods": methods, "usd_per_gpu_hour": usd_per_gpu_hour}


def read_run_files(output_uri: str, run_ids: Iterable[str], *, storage_options: StorageOptions = None) -> list[Json]:
    """What each run's ``summary.json`` and ``config.yaml`` say, as far as they are there and the page needs it."""
    filesystem, root = fsspec.core.url_to_fs(output_uri, **(storage_options or {}))
    runs: list[Json] = []
    for run_id in sorted(set(run_ids)):
        folder = f"{root.rstrip('/')}/runs/{run_id}"
        known = _read(filesystem, f"{folder}/summary.json")
        stopping = _read(filesystem, f"{folder}/config.yaml").get("stopping")
        stop_entropy = stopping.get("stop_entropy") if isinstance(stopping, dict) else None
        runs.append({name: known.get(name) for name in _RUN_FIELDS} | {"run_id": run_id, "stop_entropy": stop_entropy})
    return sorted(runs, key=lambda run: str(run["started_at"]))


def list_run_ids(output_uri: str, *, storage_options: StorageOptions = None) -> set[str]:
    """Runs that have left a folder."""
    filesystem, root = fsspec.core.url_to_fs(output_uri, **(storage_options or {}))
    filesystem.invalidate_cache()
    try:
        found = filesystem.ls(f"{root.rstrip('/')}/runs", detail=False)
    except FileNotFoundError:
        return set()
    return {path.rstrip("/").rpartition("/")[2] for path in found}


def _describe(answers: pa.Table, entries: Sequence[Json], usd_per_gpu_hour: float | None) -> Json:
    totals: dict[str, Any] = RunTotals([answers]).describe(wall_s=0.0)
    gpu_s = sum(pc.sum(answers.column(stage)).as_py() or 0.0 for stage in DEVICE_STAGES)
    judged = [entry["is_right"] for entry in entries if entry["is_right"] is not None]
    return {
        **{name: totals[name] for name in ("num_videos", "num_questions", "num_ok", "num_failed")},
        **{name: totals[name] for name in ("failures_by_class", "stage_seconds", "gpu_seconds_per_question")},
        **{name: totals[name] for name in ("num_groups_planned", "num_groups_scored", "num_groups_wasted")},
        "num_stopped_early": sum(entry["stop_reason"] == "confident" for entry in entries),
        "num_judged": len(judged),
        "num_right": sum(judged),
        "gpu_s": gpu_s,
        "usd": None if usd_per_gpu_hour is None else gpu_s / 3600 * usd_per_gpu_hour,
    }


def _read(filesystem: fsspec.AbstractFileSystem, path: str) -> dict[str, Any]:
    """What a file of a run says; nothing where it is not there or cannot be understood, which is said."""
    try:
        content = filesystem.cat_file(path)
    except FileNotFoundError:
        return {}
    try:
        found: Any = json.loads(content) if path.endswith(".json") else yaml.safe_load(content)
    except (ValueError, RecursionError, yaml.YAMLError):
        found = None
    if not isinstance(found, dict) or (path.endswith(".json") and not is_summary(found)):
        _LOG.warning("%s is not readable: what it says of its run is left out", strip_secrets(path))
        return {}
    return found
