"""A calibration as tables, as JSON, and as the YAML that ``run.py --config`` reads."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from pipeline.evaluation.analysis.asked_questions import CHOICE, OPEN, AskedQuestion
from pipeline.evaluation.analysis.calibration import Calibration, Target, choose, trade_curve
from pipeline.evaluation.analysis.replay import TradePoint, trade_point
from pipeline.evaluation.scoring.paired import FEW_VIDEOS
from pipeline.evaluation.statistics import Estimate
from pipeline.results.tables import Table

_SHOWN_POINTS = 12
_HEADER = ("questions", "groups % [95 %]", "stop early %", "answer changed %", "accuracy %", "loss, points [95 %]")


def calibration_tables(calibration: Calibration, questions: Sequence[AskedQuestion]) -> list[Table]:
    """The choice, the trade-off around it, and the choice by kind of question."""
    return [_choice(calibration), _trade_off(calibration), _by_kind(calibration, questions)]


def preset_yaml(calibration: Calibration) -> str:
    """Settings for ``--config``; what they were made from stands in comments."""
    chosen, held_out, settings = calibration.chosen, calibration.held_out, calibration.settings
    lines = [
        "# AdaptToken-Lite's threshold, made by calibrate.py; use with --method adapttoken-lite",
        f"# model: {settings.model} at revision {settings.model_revision}; it does not transfer to another one",
        f"# settings of the run: {settings.config_hash}; {chosen.num_questions} questions about "
        f"{calibration.num_videos} videos",
        f"# wanted: {_wanted(calibration.target)}",
        f"# on these questions: {chosen.groups_share.percent()} % of the groups{_loss_words(chosen)}",
    ]
    if held_out is not None:
        lines.append(f"# on videos held out: {held_out.groups_share.percent()} % of the groups{_loss_words(held_out)}")
    lines += ["stopping:", f"  stop_entropy: {chosen.stop_entropy!r}"]
    lines += [f"  confident_groups: {calibration.confident_groups}"]
    return "\n".join(lines) + "\n"


def describe_refusal(calibration: Calibration) -> str:
    """Why no settings are written, and what would be: one line."""
    wanted, held_out = _wanted(calibration.target), calibration.held_out
    if held_out is None:
        return (
            f"{wanted} cannot be checked on videos held out: {calibration.num_videos} "
            f"{'video' if calibration.num_videos == 1 else 'videos'}, and each half needs what is judged; "
            "name runs about more videos"
        )
    measured = f"{held_out.groups_share.percent()} % of the groups{_loss_words(held_out)}"
    reached = f"videos held out gave {measured}" if calibration.reaches_target else "no threshold reaches it"
    if calibration.passing is None:
        return f"{wanted} is not kept: {reached}; nothing looser passes either: answer more videos and name those runs"
    return f"{wanted} is not kept: {reached}; {_as_option(calibration.passing)} would pass, or answer more videos"


def _as_option(target: Target) -> str:
    if target.groups_share is not None:
        return f"--groups-share {target.groups_share:g}"
    return f"--max-accuracy-loss {target.max_loss:g}"


def calibration_json(calibration: Calibration) -> bytes:
    """Every figure, unrounded."""
    return (json.dumps(asdict(calibration), indent=2, allow_nan=False) + "\n").encode()


def _choice(calibration: Calibration) -> Table:
    chosen, held_out = calibration.chosen, calibration.held_out
    rows = [("all questions", f"{chosen.stop_entropy:.6g}", *_cells(chosen))]
    if held_out is not None and calibration.held_out_thresholds is not None:
        one, other = calibration.held_out_thresholds
        rows.append(("videos held out", f"{one:.6g}, {other:.6g}", *_cells(held_out)))
    return Table(
        title=f"Calibration: {_wanted(calibration.target)}",
        header=("measured on", "stop_entropy, nats", *_HEADER),
        rows=tuple(rows),
        notes=tuple(_notes(calibration)),
    )


def _notes(calibration: Calibration) -> list[str]:
    chosen = calibration.chosen
    notes = [
        "replayed over the full run, nothing computed anew: a question that stops early is taken to answer what its "
        "confident groups agree on; Lite's own final pass over their tokens is not run here",
        "held out: the threshold of one half of the videos, judged on the other, and the other way round; intervals "
        "are clustered by video",
    ]
    if not calibration.reaches_target:
        notes.append(f"no threshold reaches {_wanted(calibration.target)}; shown is the nearest")
    if calibration.num_videos < FEW_VIDEOS:
        notes.append(f"videos: only {calibration.num_videos}, so the intervals are too narrow")
    if chosen.loss is None:
        notes.append("no labels: what counts is whether the answer changes, right or wrong")
    return notes


def _trade_off(calibration: Calibration) -> Table:
    curve = calibration.curve
    last = len(curve) - 1
    shown = sorted({round(last * step / (_SHOWN_POINTS - 1)) for step in range(_SHOWN_POINTS)})
    return Table(
        title="Trade-off",
        header=("stop_entropy, nats", *_HEADER),
        rows=tuple((f"{curve[index].stop_entropy:.6g}", *_cells(curve[index])) for index in shown),
    )


def _by_kind(calibration: Calibration, questions: Sequence[AskedQuestion]) -> Table:
    """Each kind at the chosen threshold; choice and open questions also with the threshold of their own."""
    threshold, confident = calibration.chosen.stop_entropy, calibration.confident_groups
    rows: list[tuple[str, ...]] = []
    for kind in dict.fromkeys(question.kind for question in questions):
        own = [question for question in questions if question.kind == kind]
        point = trade_point(own, confident_groups=confident, stop_entropy=threshold)
        rows.append((kind, f"{threshold:.6g}", *_cells(point)))
    notes = []
    parts = {name: [item for item in questions if item.is_choice == (name == CHOICE)] for name in (CHOICE, OPEN)}
    if all(parts.values()):
        for name, own in parts.items():
            curve = trade_curve(own, confident_groups=confident, num_quantiles=60)
            point, _ = choose(own, curve, calibration.target, confident_groups=confident)
            rows.append((f"{name}, threshold of its own", f"{point.stop_entropy:.6g}", *_cells(point)))
        notes.append(
            "a run has one stop_entropy; where the thresholds of choice and open questions lie far apart, calibrate "
            "and run them apart: --questions choice, --questions open"
        )
    return Table(title="By kind", header=("kind", "stop_entropy, nats", *_HEADER), rows=tuple(rows), notes=tuple(notes))


def _cells(point: TradePoint) -> list[str]:
    return [
        str(point.num_questions),
        point.groups_share.percent(),
        f"{100 * point.stopped_share.value:.0f}",
        f"{100 * point.changed_share.value:.1f}",
        "–" if point.accuracy is None else f"{100 * point.accuracy.value:.1f}",
        _signed(point.loss),
    ]


def _signed(loss: Estimate | None) -> str:
    return "–" if loss is None else loss.percent()


def _wanted(target: Target) -> str:
    if target.groups_share is not None:
        return f"at most {100 * target.groups_share:g} % of the groups"
    assert target.max_loss is not None
    if target.uses_labels:
        return f"at most {100 * target.max_loss:g} points of accuracy lost"
    return f"at most {100 * target.max_loss:g} % of the answers changed"


def _loss_words(point: TradePoint) -> str:
    changed = f", {point.changed_share.percent()} % of the answers changed"
    return changed if point.loss is None else f", {point.loss.percent()} points of accuracy lost"
