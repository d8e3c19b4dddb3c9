"""Accuracy by number of sampled frames, one line per run and method, one panel per kind of question."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.evaluation.analysis.asked_questions import AskedQuestion
from pipeline.evaluation.analysis.output import Analysis, Json
from pipeline.evaluation.analysis.pictures import draw_line, finish_axis, new_figure, save_figure
from pipeline.evaluation.statistics import Estimate, estimate_mean
from pipeline.results.tables import Table

MOST_LENGTHS = 12
_FEWEST_OPTIONS_CHANCE = 25.0
_COLUMNS_OF_PANELS = 3
_BESIDE = 1.03  # times the length: runs stand beside each other, not on top


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthPoint:
    """Accuracy of one run on the questions of one kind about videos of one length.

    Attributes:
        num_frames: sampled frames; of a range of lengths its upper end.
    """

    run: str
    kind: str
    num_frames: int
    num_questions: int
    num_videos: int
    accuracy: Estimate


def analyse_lengths(runs: Mapping[str, Sequence[AskedQuestion]]) -> Analysis:
    """Runs by their label.

    Raises:
        ValueError: No question has a known answer.
    """
    labelled = {run: [item for item in asked if item.expected is not None] for run, asked in runs.items()}
    lengths = {item.num_frames for asked in labelled.values() for item in asked}
    if not lengths:
        raise ValueError("no question has a known answer: give runs over a manifest with a column expected")
    is_ranged = len(lengths) > MOST_LENGTHS
    points = [
        point
        for run, asked in labelled.items()
        for kind in dict.fromkeys(item.kind for item in asked)
        for point in measure_lengths(run, kind, [item for item in asked if item.kind == kind], is_ranged=is_ranged)
    ]
    return Analysis(
        name="frames",
        figures={"points": [_figures(point) for point in points]},
        tables=(_table(points, is_ranged=is_ranged),),
        draw=partial(_draw, points),
    )


def measure_lengths(
    run: str, kind: str, questions: Sequence[AskedQuestion], *, is_ranged: bool = False
) -> list[LengthPoint]:
    """One point per length, or per doubling of it."""
    by_length: dict[int, list[AskedQuestion]] = {}
    for item in questions:
        length = 2 ** math.ceil(math.log2(item.num_frames)) if is_ranged else item.num_frames
        by_length.setdefault(length, []).append(item)
    return [
        LengthPoint(
            run=run,
            kind=kind,
            num_frames=length,
            num_questions=len(own),
            num_videos=len({item.video for item in own}),
            accuracy=estimate_mean([bool(item.is_right(item.answer)) for item in own], [item.video for item in own]),
        )
        for length, own in sorted(by_length.items())
    ]


def _figures(point: LengthPoint) -> dict[str, Json]:
    return {
        "run": point.run,
        "kind": point.kind,
        "num_frames": point.num_frames,
        "questions": point.num_questions,
        "videos": point.num_videos,
        "accuracy": point.accuracy.value,
        "standard_error": point.accuracy.error,
    }


def _table(points: Sequence[LengthPoint], *, is_ranged: bool) -> Table:
    lengths = sorted({point.num_frames for point in points})
    found = {(point.run, point.kind, point.num_frames): point for point in points}
    lines = dict.fromkeys((point.run, point.kind) for point in points)
    rows = []
    for run, kind in lines:
        own = [found.get((run, kind, length)) for length in lengths]
        counts = sorted({point.num_questions for point in own if point is not None})
        shown = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
        rows.append((run, kind, shown, *("–" if p is None else p.accuracy.percent() for p in own)))
    upto = "up to " if is_ranged else ""
    return Table(
        title="Accuracy % by number of sampled frames",
        header=("run", "kind", "questions per length", *(f"{upto}{length:,}" for length in lengths)),
        rows=tuple(rows),
        notes=("in brackets the 95 % interval, clustered by video; multiple choice by the most probable letter",),
    )


def _draw(points: Sequence[LengthPoint], path: Path) -> None:
    kinds = list(dict.fromkeys(point.kind for point in points))
    runs = list(dict.fromkeys(point.run for point in points))
    columns = min(_COLUMNS_OF_PANELS, math.ceil(math.sqrt(len(kinds))))
    num_rows = -(-len(kinds) // columns)
    figure, axes = new_figure(num_rows, columns, width=max(6.0, 4.2 * columns), height=0.8 + 3.2 * num_rows)
    lengths = sorted({point.num_frames for point in points})
    for axis, kind in zip(axes.flat, kinds, strict=False):
        for index, run in enumerate(runs):
            own = [point for point in points if (point.run, point.kind) == (run, kind)]
            aside = _BESIDE ** (index - (len(runs) - 1) / 2)
            draw_line(axis, [p.num_frames * aside for p in own], [p.accuracy for p in own], label=run, index=index)
        counts = sorted({point.num_questions for point in points if point.kind == kind})
        axis.axhline(_FEWEST_OPTIONS_CHANCE, color="0.3", linestyle=":", linewidth=1.2)
        axis.set_xscale("log")
        axis.set_xticks(lengths, [f"{length:,}" for length in lengths])
        axis.minorticks_off()
        axis.set_ylim(-3, 106)
        named = f"{kind} (n = {counts[0]}{f'–{counts[-1]}' if len(counts) > 1 else ''} questions per point)"
        finish_axis(axis, title=named, across="sampled frames of the video", up="accuracy, %")
    for axis in axes.flat[len(kinds) :]:
        axis.set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=9, loc="outside lower center", ncols=min(len(runs), columns + 2))
    figure.suptitle("Accuracy by length (bars: 95 %, clustered by video; dotted: chance among four)", fontsize=11)
    save_figure(figure, path)
