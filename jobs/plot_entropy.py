"""Draws response entropy of groups with and without the needle, from the Parquet of a demo run (paper's figure)."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pipeline.demo.scoreboard import NeedleEntropies, collect_entropies
from pipeline.results.finished import read_answers

CERTAIN_BELOW = 0.1  # nats


def main(arguments: list[str] | None = None) -> int:
    """Write the PNG and print the figures it stands for."""
    parser = argparse.ArgumentParser(prog="plot_entropy.py", description=__doc__)
    parser.add_argument("answers", help="output folder of a run with --method adapttoken over a demo archive")
    parser.add_argument("--output", type=Path, required=True, help="PNG to write")
    parser.add_argument("--sample-fps", type=float, default=2.0, help="as in the run")
    options = parser.parse_args(arguments)
    rows = read_answers(options.answers).to_pylist()
    entropies = collect_entropies(rows, sample_fps=options.sample_fps, frames_per_patch=2)
    if not len(entropies.with_needle) or not len(entropies.without_needle):
        print(f"error: {options.answers} holds no scored groups; run --method adapttoken first", file=sys.stderr)
        return 2
    figures = _figures(entropies, len(rows))
    _draw(entropies, figures, options.output)
    print(json.dumps(figures, indent=2))
    return 0


def _figures(entropies: NeedleEntropies, num_rows: int) -> dict[str, Any]:
    return {
        "questions": num_rows,
        "groups_with_needle": len(entropies.with_needle),
        "groups_without_needle": len(entropies.without_needle),
        "auroc": round(entropies.auroc, 4),
        "falsely_certain": round(entropies.false_certainty(CERTAIN_BELOW), 5),
        "certain_below_nats": CERTAIN_BELOW,
        "median_with": round(float(sorted(entropies.with_needle)[len(entropies.with_needle) // 2]), 4),
        "median_without": round(float(sorted(entropies.without_needle)[len(entropies.without_needle) // 2]), 4),
    }


def _draw(entropies: NeedleEntropies, figures: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    top = max(1.4, float(np.percentile(entropies.without_needle, 99.9)) + 0.05)
    bins = np.linspace(0, top, 57).tolist()
    figure, axes = plt.subplots(2, 1, sharex=True, figsize=(7, 5), layout="constrained")
    panels = (
        ("needle on at least one frame", entropies.with_needle, "#0072B2"),
        ("needle on no frame", entropies.without_needle, "#D55E00"),
    )
    for axis, (name, values, color) in zip(axes, panels, strict=True):
        axis.hist(values, bins=bins, weights=np.full(len(values), 100 / len(values)), color=color)
        axis.axvline(np.log(4), color="0.4", linestyle=":", linewidth=1)
        axis.set_ylabel("groups, %")
        axis.set_title(f"{name} (n = {len(values):,}, median {np.median(values):.2f} nats)", fontsize=10)
    axes[1].set_xlabel("response entropy of the group, nats (dotted: ln 4, a blind guess among four options)")
    figure.suptitle(
        f"AUROC {figures['auroc']:.4f}; {figures['falsely_certain']:.2%} of groups without the needle "
        f"below {CERTAIN_BELOW} nats",
        fontsize=11,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    sys.exit(main())
