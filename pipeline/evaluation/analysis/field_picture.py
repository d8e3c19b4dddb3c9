"""Many methods in one picture: a row each with its number, and the same number beside the curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.evaluation.analysis.pictures import COLORS, MARKERS, finish_axis, interval_arms, new_figure, save_figure
from pipeline.evaluation.statistics import Estimate

_INCHES_PER_ROW = 0.3
_OFFSETS = (0.25, -0.25)  # of the first and the last budget's points from the middle of their row


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldPoint:
    """One method at one budget; ``accuracy`` is a share, ``alone_s`` in seconds."""

    name: str
    budget: int
    accuracy: Estimate
    alone_s: float


def draw_field(points: Sequence[FieldPoint], path: Path, *, chance: float | None) -> None:
    """Every method's row with its intervals, then accuracy by budget, and by seconds.

    Args:
        points: measured ones.
        path: of the PNG.
        chance: share that blind guessing gets right; None: no line.
    """
    names, budgets = _by_accuracy(points), sorted({point.budget for point in points})
    height = max(6.0, 1.6 + _INCHES_PER_ROW * len(names))
    figure, axes = new_figure(1, 3, width=18.0, height=height)
    by_method, by_budget, by_seconds = axes[0]
    _draw_rows(by_method, points, names, budgets)
    _draw_curves(by_budget, points, names, budgets)
    _draw_seconds(by_seconds, points, names, budgets)
    if chance is not None:
        by_method.axvline(100 * chance, color="0.4", linestyle=":", label="blind guessing")
        for axis in (by_budget, by_seconds):
            axis.axhline(100 * chance, color="0.4", linestyle=":")
    by_method.legend(loc="upper left", bbox_to_anchor=(0.0, -0.06), ncols=len(budgets) + 1, fontsize=8, frameon=False)
    save_figure(figure, path)


def _by_accuracy(points: Sequence[FieldPoint]) -> list[str]:
    """Names, best mean over the budgets first."""
    values: dict[str, list[float]] = {}
    for point in points:
        values.setdefault(point.name, []).append(point.accuracy.value)
    return sorted(values, key=lambda name: -sum(values[name]) / len(values[name]))


def _draw_rows(axis: Any, points: Sequence[FieldPoint], names: Sequence[str], budgets: Sequence[int]) -> None:
    step = (_OFFSETS[0] - _OFFSETS[1]) / max(1, len(budgets) - 1)
    for index, budget in enumerate(budgets):
        own = [point for point in points if point.budget == budget]
        axis.errorbar(
            [100 * point.accuracy.value for point in own],
            [names.index(point.name) + _OFFSETS[1] + step * index for point in own],
            xerr=interval_arms([point.accuracy for point in own], are_shares=True),
            label=f"{budget:,} tokens",
            color=COLORS[index % len(COLORS)],
            marker=MARKERS[index % len(MARKERS)],
            linestyle="none",
            markersize=4,
            linewidth=1.0,
        )
    axis.set_yticks(range(len(names)), [f"{name}  {number}" for number, name in enumerate(names, start=1)], fontsize=8)
    axis.set_ylim(len(names) - 0.5, -0.5)
    finish_axis(axis, title="by method, best mean first; bars: 95 %", across="accuracy, %", up="")


def _draw_curves(axis: Any, points: Sequence[FieldPoint], names: Sequence[str], budgets: Sequence[int]) -> None:
    """One line per method; numbers stand beyond the last budget, moved apart where they would lie on each other."""
    ends = dict[str, float]()
    for index, name in enumerate(names):
        own = sorted((point for point in points if point.name == name), key=lambda point: point.budget)
        percents = [100 * point.accuracy.value for point in own]
        axis.plot([p.budget for p in own], percents, color=COLORS[index % len(COLORS)], linewidth=1.0, marker=".")
        ends[name] = percents[-1]
    axis.set_xscale("log", base=2)
    axis.set_xticks(budgets, [f"{budget:,}" for budget in budgets])
    axis.minorticks_off()
    low, high = axis.get_ylim()
    reach = (budgets[-1] / budgets[0]) if len(budgets) > 1 else 2.0
    for index, (name, place) in enumerate(_apart(ends, least=(high - low) / 60, low=low, high=high)):
        number, x = names.index(name), budgets[-1] * reach ** (0.04 + 0.05 * (index % 2))
        color = COLORS[number % len(COLORS)]
        axis.annotate(
            str(number + 1),
            (budgets[-1], ends[name]),
            (x, place),
            fontsize=7,
            color=color,
            va="center",
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.4},
        )
    axis.set_xlim(right=budgets[-1] * reach**0.14)
    finish_axis(axis, title="by budget; numbers as on the left", across="tokens in the final pass", up="accuracy, %")


def _apart(places: dict[str, float], *, least: float, low: float, high: float) -> list[tuple[str, float]]:
    """Names by place, each at least so far above the one before; the whole stays within the axis where it fits."""
    moved, last = list[tuple[str, float]](), low - least
    for rank, (name, place) in enumerate(sorted(places.items(), key=lambda item: item[1])):
        latest = high - least * (len(places) - 1 - rank)
        last = max(last + least, min(place, latest))
        moved.append((name, last))
    return moved


def _draw_seconds(axis: Any, points: Sequence[FieldPoint], names: Sequence[str], budgets: Sequence[int]) -> None:
    """A number per point, in the colour of its budget."""
    for point in points:
        axis.text(
            max(point.alone_s, 1e-3),
            100 * point.accuracy.value,
            str(names.index(point.name) + 1),
            color=COLORS[budgets.index(point.budget) % len(COLORS)],
            fontsize=7,
            ha="center",
            va="center",
        )
    axis.scatter([max(point.alone_s, 1e-3) for point in points], [100 * p.accuracy.value for p in points], alpha=0.0)
    axis.set_xscale("log", subs=(2, 5))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("{x:g}")
    finish_axis(axis, title="by cost; colours as on the left", across="seconds alone, all videos", up="accuracy, %")
