"""Histograms of response entropies, one below the other on a common axis."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.analysis.pictures import COLORS, finish_axis, new_figure, save_figure

_BLIND_GUESS = float(np.log(4))  # among four options


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EntropyPanel:
    """One histogram; ``color`` is a number of the palette."""

    name: str
    entropies: npt.NDArray[np.float64]
    color: int


def draw_histograms(panels: Sequence[EntropyPanel], path: Path, *, title: str) -> None:
    """Each panel sums to 100 %."""
    highest = max(float(np.percentile(panel.entropies, 99.9)) for panel in panels)
    bins = np.linspace(0, max(1.02 * _BLIND_GUESS, highest) + 0.02, 57)
    figure, axes = new_figure(len(panels), 1, height=1.4 + 2.0 * len(panels))
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        values = panel.entropies
        axis.hist(values, bins=bins, weights=np.full(len(values), 100 / len(values)), color=COLORS[panel.color])
        axis.axvline(_BLIND_GUESS, color="0.3", linestyle=":", linewidth=1.2)
        named = f"{panel.name} (n = {len(values):,} groups, median {np.median(values):.2f} nats)"
        finish_axis(axis, title=named, across="", up="groups, %")
    axes[-1, 0].set_xlabel("response entropy of the group, nats (dotted: ln 4, a blind guess among four options)")
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)
