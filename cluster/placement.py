"""How many CPUs and GPUs each worker asks Ray for. Arithmetic only."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """``ray.remote`` options by role."""

    scorer: dict[str, Any]
    decoder: dict[str, Any]
    coordinator: dict[str, Any]


class PlacementError(ValueError):
    """The cluster cannot hold the workers that were asked for."""


def plan_placement(
    *, num_cpus: float, num_gpus: float, num_scorers: int, num_decoders: int, gpus_per_scorer: float
) -> Placement:
    """One CPU per worker where there are enough, else equal fractions: CPU counts never refuse a small machine.

    Raises:
        PlacementError: When the cluster has no CPU, or fewer GPUs than the scorers ask for.
    """
    if num_cpus <= 0:
        raise PlacementError(f"the cluster must have at least one CPU, it reports {num_cpus:g}")
    needed = num_scorers * gpus_per_scorer
    if needed > num_gpus:
        raise PlacementError(
            f"{num_scorers} scorers with {gpus_per_scorer:g} GPUs each need {needed:g} GPUs, the cluster has "
            f"{num_gpus:g}; lower execution.num_scorers or execution.gpus_per_scorer, or add GPU nodes"
        )
    share = min(1.0, math.floor(num_cpus / (num_scorers + num_decoders) * 100) / 100)
    scorer: dict[str, Any] = {"num_cpus": share}
    if gpus_per_scorer:
        scorer["num_gpus"] = gpus_per_scorer
    return Placement(scorer=scorer, decoder={"num_cpus": share}, coordinator={"num_cpus": 0})
