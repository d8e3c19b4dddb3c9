"""The sceptic's tables and pictures, from finished runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.evaluation.analysis.output import Analysis, Json
from pipeline.evaluation.analysis.pictures import COLORS, MARKERS, finish_axis, new_figure, save_figure
from pipeline.evaluation.intervals import Interval
from pipeline.lab.sceptic.figures import (
    CERTAIN_NATS,
    Row,
    absent_auroc,
    accuracy_by_kind,
    calibration_of,
    difference_by_kind,
    false_certainty,
    majority_by_kind,
)
from pipeline.lab.sceptic.runs import CEILING, FLOOR, METHODS, SWEPT_METHODS
from pipeline.results.tables import Table

Runs = Mapping[str, Sequence[Row]]
_REFERENCE = "adapttoken"
_LOOKS = (("with bars", "has_bars"), ("held-out styles", "is_held_out"), ("turned", "is_turned"))
_INTERVAL = "95 %, clustered by video, Student's t"


def analyze_methods(runs: Runs) -> Analysis:
    """Accuracy by kind, between floor and ceiling, and what each other method lacks."""
    kinds = list(accuracy_by_kind(runs[_REFERENCE]))
    found = {name: accuracy_by_kind(runs[name]) for name in (FLOOR, *METHODS, CEILING) if runs.get(name)}
    gains = {
        name: difference_by_kind(runs[_REFERENCE], rows) for name, rows in runs.items() if name in METHODS[1:] and rows
    }
    chance = majority_by_kind(runs[_REFERENCE])
    rows = [("the likeliest answer", *(f"{100 * chance[k]:.0f}" if k in chance else "–" for k in kinds))]
    rows += [(name, *(_percent(of_kind.get(kind)) for kind in kinds)) for name, of_kind in found.items()]
    gain_rows = [(name, *(_percent(of.get(kind), signed=True) for kind in kinds)) for name, of in gains.items()]
    return Analysis(
        name="methods",
        figures={
            "chance": dict(chance),
            "accuracy": {name: _figures(of_kind) for name, of_kind in found.items()},
            "gain_over": {name: _figures(of_kind) for name, of_kind in gains.items()},
        },
        tables=(
            Table(
                title="Accuracy, %",
                header=("method", *kinds),
                rows=tuple(rows),
                notes=(
                    f"intervals: Wilson, {_INTERVAL}",
                    "floor: seconds without what decides; ceiling: only what decides, where it is one piece",
                ),
            ),
            Table(title=f"{_REFERENCE} minus it, points", header=("method", *kinds), rows=tuple(gain_rows)),
        ),
        draw=lambda path: _draw_methods(found, kinds, path),
    )


def analyze_budgets(runs: Runs, budgets: Sequence[int]) -> Analysis:
    """Every budget: certainty's shares against equal certainty and equal quotas."""
    names = [f"{method}-{budget}" for method in SWEPT_METHODS for budget in budgets]
    found = {name: accuracy_by_kind(runs[name]) for name in names if runs.get(name)}
    kinds = list(next(iter(found.values()))) if found else []
    rows = [(name, *(_percent(of_kind.get(kind)) for kind in kinds)) for name, of_kind in found.items()]
    gains = [
        (
            f"{_REFERENCE}-{budget} minus {other}-{budget}",
            *(
                _percent(gain.get(kind), signed=True)
                for gain in [difference_by_kind(runs[f"{_REFERENCE}-{budget}"], runs[f"{other}-{budget}"])]
                for kind in kinds
            ),
        )
        for other in SWEPT_METHODS[1:]
        for budget in budgets
        if runs.get(f"{_REFERENCE}-{budget}") and runs.get(f"{other}-{budget}")
    ]
    return Analysis(
        name="budgets",
        figures={name: _figures(of_kind) for name, of_kind in found.items()},
        tables=(
            Table(title="Accuracy by budget, %", header=("run", *kinds), rows=tuple(rows)),
            Table(title="What certainty's shares buy, points", header=("runs", *kinds), rows=tuple(gains)),
        ),
        draw=lambda path: _draw_budgets(found, kinds, budgets, path),
    )


