"""AdaptToken-Lite against the full method: what the early stop saves, and what it costs, by kind of question."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.evaluation.analysis.asked_questions import AskedQuestion
from pipeline.evaluation.analysis.output import Analysis, Json
from pipeline.evaluation.analysis.pictures import COLORS, finish_axis, interval_arms, new_figure, save_figure
from pipeline.evaluation.statistics import Estimate, estimate_mean, estimate_ratio
from pipeline.results.tables import Table

ALL_KINDS = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class LiteEffect:
    """One kind of question, asked in both runs.

    Attributes:
        difference: accuracy of Lite minus that of the full method, paired; None without labels.
        groups_share: groups that Lite scored of those planned.
        changed_share: questions that Lite answers otherwise.
    """

    kind: str
    num_questions: int
    num_videos: int
    full_accuracy: Estimate | None
    lite_accuracy: Estimate | None
    difference: Estimate | None
    groups_share: Estimate
    changed_share: Estimate


def measure_lite(kind: str, pairs: Sequence[tuple[AskedQuestion, AskedQuestion]]) -> LiteEffect:
    """Pairs of the same question, full first."""
    videos = [full.video for full, _ in pairs]
    rights = [
        (float(bool(full.is_right(full.answer))), float(bool(lite.is_right(lite.answer))), full.video)
        for full, lite in pairs
        if full.expected is not None
    ]
    known = [video for _, _, video in rights]
    return LiteEffect(
        kind=kind,
        num_questions=len(pairs),
        num_videos=len(set(videos)),
        full_accuracy=estimate_mean([full for full, _, _ in rights], known) if rights else None,
        lite_accuracy=estimate_mean([lite for _, lite, _ in rights], known) if rights else None,
        difference=estimate_mean([lite - full for full, lite, _ in rights], known) if rights else None,
        groups_share=estimate_ratio(
            [len(lite.votes) for _, lite in pairs], [lite.num_groups for _, lite in pairs], videos
        ),
        changed_share=estimate_mean([not full.says_the_same(lite.answer) for full, lite in pairs], videos),
    )


def analyse_lite(full: Sequence[AskedQuestion], lite: Sequence[AskedQuestion]) -> Analysis:
    """Pair two runs by question id; all kinds together, then each.

    Raises:
        ValueError: They share no question, or the second is no run with an early stop.
    """
    for name, asked in (("adapttoken", full), ("adapttoken-lite", lite)):
        methods = sorted({item.settings.method for item in asked})
        if methods != [name]:
            raise ValueError(f"expected a run of {name}, got {methods or 'no answers'}; give FULL first, then LITE")
    of_lite = {item.question_id: item for item in lite}
    pairs = [(item, of_lite[item.question_id]) for item in full if item.question_id in of_lite]
    if not pairs:
        raise ValueError("the two runs share no question id: they must be over the same manifest")
    kinds = list(dict.fromkeys(item.kind for item, _ in pairs))
    effects = [measure_lite(ALL_KINDS, pairs)] if len(kinds) > 1 else []
    effects += [measure_lite(kind, [pair for pair in pairs if pair[0].kind == kind]) for kind in kinds]
    return Analysis(
        name="lite",
        figures={"kinds": [_figures(effect) for effect in effects]},
        tables=(_table(effects),),
        draw=partial(_draw, effects),
    )


def _figures(effect: LiteEffect) -> dict[str, Json]:
    return {
        "kind": effect.kind,
        "questions": effect.num_questions,
        "videos": effect.num_videos,
        **_estimate_figures("full_accuracy", effect.full_accuracy),
        **_estimate_figures("lite_accuracy", effect.lite_accuracy),
        **_estimate_figures("difference", effect.difference),
        **_estimate_figures("groups_share", effect.groups_share),
        **_estimate_figures("changed_share", effect.changed_share),
    }


def _estimate_figures(name: str, estimate: Estimate | None) -> dict[str, Json]:
    if estimate is None:
        return {name: None}
    return {name: estimate.value, f"{name}_standard_error": estimate.error}


def _table(effects: Sequence[LiteEffect]) -> Table:
    return Table(
        title="Lite against full",
        header=("kind", "questions", "full %", "lite %", "lite - full, points", "groups scored %", "answer changed %"),
        rows=tuple(
            (
                effect.kind,
                f"{effect.num_questions:,}",
                *(_shown(item) for item in (effect.full_accuracy, effect.lite_accuracy, effect.difference)),
                effect.groups_share.percent(),
                effect.changed_share.percent(),
            )
            for effect in effects
        ),
        notes=("in brackets the 95 % interval, clustered by video; differences are paired by question",),
    )


def _shown(estimate: Estimate | None) -> str:
    return "–" if estimate is None else estimate.percent()


def _draw(effects: Sequence[LiteEffect], path: Path) -> None:
    figure, axes = new_figure(1, 2, width=10, height=1.6 + 0.5 * len(effects))
    places = list(range(len(effects)))
    labels = [f"{effect.kind} (n = {effect.num_questions})" for effect in effects]
    shares = [effect.groups_share for effect in effects]
    axes[0, 0].barh(
        places,
        [100 * item.value for item in shares],
        xerr=interval_arms(shares, are_shares=True),
        color=COLORS[4],
        capsize=3,
    )
    axes[0, 0].set_xlim(0, 105)
    finish_axis(axes[0, 0], title="Work", across="groups scored, % of the full method's", up="")
    axes[0, 0].set_yticks(places, labels)
    known = [(place, effect.difference) for place, effect in enumerate(effects) if effect.difference is not None]
    axes[0, 1].errorbar(
        [100 * difference.value for _, difference in known],
        [place for place, _ in known],
        xerr=interval_arms([difference for _, difference in known]),
        color=COLORS[1],
        marker="o",
        linestyle="none",
        capsize=3,
    )
    for place in set(places) - {place for place, _ in known}:
        axes[0, 1].text(0, place, "  no right answer exists", va="center", fontsize=8)
    axes[0, 1].axvline(0, color="0.3", linewidth=1)
    finish_axis(axes[0, 1], title="Accuracy", across="lite minus full, points", up="")
    axes[0, 1].set_yticks(places, [])
    for axis in axes[0]:
        axis.set_ylim(len(effects) - 0.4, -0.6)
    figure.suptitle(
        f"AdaptToken-Lite against the full method, {effects[0].num_videos} videos (bars: 95 %, clustered by video)",
        fontsize=11,
    )
    save_figure(figure, path)
