"""Response entropy of groups that show what is asked for, and of groups that do not (the paper's Fig. 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.analysis.asked_questions import AskedQuestion
from pipeline.evaluation.analysis.entropy_histograms import EntropyPanel, draw_histograms
from pipeline.evaluation.analysis.needle_groups import events_seen
from pipeline.evaluation.analysis.output import Analysis, Json
from pipeline.evaluation.statistics import measure_auroc
from pipeline.results.tables import Table

CERTAIN_BELOW = 0.1  # nats
_HEADER = ("kind", "questions", "groups with all", "groups with some", "groups with none", "median with all, nats")
_HEADER_END = ("median with none, nats", "AUROC", f"none, but below {CERTAIN_BELOW} nats, %")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NeedleEntropies:
    """Entropies in nats of the groups of one kind of question, by what the group shows of its events."""

    kind: str
    num_questions: int
    with_all: npt.NDArray[np.float64]
    with_some: npt.NDArray[np.float64]
    with_none: npt.NDArray[np.float64]

    @property
    def auroc(self) -> float | None:
        """Probability that a group with all events is more certain than one with none."""
        return measure_auroc(self.with_all, self.with_none)

    @property
    def falsely_certain(self) -> float | None:
        """Share of the groups with none that are below ``CERTAIN_BELOW``."""
        return float((self.with_none <= CERTAIN_BELOW).mean()) if len(self.with_none) else None


def collect_entropies(kind: str, questions: Sequence[AskedQuestion], *, frames_per_patch: int) -> NeedleEntropies:
    """Part the groups of some questions."""
    parts: dict[str, list[float]] = {"all": [], "some": [], "none": []}
    for question in questions:
        num_events = len(question.references or ())
        for vote, seen in zip(question.votes, events_seen(question, frames_per_patch=frames_per_patch), strict=True):
            part = "none" if seen == 0 else "all" if seen == num_events else "some"
            parts[part].append(vote.entropy)
    return NeedleEntropies(
        kind=kind,
        num_questions=len(questions),
        with_all=np.array(parts["all"]),
        with_some=np.array(parts["some"]),
        with_none=np.array(parts["none"]),
    )


def analyse_needles(questions: Sequence[AskedQuestion], *, frames_per_patch: int) -> Analysis:
    """Every kind of question; the picture is of the first kind that has groups of both sorts.

    Raises:
        ValueError: No group is known to show, and none to lack, what is asked for.
    """
    usable = [question for question in questions if question.votes and question.references is not None]
    kinds = dict.fromkeys(question.kind for question in usable)
    parts = [
        collect_entropies(kind, [item for item in usable if item.kind == kind], frames_per_patch=frames_per_patch)
        for kind in kinds
    ]
    drawn = next((part for part in parts if len(part.with_all) and len(part.with_none)), None)
    if drawn is None:
        raise ValueError(
            "no scored groups with and without a needle: give a run of method adapttoken over a manifest with "
            "needle_start_s and needle_end_s"
        )
    return Analysis(
        name="entropy_needle",
        figures={"certain_below_nats": CERTAIN_BELOW, "kinds": [_figures(part) for part in parts]},
        tables=(_table(parts),),
        draw=partial(_draw, drawn),
    )


def _figures(part: NeedleEntropies) -> dict[str, Json]:
    return {
        "kind": part.kind,
        "questions": part.num_questions,
        "groups_with_all": len(part.with_all),
        "groups_with_some": len(part.with_some),
        "groups_with_none": len(part.with_none),
        "median_with_all_nats": _median(part.with_all),
        "median_with_some_nats": _median(part.with_some),
        "median_with_none_nats": _median(part.with_none),
        "auroc": part.auroc,
        "falsely_certain_share": part.falsely_certain,
    }


def _median(values: npt.NDArray[np.float64]) -> float | None:
    return float(np.median(values)) if len(values) else None


def _table(parts: Sequence[NeedleEntropies]) -> Table:
    return Table(
        title="Entropy of groups with and without what is asked for",
        header=(*_HEADER, *_HEADER_END),
        rows=tuple(_row(part) for part in parts),
        notes=(
            "with all: every event that decides the answer is on at least one frame of the group",
            "AUROC: how often a group with all is more certain than one with none; 0.5 is chance",
        ),
    )


def _row(part: NeedleEntropies) -> tuple[str, ...]:
    counts = (part.num_questions, len(part.with_all), len(part.with_some), len(part.with_none))
    medians = (_median(part.with_all), _median(part.with_none))
    return (
        part.kind,
        *(f"{count:,}" for count in counts),
        *("–" if value is None else f"{value:.3f}" for value in medians),
        "–" if part.auroc is None else f"{part.auroc:.4f}",
        "–" if part.falsely_certain is None else f"{100 * part.falsely_certain:.2f}",
    )


def _draw(part: NeedleEntropies, path: Path) -> None:
    panels = [
        EntropyPanel(name="all of it on at least one frame", entropies=part.with_all, color=0),
        EntropyPanel(name="some of it", entropies=part.with_some, color=2),
        EntropyPanel(name="on no frame", entropies=part.with_none, color=1),
    ]
    title = f"Groups by what they show of the answer ({part.kind}, {part.num_questions} questions)"
    auroc = "" if part.auroc is None else f"; AUROC {part.auroc:.4f}"
    draw_histograms([panel for panel in panels if len(panel.entropies)], path, title=title + auroc)
