"""Which runs the sceptic's tables need, and the manifests of ceiling and floor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

METHODS = (
    *("adapttoken", "adapttoken-lite", "no-entropy", "equal-quota", "top-frames", "uniform"),
    *("entropy-vote", "most-certain", "adapttoken-vote"),
)
SWEPT_METHODS = ("adapttoken", "no-entropy", "equal-quota")
BUDGETS = (4, 16, 64, 256, 512)
CEILING, FLOOR = "ceiling", "floor"
_WINDOW_S = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One run of the main job: its name, its manifest beside the benchmark's, and what differs from the preset."""

    name: str
    manifest: str
    method: str
    settings: tuple[tuple[str, object], ...] = ()


def plan_runs(*, budgets: Sequence[int] = BUDGETS) -> list[PlannedRun]:
    """All methods with the preset's budget, three of them with every budget, and what no selection can change."""
    runs = [PlannedRun(name=method, manifest="manifest.parquet", method=method) for method in METHODS]
    runs += [
        PlannedRun(
            name=f"{method}-{budget}",
            manifest="manifest.parquet",
            method=method,
            settings=(("budget.token_budget", budget),),
        )
        for budget in budgets
        for method in SWEPT_METHODS
    ]
    return [*runs, *(PlannedRun(name=name, manifest=f"{name}.parquet", method="all") for name in (CEILING, FLOOR))]


def write_bounds(manifest: Path) -> None:
    """Write ``ceiling.parquet`` (only what decides the answer is looked at) and ``floor.parquet`` (none of it is).

    A question that several moments decide has no ceiling this way: a part of a video is one piece.
    """
    rows = pq.read_table(manifest).to_pylist()
    ceilings = [_part(row, row["needle_start_s"][0], row["needle_end_s"][0]) for row in rows if _has_one(row)]
    floors = [_part(row, *_free_window(row)) for row in rows if row["expected"] is not None]
    for name, parts in ((CEILING, ceilings), (FLOOR, floors)):
        pq.write_table(pa.Table.from_pylist(parts), manifest.with_name(f"{name}.parquet"))


def _has_one(row: Mapping[str, Any]) -> bool:
    return row["expected"] is not None and len(row["needle_start_s"]) == 1


def _part(row: Mapping[str, Any], start_s: float, end_s: float) -> dict[str, Any]:
    return {**row, "start_s": start_s, "end_s": end_s}


def _free_window(row: Mapping[str, Any]) -> tuple[float, float]:
    """The first seconds that touch nothing of what decides the answer."""
    start = 0.0
    spans = list(zip(row["needle_start_s"], row["needle_end_s"], strict=True))
    for begins, ends in sorted(spans):
        if begins >= start + _WINDOW_S + 1:
            break
        start = max(start, ends + 1)
    return start, start + _WINDOW_S
