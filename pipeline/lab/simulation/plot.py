"""The figure of the simulations: utilisation and the coordinator by number of GPUs, decode cores by k."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

from pipeline.lab.simulation.report import SimulationReport

# Okabe and Ito's colours, told apart by the colour-blind; each line has a marker of its own, too
_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"))


def draw_plot(reports: Sequence[SimulationReport], path: Path) -> None:
    """Write the PNG: on the left runs with decoders to spare by GPUs, on the right the sweep over decode cores.

    A sweep is a set of runs that differ in nothing but k and decode cores, with at least three numbers of cores.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    swept = [report for report in reports if _num_cores_tried(report, reports) >= 3]
    by_size = [report for report in reports if report not in swept]
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.3), layout="constrained")
    _draw_lines(axes[0], by_size, label=_method_label, x=_num_gpus, y=lambda report: report.scorer_utilisation)
    axes[0].axhline(95, color="0.5", linestyle=":", linewidth=1)
    _draw_lines(axes[1], by_size, label=_method_label, x=_num_gpus, y=lambda report: report.coordinator_busy)
    axes[1].axhline(100, color="0.5", linestyle=":", linewidth=1)
    _draw_lines(axes[2], swept, label=_k_label, x=_cores_per_gpu, y=lambda report: report.scorer_utilisation_steady)
    for axis in axes[:2]:
        axis.set_xscale("log")
        axis.set_xlabel("GPUs (one scorer or answerer each)")
        sizes = sorted({_num_gpus(report) for report in by_size})
        axis.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
        axis.minorticks_off()
    axes[2].set_xscale("log")
    cores = sorted({_cores_per_gpu(report) for report in swept})
    axes[2].set_xticks(cores, [f"{count:g}" for count in cores])
    axes[2].minorticks_off()
    axes[2].set_xlabel("decode cores per GPU")
    axes[0].set_ylabel("scorers busy until the last answer, %")
    axes[1].set_ylabel("coordinators busy (steady state), %")
    axes[2].set_ylabel("scorers busy (steady state), %")
    axes[0].set_title(f"Utilisation (dotted: 95 %)\n{_archive(by_size)}", fontsize=9)
    axes[1].set_title(f"Each coordinator (dotted: its limit)\n{_archive(by_size)}", fontsize=9)
    axes[2].set_title(f"Decoding, k frames decoded per frame wanted\n{_archive(swept)}", fontsize=9)
    for axis in axes:
        axis.set_ylim(0, 105)
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_lines(
    axis: Any,
    reports: Sequence[SimulationReport],
    *,
    label: Callable[[SimulationReport], str],
    x: Callable[[SimulationReport], float],
    y: Callable[[SimulationReport], float],
) -> None:
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for report in reports:
        lines[label(report)].append((x(report), 100 * y(report)))
    for (color, marker), (name, points) in zip(_STYLES, sorted(lines.items()), strict=False):
        axis.plot(*zip(*sorted(points), strict=True), color=color, marker=marker, label=name)


def _num_cores_tried(report: SimulationReport, reports: Sequence[SimulationReport]) -> int:
    alike = [other for other in reports if _but_decoding(other) == _but_decoding(report)]
    return len({_cores_per_gpu(other) for other in alike})


def _but_decoding(report: SimulationReport) -> Hashable:
    varied = ("decode_cores_per_gpu", "frames_decoded_per_wanted")
    return tuple(repr(item) for item in sorted(report.settings.items()) if item[0] not in varied)


def _num_gpus(report: SimulationReport) -> float:
    return float(str(report.settings["num_gpus"]))


def _cores_per_gpu(report: SimulationReport) -> float:
    return float(str(report.settings["decode_cores_per_gpu"]))


def _method_label(report: SimulationReport) -> str:
    losses = float(str(report.settings["node_losses_per_hour"]))
    label = f"{report.settings['method']}, {report.settings['groups_in_hand']} groups in hand"
    return label + (f", {losses:g} losses per node and hour" if losses else "")


def _k_label(report: SimulationReport) -> str:
    return f"k = {report.settings['frames_decoded_per_wanted']:>2}"


def _archive(reports: Sequence[SimulationReport]) -> str:
    """What the runs of a panel have in common: ``10,000 videos of 10,000 frames, 4 questions each``."""
    if not reports:
        return "no runs"
    videos = sorted({int(str(report.settings["num_videos"])) for report in reports})
    counts = f"{videos[0]:,}" if len(videos) == 1 else f"{videos[0]:,} to {videos[-1]:,}"
    frames, questions = (int(str(reports[0].settings[name])) for name in ("num_frames", "num_questions"))
    gpus = sorted({_num_gpus(report) for report in reports})
    where = f", {gpus[0]:,.0f} GPUs" if len(gpus) == 1 else ""
    return f"{counts} videos of {frames:,} frames, {questions} questions each{where}"
