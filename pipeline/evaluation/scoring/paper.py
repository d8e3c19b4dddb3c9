"""What the paper reports (arXiv 2603.28696, Table 1 and the chart over the number of frames). Never our own figures."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

SOURCE = "arXiv 2603.28696"
BENCHMARK_ORDER = ("videomme", "mlvu-dev", "longvideobench", "lvbench")


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperFigure:
    """One accuracy in percent, as printed in the paper. ``max_frames`` is None where the paper does not say."""

    base: str
    method: str
    benchmark: str
    percent: float
    max_frames: int | None = None


_TABLE_1: Mapping[tuple[str, str], tuple[float, float, float, float]] = {
    ("InternVL2.5-8B", "plain"): (64.2, 68.9, 59.5, 43.4),
    ("InternVL2.5-8B", "FlexSelect"): (67.0, 71.9, 60.1, 49.7),
    ("InternVL2.5-8B", "AdaptToken-Lite"): (68.1, 74.4, 63.8, 51.3),
    ("InternVL2.5-8B", "AdaptToken"): (68.3, 74.1, 63.7, 52.1),
    ("Qwen2.5-VL-7B", "plain"): (65.4, 70.2, 59.5, 45.3),
    ("Qwen2.5-VL-7B", "FlexSelect"): (68.2, 72.5, 62.4, 51.2),
    ("Qwen2.5-VL-7B", "AdaptToken-Lite"): (69.8, 76.3, 65.1, 53.3),
    ("Qwen2.5-VL-7B", "AdaptToken"): (70.5, 76.8, 65.2, 54.8),
    ("Qwen2.5-VL-72B", "plain"): (73.4, 76.3, 66.2, 47.3),
    ("Qwen2.5-VL-72B", "FlexSelect"): (74.4, 76.6, 66.4, 56.6),
    ("Qwen2.5-VL-72B", "AdaptToken"): (76.1, 79.8, 70.5, 59.7),
    ("Qwen3-VL-8B", "plain"): (71.4, 78.1, 65.9, 58.0),
    ("Qwen3-VL-8B", "AdaptToken"): (73.8, 79.3, 66.9, 60.6),
}
_BY_FRAMES: Mapping[int, tuple[float, float, float, float]] = {
    4_096: (70.5, 76.8, 65.2, 54.8),
    8_192: (70.2, 77.1, 65.5, 54.9),
    10_000: (70.1, 77.1, 65.8, 55.6),
}
_METHODS = {
    "adapttoken": "AdaptToken",
    "adapttoken-lite": "AdaptToken-Lite",
    "flexselect": "FlexSelect",
    "uniform": "plain",
}


def paper_table(benchmark: str) -> tuple[PaperFigure, ...]:
    """Table 1's column of a benchmark; empty for what the paper did not measure."""
    if benchmark not in BENCHMARK_ORDER:
        return ()
    place = BENCHMARK_ORDER.index(benchmark)
    return tuple(
        PaperFigure(base=base, method=method, benchmark=benchmark, percent=values[place])
        for (base, method), values in _TABLE_1.items()
    )


def paper_frame_scaling(benchmark: str) -> tuple[PaperFigure, ...]:
    """AdaptToken on Qwen2.5-VL-7B by the most frames it may sample."""
    if benchmark not in BENCHMARK_ORDER:
        return ()
    place = BENCHMARK_ORDER.index(benchmark)
    return tuple(
        PaperFigure(
            base="Qwen2.5-VL-7B",
            method="AdaptToken",
            benchmark=benchmark,
            percent=values[place],
            max_frames=max_frames,
        )
        for max_frames, values in _BY_FRAMES.items()
    )


def paper_figure(benchmark: str, *, model: str, method: str) -> PaperFigure | None:
    """The paper's figure for a model and method of ours, if it has one: the model's name must contain the base's.

    Example: ``Qwen/Qwen2.5-VL-7B-Instruct`` is Qwen2.5-VL-7B.
    """
    bare = _plain(model)
    wanted = _METHODS.get(method)
    figures = paper_table(benchmark)
    return next((figure for figure in figures if figure.method == wanted and _plain(figure.base) in bare), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
