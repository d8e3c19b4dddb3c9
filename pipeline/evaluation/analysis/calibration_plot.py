"""The trade-off of a calibration as a picture: groups scored against what it costs, and where the threshold lies."""

from pathlib import Path
from typing import Any

from pipeline.evaluation.analysis.calibration import Calibration
from pipeline.evaluation.analysis.pictures import COLORS, finish_axis, interval_arms, new_figure, save_figure
from pipeline.evaluation.statistics import Estimate


def draw_calibration(calibration: Calibration, path: Path) -> None:
    """Two panels: share of groups by threshold, and loss by share of groups."""
    figure, axes = new_figure(1, 2, width=10)
    _draw_share(axes[0][0], calibration)
    _draw_loss(axes[0][1], calibration)
    settings, num_questions = calibration.settings, calibration.chosen.num_questions
    figure.suptitle(
        f"Lite's rule replayed: {num_questions:,} questions, {calibration.num_videos} videos, model {settings.model}",
        fontsize=11,
    )
    save_figure(figure, path)


def _draw_share(axis: Any, calibration: Calibration) -> None:
    curve, chosen = calibration.curve, calibration.chosen
    axis.plot(
        [point.stop_entropy for point in curve],
        [100 * point.groups_share.value for point in curve],
        color=COLORS[0],
        linewidth=1.5,
    )
    axis.axvline(chosen.stop_entropy, color="0.4", linestyle=":", linewidth=1.2)
    axis.set_ylim(0, 105)
    title = (
        f"Work by threshold (dotted: {chosen.stop_entropy:.4g} nats, {100 * chosen.groups_share.value:.1f} % of groups)"
    )
    finish_axis(axis, title=title, across="stop_entropy, nats", up="groups scored, % of all")


def _draw_loss(axis: Any, calibration: Calibration) -> None:
    points = {"all questions": calibration.chosen}
    if calibration.held_out is not None:
        points["videos held out"] = calibration.held_out
    uses_labels = calibration.target.uses_labels and calibration.chosen.loss is not None
    curve = [
        (point.groups_share.value, point.loss if uses_labels else point.changed_share) for point in calibration.curve
    ]
    known = [(share, loss) for share, loss in curve if loss is not None]
    axis.plot(
        [100 * share for share, _ in known], [100 * loss.value for _, loss in known], color=COLORS[0], linewidth=1.5
    )
    for index, (name, point) in enumerate(points.items(), start=1):
        loss: Estimate | None = point.loss if uses_labels else point.changed_share
        if loss is not None:
            axis.errorbar(
                [100 * point.groups_share.value],
                [100 * loss.value],
                xerr=interval_arms([point.groups_share], are_shares=True),
                yerr=interval_arms([loss], are_shares=not uses_labels),
                color=COLORS[index],
                marker="os"[index - 1],
                capsize=3,
                linestyle="none",
                label=f"chosen, {name} (bars: 95 %)",
            )
    axis.axhline(0, color="0.4", linewidth=0.8)
    axis.legend(fontsize=8)
    what = "accuracy lost, points" if uses_labels else "answers changed, %"
    finish_axis(axis, title="Cost by work", across="groups scored, % of all", up=what)
