"""Which CPUs and GPUs each worker process reserves, and whether the cluster can hold them. Arithmetic only.

A scorer and its decoders share one bundle, so that frames are read on the node that needs them; decoders that do not
fit beside their scorer go wherever there is a CPU. ``reservation`` turns the result into Ray placement groups.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.settings.config import ExecutionConfig

_UNITS = 10_000  # Ray counts in ten-thousandths of a CPU


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSize:
    """CPUs, GPUs and object store of one node that is there."""

    num_cpus: float
    num_gpus: float = 0.0
    store_bytes: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterSize:
    """The nodes that are there, and what an autoscaler may grow them to, all nodes together."""

    nodes: tuple[NodeSize, ...]
    max_cpus: float = 0.0
    max_gpus: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """What to reserve.

    Attributes:
        num_cpus: of every process; one, or an equal fraction where there are fewer CPUs than processes.
        gpus_per_model: of every process that owns a copy of the model.
        near_decoders: per scorer, decoders that share its bundle.
        num_far_decoders: decoders on any node; ``num_reserved_decoders`` of them get their place before scorers beyond
            ``num_ready`` do, which would take it else, and wait for a decoder for ever.
        num_answerers: each in a bundle of its own.
        num_ready: bundles of scorers and answerers for which there is room today; the rest joins when nodes do.
    """

    num_cpus: float
    gpus_per_model: float
    near_decoders: tuple[int, ...]
    num_far_decoders: int
    num_answerers: int
    num_ready: int
    num_reserved_decoders: int


class PlacementError(ValueError):
    """The cluster cannot hold the workers that were asked for."""


def plan_workers(cluster: ClusterSize, execution: ExecutionConfig, *, num_answerers: int = 0) -> Placement:
    """Place the scorers, as many of them at once as there is room for, their decoders, and dedicated answerers.

    A GPU never stays idle for want of a CPU: processes share CPUs in equal fractions where there are too few. Without
    GPUs only what must run shares them; the other scorers wait for CPUs.

    Args:
        cluster: what is there.
        execution: counts and sizes; ``num_answerers`` of it is not used here.
        num_answerers: processes for final passes only.

    Raises:
        PlacementError: When ``min_scorers`` and the answerers do not fit, neither today nor in the grown cluster.
    """
    num_wanted, num_required = execution.scorers + num_answerers, execution.min_scorers + num_answerers
    room = [count_seats(node, execution.gpus) for node in cluster.nodes]
    _refuse_too_small(cluster, execution, num_seats=sum(room), num_required=num_required)
    num_ready = min(num_wanted, sum(room))
    if not execution.gpus:
        num_free_cpus = int(sum(node.num_cpus for node in cluster.nodes)) - execution.decoders
        num_ready = min(num_ready, max(num_required, num_free_cpus))
    shares = _deal(execution.decoders, execution.scorers)
    num_decoders = max(1, sum(shares[: max(0, num_ready - num_answerers)]))
    seats = _seat(cluster.nodes, room, num_ready)
    cpu_units = _largest_share(cluster.nodes, seats, num_processes=num_ready + num_decoders)
    near = _count_near(cluster.nodes, seats, cpu_units)
    near_decoders = tuple(min(near, share) for share in shares)
    num_near = sum(near_decoders[: max(0, num_ready - num_answerers)])
    num_reserved = max(0, num_decoders - num_near) if 0 < num_ready < num_wanted else 0
    return Placement(
        num_cpus=cpu_units / _UNITS,
        gpus_per_model=execution.gpus,
        near_decoders=near_decoders,
        num_far_decoders=execution.decoders - sum(near_decoders),
        num_answerers=num_answerers,
        num_ready=num_ready,
        num_reserved_decoders=num_reserved,
    )


def count_seats(node: NodeSize, gpus_per_model: float) -> int:
    """Model processes a node can hold at most; several GPUs of one process lie on one node."""
    cpu_units = int(node.num_cpus * _UNITS)
    if gpus_per_model >= 1:
        return min(cpu_units, int(node.num_gpus // gpus_per_model))
    if gpus_per_model > 0:  # a share of one GPU, never of two
        return min(cpu_units, int(node.num_gpus) * int(1 / gpus_per_model + 1e-9))
    return cpu_units


def _refuse_too_small(cluster: ClusterSize, execution: ExecutionConfig, *, num_seats: int, num_required: int) -> None:
    gpus = execution.gpus
    num_cpus = sum(node.num_cpus for node in cluster.nodes)
    if max(num_cpus, cluster.max_cpus) <= 0:
        raise PlacementError(f"the cluster must have at least one CPU, it reports {num_cpus:g}")
    if num_seats >= num_required or not gpus or cluster.max_gpus >= num_required * gpus:
        return
    num_gpus = sum(node.num_gpus for node in cluster.nodes)
    counts = f"execution.min_scorers {execution.min_scorers}, answerers {num_required - execution.min_scorers}"
    has = f"the cluster has {num_gpus:g}"
    if cluster.max_gpus:
        has += f" and can grow to {cluster.max_gpus:g}"
    if gpus > 1 and num_gpus >= num_required * gpus:
        by_node = ", ".join(f"{node.num_gpus:g}" for node in cluster.nodes if node.num_gpus)
        has += f", which are {by_node} by node, and the GPUs of one scorer must be on one node"
    raise PlacementError(
        f"{num_required} model processes ({counts}) with {gpus:g} GPUs each need {num_required * gpus:g} GPUs, {has}; "
        "lower execution.num_scorers or execution.gpus_per_scorer, or add GPU nodes"
    )


def _deal(num_items: int, num_hands: int) -> tuple[int, ...]:
    """Equal shares, the first ones larger by one: ``_deal(5, 3) == (2, 2, 1)``."""
    return tuple(num_items // num_hands + (hand < num_items % num_hands) for hand in range(num_hands))


def _seat(nodes: Sequence[NodeSize], room: Sequence[int], num_processes: int) -> list[int]:
    """Model processes by node, each where most CPUs per process remain."""
    seats = [0] * len(nodes)
    by_share = [(-node.num_cpus, index) for index, node in enumerate(nodes) if room[index]]
    heapq.heapify(by_share)
    for _ in range(num_processes):
        _, index = heapq.heappop(by_share)
        seats[index] += 1
        if seats[index] < room[index]:
            heapq.heappush(by_share, (-nodes[index].num_cpus / (seats[index] + 1), index))
    return seats


def _largest_share(nodes: Sequence[NodeSize], seats: Sequence[int], *, num_processes: int) -> int:
    """Units of a CPU for every process, at most a whole one, so that all of them fit."""
    units = [int(node.num_cpus * _UNITS) for node in nodes]

    def fits(share: int) -> bool:
        if any(taken * share > there for taken, there in zip(seats, units, strict=True)):
            return False
        return sum(there // share for there in units) >= num_processes

    low, high = 1, _UNITS  # what fits with a share fits with every smaller one
    if not any(units):
        return _UNITS  # nothing is there yet; nodes will join with whole CPUs
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _count_near(nodes: Sequence[NodeSize], seats: Sequence[int], cpu_units: int) -> int:
    """Decoders that fit beside every model process, on whichever of the nodes it is seated."""
    free = [
        (int(node.num_cpus * _UNITS) // cpu_units - taken) // taken
        for node, taken in zip(nodes, seats, strict=True)
        if taken
    ]
    return max(0, min(free, default=0))
