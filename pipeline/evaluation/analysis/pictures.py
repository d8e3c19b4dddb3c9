"""What all plots share: colours that colour-blind readers can tell apart, sizes, one way to draw an interval."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.evaluation.statistics import Estimate

# Okabe and Ito's palette, without the yellow, which is too light for lines
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def new_figure(num_rows: int = 1, num_columns: int = 1, *, width: float = 7.0, height: float = 4.2) -> tuple[Any, Any]:
    """A figure and its axes, as a two-dimensional array; drawn without a screen."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(num_rows, num_columns, figsize=(width, height), layout="constrained", squeeze=False)
    return figure, axes


def save_figure(figure: Any, path: Path) -> None:
    """Write the PNG, and let the figure go."""
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_line(axis: Any, places: Sequence[float], estimates: Sequence[Estimate], *, label: str, index: int) -> None:
    """Shares as percentages with their 95 % intervals, which end at 0 and 100; ``index`` picks colour and marker."""
    axis.errorbar(
        places,
        [100 * estimate.value for estimate in estimates],
        yerr=interval_arms(estimates, are_shares=True),
        label=label,
        color=COLORS[index % len(COLORS)],
        marker=MARKERS[index % len(MARKERS)],
        markersize=5,
        linewidth=1.5,
        capsize=3,
    )


def interval_arms(estimates: Sequence[Estimate], *, are_shares: bool = False) -> list[list[float]]:
    """Half-lengths of 95 % intervals below and above, in hundredths; 0 where there is none.

    Args:
        estimates: one per point.
        are_shares: none is below 0 or above 1, so the normal approximation is cut there.
    """
    lows = [item.value if item.low is None else item.low for item in estimates]
    highs = [item.value if item.high is None else item.high for item in estimates]
    if are_shares:
        lows, highs = [max(0.0, low) for low in lows], [min(1.0, high) for high in highs]
    values = [item.value for item in estimates]
    return [
        [100 * (value - low) for value, low in zip(values, lows, strict=True)],
        [100 * (high - value) for value, high in zip(values, highs, strict=True)],
    ]


def finish_axis(axis: Any, *, title: str, across: str, up: str) -> None:
    """Title, units, a light grid."""
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(across)
    axis.set_ylabel(up)
    axis.grid(visible=True, color="0.9", linewidth=0.8)
    axis.set_axisbelow(True)
