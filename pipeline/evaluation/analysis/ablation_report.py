"""One ablation's tables, figures and picture."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.evaluation.analysis.ablations import Ablation, AblationRun, compare_with_preset
from pipeline.evaluation.analysis.output import Analysis, Json
from pipeline.evaluation.analysis.pictures import COLORS, draw_line, finish_axis, interval_arms, new_figure, save_figure
from pipeline.evaluation.scoring.accuracy import Accuracy, accuracy_by_category
from pipeline.evaluation.scoring.paired import FEW_VIDEOS, Comparison
from pipeline.evaluation.statistics import Estimate
from pipeline.results.tables import Table


def analyse_ablation(ablation: Ablation, runs: Sequence[AblationRun]) -> Analysis:
    """Accuracy, evidence and effect of every value."""
    compared = compare_with_preset(runs)
    return Analysis(
        name=f"ablate_{ablation.name.replace('-', '_')}",
        figures={"ablation": ablation.name, "question": ablation.question, "values": [_figures(r) for r in compared]},
        tables=(_table(ablation, compared),),
        draw=partial(_draw, ablation, compared),
    )


def _figures(run: AblationRun) -> dict[str, Json]:
    overall, evidence = run.evaluation.overall, run.evaluation.evidence
    return {
        "value": run.value,
        "is_preset": run.is_preset,
        "config_hash": run.evaluation.answers.config_hash,
        "questions": overall.num_questions if overall else 0,
        "videos": overall.num_videos if overall else 0,
        "accuracy": overall.accuracy if overall else None,
        "standard_error": overall.standard_error if overall else None,
        "accuracy_by_kind": {kind: part.accuracy for kind, part in _by_kind(run).items()},
        "top_evidence_hit_share": evidence.top_hit_share if evidence else None,
        **_effect_figures(run.effect),
    }


def _effect_figures(effect: Comparison | None) -> dict[str, Json]:
    if effect is None:
        return {"difference": None}
    return {
        "difference": effect.difference,
        "difference_low": effect.low,
        "difference_high": effect.high,
        "p_value": effect.p_value,
        "questions_only_here_right": effect.num_only_other,
        "questions_only_preset_right": effect.num_only_baseline,
    }


def _by_kind(run: AblationRun) -> Mapping[str, Accuracy]:
    """Kinds of question are an archive's category; a benchmark has others, and none here."""
    return accuracy_by_category(run.evaluation.judged, "kind")


def _table(ablation: Ablation, runs: Sequence[AblationRun]) -> Table:
    kinds = list(dict.fromkeys(kind for run in runs for kind in _by_kind(run)))
    kinds = kinds if len(kinds) > 1 else []
    overall = runs[0].evaluation.overall
    notes = ["difference: to the preset, paired by question, 95 % interval clustered by video"]
    if overall is not None and overall.num_videos < FEW_VIDEOS:
        notes.append(f"videos: only {overall.num_videos}, so the intervals are too narrow")
    return Table(
        title=f"Ablation {ablation.name}: {ablation.question}",
        header=("value", "questions", "accuracy %", *kinds, "top evidence hits %", "difference, points [95 %]", "p"),
        rows=tuple(_row(run, kinds) for run in runs),
        notes=tuple(notes),
    )


def _row(run: AblationRun, kinds: Sequence[str]) -> tuple[str, ...]:
    overall, evidence, effect = run.evaluation.overall, run.evaluation.evidence, run.effect
    by_kind = _by_kind(run)
    return (
        run.label,
        str(overall.num_questions if overall else 0),
        "–" if overall is None else f"{100 * overall.accuracy:.1f}",
        *(f"{100 * by_kind[kind].accuracy:.0f}" if kind in by_kind else "–" for kind in kinds),
        "–" if evidence is None else f"{100 * evidence.top_hit_share:.0f}",
        "–" if effect is None else _difference(effect).percent(),
        "–" if effect is None or effect.p_value is None else f"{effect.p_value:.3f}",
    )


def _difference(effect: Comparison) -> Estimate:
    return Estimate(value=effect.difference, error=effect.standard_error)


def _draw(ablation: Ablation, runs: Sequence[AblationRun], path: Path) -> None:
    figure, axes = new_figure(1, 2, width=11, height=3.0 + 0.3 * len(runs))
    places = list(range(len(runs)))
    labels = [run.label for run in runs]
    _draw_accuracies(axes[0, 0], runs)
    axes[0, 0].set_xticks(places, labels, rotation=20 if max(map(len, labels)) > 12 else 0, ha="center", fontsize=8)
    finish_axis(axes[0, 0], title="Accuracy by kind of question", across=ablation.question, up="accuracy, %")
    for place, run in zip(places, runs, strict=True):
        estimate = Estimate(value=0.0, error=None) if run.effect is None else _difference(run.effect)
        axes[0, 1].errorbar(
            [100 * estimate.value],
            [place],
            xerr=interval_arms([estimate]),
            color=COLORS[6] if run.is_preset else COLORS[0],
            marker="D" if run.is_preset else "o",
            capsize=3,
        )
    axes[0, 1].axvline(0, color="0.3", linewidth=1)
    widest = max(5.0, *(abs(end) * 1.05 for end in axes[0, 1].get_xlim()))
    axes[0, 1].set_xlim(-widest, widest)
    axes[0, 1].set_ylim(len(runs) - 0.4, -0.6)
    finish_axis(axes[0, 1], title="Effect", across="difference to the preset, points (bars: 95 %)", up="")
    axes[0, 1].set_yticks(places, labels, fontsize=8)
    overall = runs[0].evaluation.overall
    counted = "" if overall is None else f", n = {overall.num_questions} questions, {overall.num_videos} videos"
    figure.suptitle(f"Ablation: {ablation.name}{counted}", fontsize=11)
    save_figure(figure, path)


def _draw_accuracies(axis: Any, runs: Sequence[AblationRun]) -> None:
    lines: dict[str, list[tuple[int, Accuracy]]] = {}
    for place, run in enumerate(runs):
        overall = run.evaluation.overall
        parts = _by_kind(run) or ({} if overall is None else {"all": overall})
        for kind, part in parts.items():
            lines.setdefault(kind, []).append((place, part))
    for index, (kind, points) in enumerate(lines.items()):
        estimates = [Estimate(value=part.accuracy, error=part.standard_error) for _, part in points]
        shift = 0.06 * (index - (len(lines) - 1) / 2)
        label = f"{kind} (n = {points[0][1].num_questions})"
        draw_line(axis, [place + shift for place, _ in points], estimates, label=label, index=index)
    axis.set_ylim(-3, 106)
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
