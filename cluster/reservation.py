"""Turns a placement into Ray placement groups, and each process's place into ``ray.remote`` options."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from cluster.placement import Placement

_READY_TIMEOUT_S = 30.0


@dataclass(kw_only=True, slots=True)
class Reservation:
    """``ray.remote`` options, one entry per process; the coordinator stays near the driver."""

    scorer: list[dict[str, Any]] = field(default_factory=list)
    answerer: list[dict[str, Any]] = field(default_factory=list)
    decoder: list[dict[str, Any]] = field(default_factory=list)
    coordinator: dict[str, Any] = field(default_factory=dict)


def reserve(placement: Placement) -> Reservation:
    """Ask Ray for one bundle per scorer and answerer. They go when this driver does.

    Each bundle is a group of its own: those without room wait without holding up the others, and Ray makes a bundle
    whose node has died again on another one. First come those for which there is room, then the decoders that they
    need, then the others: each is waited for, or for a while, so that none takes the CPUs of one before it.
    """
    node_id = ray.get_runtime_context().get_node_id()
    found = Reservation(
        coordinator={
            "num_cpus": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=True),
        }
    )
    cpus, gpus = {"num_cpus": placement.num_cpus}, {}
    if placement.gpus_per_model:
        gpus = {"num_gpus": placement.gpus_per_model}
    num_now = max(0, placement.num_ready - placement.num_answerers)
    answerers = [_reserve_models(placement) for _ in range(placement.num_answerers)]
    scorers = [_reserve_models(placement, num_decoders=count) for count in placement.near_decoders[:num_now]]
    _await([*answerers, *scorers][: placement.num_ready])
    far = [_reserve({"CPU": placement.num_cpus}) for _ in range(placement.num_reserved_decoders)]
    _await(far)
    scorers += [_reserve_models(placement, num_decoders=count) for count in placement.near_decoders[num_now:]]
    for group in answerers:
        found.answerer.append(cpus | gpus | _inside(group))
    for group, num_decoders in zip(scorers, placement.near_decoders, strict=True):
        found.scorer.append(cpus | gpus | _inside(group))
        found.decoder += [cpus | _inside(group) for _ in range(num_decoders)]
    found.decoder += [cpus | _inside(group) for group in far]
    found.decoder += [cpus | {"scheduling_strategy": "SPREAD"}] * (placement.num_far_decoders - len(far))
    return found


def _await(groups: Sequence[PlacementGroup]) -> None:
    """Until all have their places, or for a while."""
    deadline = time.monotonic() + _READY_TIMEOUT_S
    for group in groups:
        group.wait(max(0.0, deadline - time.monotonic()))


def _reserve_models(placement: Placement, *, num_decoders: int = 0) -> PlacementGroup:
    """One process with a copy of the model, and decoders beside it."""
    bundle = {"CPU": round(placement.num_cpus * (1 + num_decoders), 4)}
    return _reserve(bundle | ({"GPU": placement.gpus_per_model} if placement.gpus_per_model else {}))


def _reserve(bundle: dict[str, float]) -> PlacementGroup:
    group: PlacementGroup = placement_group([bundle], strategy="PACK")
    return group


def _inside(group: PlacementGroup) -> dict[str, Any]:
    return {"scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)}
