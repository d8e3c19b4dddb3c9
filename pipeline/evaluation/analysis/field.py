"""Methods side by side: accuracy, paired differences to the first, against budget and against seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.evaluation.analysis.field_picture import FieldPoint, draw_field
from pipeline.evaluation.analysis.output import Analysis, Json
from pipeline.evaluation.scoring.accuracy import accuracy_by_category
from pipeline.evaluation.scoring.evaluation import Evaluation
from pipeline.evaluation.scoring.paired import Comparison, compare_runs
from pipeline.evaluation.statistics import Estimate
from pipeline.results.tables import Table


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FieldEntry:
    """One method at one budget.

    Attributes:
        evaluation: None where every question was refused; ``reason`` says why.
        alone_s: seconds for all videos, as if it had run by itself.
        label: of the method in the papers.
    """

    method: str
    budget: int
    setting: str
    evaluation: Evaluation | None
    alone_s: float
    label: str = ""
    reason: str = ""


def analyse_field(
    entries: Sequence[FieldEntry], *, settings: str, together_s: float, chance: float | None = None
) -> Analysis:
    """Everything about one comparison.

    Args:
        entries: of all methods and budgets; at each budget the first method is what the others are compared with.
        settings: what all have in common, for every table.
        together_s: seconds that all took, decoding and encoding once.
        chance: what blind guessing gets right, a share; None where it is not known.
    """
    budgets = list(dict.fromkeys(entry.budget for entry in entries))
    tables = tuple(_table(budget, [e for e in entries if e.budget == budget], settings, chance) for budget in budgets)
    dearest = max((entry.alone_s for entry in entries), default=0.0)
    cost = Table(
        title="cost",
        header=("", "seconds"),
        rows=(
            ("all together", f"{together_s:.1f}"),
            ("the dearest alone", f"{dearest:.1f}"),
            ("all, each alone", f"{sum(entry.alone_s for entry in entries):.1f}"),
        ),
        notes=(settings, "alone: decoding by share of the frames, encoding and scoring as measured once"),
    )
    return Analysis(
        name="comparison",
        figures={
            "settings": settings,
            "together_s": together_s,
            "dearest_alone_s": dearest,
            "chance": chance,
            "entries": [_figures(entry, entries) for entry in entries],
        },
        tables=(*tables, *_rules(entries), cost),
        draw=partial(draw_field, _points(entries), chance=chance),
    )


def _rules(entries: Sequence[FieldEntry]) -> tuple[Table, ...]:
    """What each name stands for, once for all budgets; a label that several share stands beside the first."""
    names = dict[str, list[str]]()
    for entry in entries:
        if entry.label and entry.method not in names.setdefault(entry.label, []):
            names[entry.label].append(entry.method)
    rows = tuple((", ".join(methods), label) for label, methods in names.items())
    return (Table(title="methods", header=("method", "rule"), rows=rows),) if rows else ()


def _points(entries: Sequence[FieldEntry]) -> list[FieldPoint]:
    return [
        FieldPoint(
            name=entry.method if entry.setting == "all frames" else f"{entry.method}, {entry.setting}",
            budget=entry.budget,
            accuracy=Estimate(value=overall.accuracy, error=overall.standard_error),
            alone_s=entry.alone_s,
        )
        for entry in entries
        if entry.evaluation and (overall := entry.evaluation.overall)
    ]


def _baseline(entry: FieldEntry, entries: Sequence[FieldEntry]) -> FieldEntry:
    return next(other for other in entries if other.budget == entry.budget)


def _difference(entry: FieldEntry, entries: Sequence[FieldEntry]) -> Comparison | None:
    """To the first method at this budget."""
    first = _baseline(entry, entries)
    if first is entry or first.evaluation is None or entry.evaluation is None:
        return None
    names = (first.method, entry.method)
    return compare_runs(first.evaluation.judged, entry.evaluation.judged, names=names)


def _figures(entry: FieldEntry, entries: Sequence[FieldEntry]) -> dict[str, Json]:
    overall = entry.evaluation.overall if entry.evaluation else None
    found = _difference(entry, entries)
    return {
        "method": entry.method,
        "label": entry.label,
        "setting": entry.setting,
        "budget": entry.budget,
        "questions": overall.num_questions if overall else 0,
        "accuracy": overall.accuracy if overall else None,
        "standard_error": overall.standard_error if overall else None,
        "difference": found.difference if found else None,
        "low": found.low if found else None,
        "high": found.high if found else None,
        "p_value": found.p_value if found else None,
        "tokens_kept": entry.evaluation.work.tokens_kept if entry.evaluation else None,
        "alone_s": entry.alone_s,
        "refused": entry.reason or None,
        "by_kind": {kind: accuracy for kind, accuracy in _by_kind(entry).items()},
    }


def _by_kind(entry: FieldEntry) -> Mapping[str, float]:
    if entry.evaluation is None:
        return {}
    return {k: part.accuracy for k, part in accuracy_by_category(entry.evaluation.judged, "kind").items()}


def _table(budget: int, entries: Sequence[FieldEntry], settings: str, chance: float | None) -> Table:
    kinds = list(dict.fromkeys(kind for entry in entries for kind in _by_kind(entry)))
    rows = []
    for entry in entries:
        overall, found = (entry.evaluation.overall if entry.evaluation else None), _difference(entry, entries)
        shown = "–" if overall is None else Estimate(value=overall.accuracy, error=overall.standard_error).percent()
        difference = "–"
        if found is not None:
            interval = (
                "" if found.low is None or found.high is None else f" [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
            )
            difference = f"{100 * found.difference:+.1f}{interval}"
        of_kinds = [f"{100 * _by_kind(entry)[kind]:.0f}" if kind in _by_kind(entry) else "–" for kind in kinds]
        tokens = entry.evaluation.work.tokens_kept if entry.evaluation else None
        kept = "–" if tokens is None else f"{tokens:.0f}"
        rows.append((entry.method, entry.setting, shown, *of_kinds, difference, kept, f"{entry.alone_s:.1f}"))
    if chance is not None:
        rows.append(("(blind guessing)", "–", f"{100 * chance:.1f}", *("–" for _ in kinds), "–", "–", "–"))
    refused = [f"{entry.method}: {entry.reason}" for entry in entries if entry.reason]
    return Table(
        title=f"{budget} tokens in the final pass",
        header=(
            *("method", "setting", "accuracy % [95 %]", *kinds),
            *(f"− {entries[0].method}, points [95 %]", "tokens", "s alone"),
        ),
        rows=tuple(rows),
        notes=(settings, "differences are paired by question, clustered by video", *dict.fromkeys(refused)),
    )
