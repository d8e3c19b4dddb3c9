"""Which kills and stops a chaos run makes and when, and whether its rows are an undisturbed run's. No Ray, no clock."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.results.rows import VOLATILE_COLUMNS
from pipeline.results.tables import pipe_rows

STOPPABLE = ("decoder", "scorer", "answerer", "coordinator")
STOPS = {f"stopped {kind}": kind for kind in STOPPABLE}  # kind of fault -> whose process stays there and does nothing
KINDS = (*STOPPABLE, "node", "driver", *STOPS)
_PAUSE_S = (1.0, 6.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """One kill or stop, so many seconds after the one before it, or after work began."""

    kind: str
    pause_s: float


def plan_kills(seed: int, *, missing: Mapping[str, int]) -> Iterator[Kill]:
    """One kill of each kind that is still missing, in random order at random distances, then round again.

    Args:
        seed: of this run.
        missing: kind -> kills still to be made.
    """
    rng, left = random.Random(seed), {kind: missing.get(kind, 0) for kind in KINDS}
    while any(count > 0 for count in left.values()):
        turn = [kind for kind in KINDS if left[kind] > 0]
        rng.shuffle(turn)
        for kind in turn:
            left[kind] -= 1
            yield Kill(kind=kind, pause_s=rng.uniform(*_PAUSE_S))


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """One chaos run: what was killed, and how its rows compare with the undisturbed run's.

    Attributes:
        num_drivers: times the command was started.
        lost: questions without a row.
        doubled: rows beyond one per question, in all files together.
        different: questions whose row is not the same in every column that load may not change.
    """

    seed: int
    kills: dict[str, int] = field(default_factory=dict)
    num_drivers: int = 1
    exit_code: int = 0
    wall_s: float = 0.0
    num_rows: int = 0
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    different: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled or changed."""
        return self.exit_code == 0 and not (self.lost or self.doubled or self.different)


def compare_rows(rows: Sequence[Mapping[str, Any]], undisturbed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of a ``RunReport`` that follow from the rows of all files of a run, duplicates included."""
    expected = {row["question_id"]: _stable(row) for row in undisturbed}
    counts = Counter(row["question_id"] for row in rows)
    different = {row["question_id"] for row in rows if _stable(row) != expected.get(row["question_id"])}
    return {
        "num_rows": len(rows),
        "lost": tuple(sorted(expected.keys() - counts.keys())),
        "doubled": tuple(sorted(question for question, count in counts.items() if count > 1)),
        "different": tuple(sorted(different)),
    }


def _stable(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in VOLATILE_COLUMNS}


def count_kills(reports: Sequence[RunReport]) -> Counter[str]:
    """By kind, over all runs."""
    return Counter({kind: sum(report.kills.get(kind, 0) for report in reports) for kind in KINDS})


def format_runs(reports: Sequence[RunReport], *, num_questions: int) -> str:
    """A table, one line per run and one for all."""
    header = ("run", *KINDS, "drivers", "wall s", "rows", "lost", "doubled", "different")
    rows: list[list[object]] = [[number, *_cells(report)] for number, report in enumerate(reports)]
    totals = count_kills(reports)
    lost, doubled, different = (
        sum(len(getattr(report, name)) for report in reports) for name in ("lost", "doubled", "different")
    )
    wall_s, num_rows = sum(report.wall_s for report in reports), sum(report.num_rows for report in reports)
    drivers = sum(report.num_drivers for report in reports)
    kinds = (totals[kind] for kind in KINDS)
    rows.append(["all", *kinds, drivers, f"{wall_s:.0f}", num_rows, lost, doubled, different])
    num_stops = sum(totals[kind] for kind in STOPS)
    kills = f"{totals.total() - num_stops} kills and {num_stops} stops"
    told = f"{kills} in {len(reports)} runs of {num_questions} questions"
    return "\n".join([told, "", *pipe_rows(rows, header=header), ""])


def _cells(report: RunReport) -> list[object]:
    counts = [report.kills.get(kind, 0) for kind in KINDS]
    ends = [len(report.lost), len(report.doubled), len(report.different)]
    return [*counts, report.num_drivers, f"{report.wall_s:.0f}", report.num_rows, *ends]


def to_record(report: RunReport) -> dict[str, Any]:
    """For JSON."""
    return asdict(report) | {"is_clean": report.is_clean}


def from_record(record: Mapping[str, Any]) -> RunReport:
    """Back from JSON, which knows no tuples."""
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record.items() if name != "is_clean"
    }
    return RunReport(**known)
