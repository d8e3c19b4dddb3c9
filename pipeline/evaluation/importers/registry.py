"""Which importer reads which benchmark."""

from collections.abc import Mapping

from pipeline.evaluation.importers import longvideobench, lvbench, mlvu, videomme
from pipeline.evaluation.importers.layouts import Layout

IMPORTERS: Mapping[str, tuple[Layout, ...]] = {
    "videomme": videomme.LAYOUTS,
    "longvideobench": longvideobench.LAYOUTS,
    "lvbench": lvbench.LAYOUTS,
    "mlvu-dev": mlvu.LAYOUTS,
    "mlvu-test": mlvu.LAYOUTS,
}


def layouts_of(benchmark: str) -> tuple[Layout, ...]:
    """The layouts that are known of a benchmark.

    Raises:
        ValueError: There is no importer of that name.
    """
    if benchmark not in IMPORTERS:
        raise ValueError(f"benchmark must be one of {', '.join(IMPORTERS)}, got {benchmark!r}")
    return IMPORTERS[benchmark]