def analyze_certainty(runs: Runs) -> Analysis:
    """Whether answers are as sure as they are right, whether what is not there is known, and certain groups wrong."""
    names = [name for name in METHODS if runs.get(name)]
    rows, figures = [], {}
    for name in names:
        calibration, certainty, auroc = (
            calibration_of(runs[name]),
            false_certainty(runs[name]),
            absent_auroc(runs[name]),
        )
        figures[name] = {"ece": calibration.expected_error if calibration else None, "absent_auroc": dict(auroc)}
        worst = min((value for value in auroc.values() if value is not None), default=None)
        rows.append(
            (
                name,
                f"{calibration.expected_error:.3f}" if calibration else "–",
                "–" if worst is None else f"{worst:.3f}",
                *(
                    f"{100 * share:.2f}"
                    for share in (
                        (
                            certainty.wrong_share,
                            certainty.unanswerable_share,
                            certainty.wrong_questions,
                            certainty.agreeing_questions,
                        )
                        if certainty
                        else ()
                    )
                ),
                *(("–",) * 4 if certainty is None else ()),
            )
        )
    return Analysis(
        name="certainty",
        figures=figures,  # type: ignore[arg-type]
        tables=(
            Table(
                title=f"Certainty (certain: at most {CERTAIN_NATS} nats)",
                header=(
                    *("method", "ECE of answers", "absent AUROC, worst kind", "certain groups wrong, %"),
                    *("certain without an answer, %", "questions with one, %", "with two that agree, %"),
                ),
                rows=tuple(rows),
            ),
        ),
        draw=lambda path: _draw_reliability(runs, names, path),
    )


def analyze_looks(runs: Runs) -> Analysis:
    """Accuracy where pictures have bars, held-out styles or are turned, and where not; empty for other benchmarks."""
    rows, figures = [], {}
    for label, column in _LOOKS:
        for name in METHODS:
            of_method = [row for row in runs.get(name, ()) if row.get(column) is not None]
            for is_it in (True, False):
                part = [row for row in of_method if bool(row[column]) is is_it and row["expected"] is not None]
                if part:
                    found = accuracy_by_kind(part)["all"]
                    rows.append((name, label if is_it else f"not {label}", str(len(part)), _percent(found)))
                    figures[f"{name}, {rows[-1][1]}"] = found.value
    table = Table(title="Accuracy by look, %", header=("method", "videos", "questions", "accuracy"), rows=tuple(rows))
    return Analysis(name="looks", figures=dict(figures), tables=(table,), draw=lambda path: None)


def _percent(found: Interval | None, *, signed: bool = False) -> str:
    return "–" if found is None else found.percent(signed=signed)


def _figures(of_kind: Mapping[str, Interval]) -> dict[str, Json]:
    return {kind: [found.value, found.low, found.high] for kind, found in of_kind.items()}


def _draw_methods(found: Mapping[str, Mapping[str, Interval]], kinds: Sequence[str], path: Path) -> None:
    figure, axes = new_figure(width=9.0)
    axis = axes[0, 0]
    for index, (name, of_kind) in enumerate(found.items()):
        places = [place + (index - len(found) / 2) * 0.07 for place, kind in enumerate(kinds) if kind in of_kind]
        _draw_intervals(axis, places, [of_kind[kind] for kind in kinds if kind in of_kind], label=name, index=index)
    axis.set_xticks(range(len(kinds)), kinds)
    finish_axis(axis, title="Accuracy by kind of question", across="", up="%")
    axis.legend(fontsize=7)
    save_figure(figure, path)


def _draw_budgets(
    found: Mapping[str, Mapping[str, Interval]], kinds: Sequence[str], budgets: Sequence[int], path: Path
) -> None:
    columns = 3
    count = -(-max(1, len(kinds)) // columns)
    figure, axes = new_figure(count, columns, width=10.0, height=3.0 * count)
    for number, kind in enumerate(kinds):
        axis = axes[number // columns, number % columns]
        for index, method in enumerate(SWEPT_METHODS):
            known = [b for b in budgets if kind in found.get(f"{method}-{b}", {})]
            _draw_intervals(axis, known, [found[f"{method}-{b}"][kind] for b in known], label=method, index=index)
        axis.set_xscale("log", base=2)
        finish_axis(axis, title=kind, across="tokens in the final pass", up="%")
    axes[0, 0].legend(fontsize=7)
    save_figure(figure, path)


def _draw_reliability(runs: Runs, names: Sequence[str], path: Path) -> None:
    figure, axes = new_figure()
    axis = axes[0, 0]
    axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for index, name in enumerate(names):
        calibration = calibration_of(runs[name])
        if calibration is not None:
            across, up = [b.confidence for b in calibration.bins], [b.accuracy for b in calibration.bins]
            axis.plot(across, up, marker=MARKERS[index % len(MARKERS)], color=COLORS[index % len(COLORS)], label=name)
    finish_axis(axis, title="How sure answers are, and how often right", across="probability of the answer", up="right")
    axis.legend(fontsize=7)
    save_figure(figure, path)


def _draw_intervals(axis: Any, places: Sequence[float], found: Sequence[Interval], *, label: str, index: int) -> None:
    below = [100 * (one.value - (one.value if one.low is None else one.low)) for one in found]
    above = [100 * ((one.value if one.high is None else one.high) - one.value) for one in found]
    axis.errorbar(
        places,
        [100 * one.value for one in found],
        yerr=[[max(0.0, arm) for arm in below], [max(0.0, arm) for arm in above]],
        label=label,
        color=COLORS[index % len(COLORS)],
        marker=MARKERS[index % len(MARKERS)],
        markersize=4,
        linewidth=1.2,
        capsize=2,
    )
