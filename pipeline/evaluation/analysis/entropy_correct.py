"""Is a certain group a right one? Entropy of right and wrong groups, accuracy below a threshold (paper's Fig. 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.analysis.asked_questions import AskedQuestion
from pipeline.evaluation.analysis.entropy_histograms import EntropyPanel, draw_histograms
from pipeline.evaluation.analysis.output import Analysis, Json
from pipeline.evaluation.statistics import Estimate, estimate_ratio, measure_auroc
from pipeline.results.tables import Table

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)  # nats
ALL_KINDS = "all"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JudgedGroups:
    """All groups of some questions; parallel lists."""

    kind: str
    num_questions: int
    entropies: npt.NDArray[np.float64]
    is_right: npt.NDArray[np.bool_]
    videos: tuple[str, ...]

    @property
    def auroc(self) -> float | None:
        """Probability that a right group is more certain than a wrong one."""
        return measure_auroc(self.entropies[self.is_right], self.entropies[~self.is_right])


@dataclass(frozen=True, kw_only=True, slots=True)
class BelowThreshold:
    """Groups with at most ``entropy`` nats: their share of all, and how many of them are right; None without any."""

    entropy: float
    num_groups: int
    share: Estimate
    accuracy: Estimate | None


def judge_groups(kind: str, questions: Sequence[AskedQuestion]) -> JudgedGroups:
    """Judge every group's own response; questions without a known answer are left out."""
    entropies: list[float] = []
    is_right: list[bool] = []
    videos: list[str] = []
    labelled = [question for question in questions if question.expected is not None and question.votes]
    for question in labelled:
        entropies += [vote.entropy for vote in question.votes]
        is_right += [bool(question.is_right(vote.response)) for vote in question.votes]
        videos += [question.video] * len(question.votes)
    return JudgedGroups(
        kind=kind,
        num_questions=len(labelled),
        entropies=np.array(entropies),
        is_right=np.array(is_right, dtype=bool),
        videos=tuple(videos),
    )


def measure_below(groups: JudgedGroups, entropy: float) -> BelowThreshold:
    """Share and accuracy of the groups that are at most so uncertain, with errors clustered by video."""
    is_below = groups.entropies <= entropy
    ones = np.ones(len(is_below))
    return BelowThreshold(
        entropy=entropy,
        num_groups=int(is_below.sum()),
        share=estimate_ratio(is_below, ones, groups.videos),
        accuracy=estimate_ratio(is_below & groups.is_right, is_below, groups.videos) if is_below.any() else None,
    )


def analyse_correctness(questions: Sequence[AskedQuestion]) -> Analysis:
    """All kinds together, then each.

    Raises:
        ValueError: No group has been scored for a question whose answer is known.
    """
    kinds = list(dict.fromkeys(question.kind for question in questions))
    parts = [judge_groups(ALL_KINDS, questions)]
    if len(kinds) > 1:
        parts += [judge_groups(kind, [item for item in questions if item.kind == kind]) for kind in kinds]
    parts = [part for part in parts if len(part.entropies)]
    if not parts:
        raise ValueError("no scored groups with a known answer: give a run of method adapttoken with column expected")
    below = [measure_below(parts[0], entropy) for entropy in THRESHOLDS]
    return Analysis(
        name="entropy_correct",
        figures={"kinds": [_figures(part) for part in parts]},
        tables=(_kinds_table(parts), _below_table(below)),
        draw=partial(_draw, parts[0]),
    )


def _figures(part: JudgedGroups) -> dict[str, Json]:
    return {
        "kind": part.kind,
        "questions": part.num_questions,
        "groups": len(part.entropies),
        "groups_right": int(part.is_right.sum()),
        "auroc": part.auroc,
        "below": [_below_figures(measure_below(part, entropy)) for entropy in THRESHOLDS],
    }


def _below_figures(below: BelowThreshold) -> dict[str, Json]:
    accuracy = below.accuracy
    return {
        "entropy_nats": below.entropy,
        "groups": below.num_groups,
        "share": below.share.value,
        "accuracy": None if accuracy is None else accuracy.value,
        "accuracy_standard_error": None if accuracy is None else accuracy.error,
    }


def _kinds_table(parts: Sequence[JudgedGroups]) -> Table:
    return Table(
        title="Entropy of right and wrong groups",
        header=("kind", "questions", "groups", "groups right %", "median right, nats", "median wrong, nats", "AUROC"),
        rows=tuple(_kind_row(part) for part in parts),
        notes=(
            "a group is right when its own answer is, whatever it shows",
            "AUROC: how often a right group is more certain than a wrong one; 0.5 is chance. The paper's figure gives "
            "about 0.77 (VideoMME) and 0.78 (MLVU)",
        ),
    )


def _kind_row(part: JudgedGroups) -> tuple[str, ...]:
    right, wrong = part.entropies[part.is_right], part.entropies[~part.is_right]
    return (
        part.kind,
        f"{part.num_questions:,}",
        f"{len(part.entropies):,}",
        f"{100 * part.is_right.mean():.1f}",
        *("–" if not len(values) else f"{np.median(values):.3f}" for values in (right, wrong)),
        "–" if part.auroc is None else f"{part.auroc:.4f}",
    )


def _below_table(below: Sequence[BelowThreshold]) -> Table:
    return Table(
        title="Groups at or below an entropy, all kinds",
        header=("entropy, nats", "groups", "share of groups % [95 %]", "of these right % [95 %]"),
        rows=tuple(
            (
                f"{item.entropy:g}",
                f"{item.num_groups:,}",
                item.share.percent(),
                "–" if item.accuracy is None else item.accuracy.percent(),
            )
            for item in below
        ),
        notes=("intervals are clustered by video",),
    )


def _draw(part: JudgedGroups, path: Path) -> None:
    panels = [
        EntropyPanel(name="right groups", entropies=part.entropies[part.is_right], color=0),
        EntropyPanel(name="wrong groups", entropies=part.entropies[~part.is_right], color=1),
    ]
    auroc = "" if part.auroc is None else f"; AUROC {part.auroc:.4f}"
    title = f"Groups by their own answer ({part.num_questions} questions){auroc}"
    draw_histograms([panel for panel in panels if len(panel.entropies)], path, title=title)
