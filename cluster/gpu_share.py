"""What only the machines decide: GPUs per scorer, scorers and room for frames, where the settings leave them open.

Arithmetic only. GPUs that are there are used, one scorer each, unless the CPU is asked for.
"""

from dataclasses import dataclass, replace

from cluster.placement import ClusterSize, count_seats
from pipeline.settings.config import LEAST_FRAME_BUFFER_BYTES, ExecutionConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SettledWorkers:
    """Settings with all numbers in place, and one line for the log: what was taken, and why."""

    execution: ExecutionConfig
    reason: str


def settle_workers(execution: ExecutionConfig, cluster: ClusterSize, *, can_use_gpus: bool = True) -> SettledWorkers:
    """Fill in what is open; what is set stays, whatever there is.

    ``8 GPUs: unset -> 1 GPU for each of 8 scorers; gpus_per_scorer=2 -> 4 scorers; gpus_per_scorer=0 -> 1, on the CPU``

    Args:
        execution: settings of the run.
        cluster: what is there, and what it may grow to.
        can_use_gpus: whether torch is built for them.
    """
    num_gpus = max(sum(node.num_gpus for node in cluster.nodes), cluster.max_gpus)
    gpus = execution.gpus_per_scorer
    if gpus is None:
        gpus = 1.0 if num_gpus >= 1 and can_use_gpus else 0.0
    num_scorers = execution.num_scorers or _count_scorers(replace(execution, gpus_per_scorer=gpus), cluster)
    settled = replace(
        execution,
        gpus_per_scorer=gpus,
        num_scorers=num_scorers,
        frame_buffer_bytes=execution.frame_buffer_bytes or room_for_frames(cluster),
    )
    return SettledWorkers(
        execution=settled,
        reason=f"{num_gpus:g} GPUs; {_describe(settled)} ({_explain(execution, num_gpus, can_use_gpus=can_use_gpus)})",
    )


def room_for_frames(cluster: ClusterSize) -> int:
    """Bytes: half of the object stores that are there, for what a scorer reads on another node lies in both stores.

    ``8 nodes of 600 GB -> 2.4 TB; a laptop whose store has 2 GiB -> 8 GiB, most of it on its disk``
    """
    stores = (node.store_bytes for node in cluster.nodes if node.num_cpus)
    return max(LEAST_FRAME_BUFFER_BYTES, int(sum(stores) / 2))


def _count_scorers(execution: ExecutionConfig, cluster: ClusterSize) -> int:
    """As many as the GPUs hold beside answerers that are set; one on the CPU."""
    if not execution.gpus:
        return execution.min_scorers
    seats = sum(count_seats(node, execution.gpus) for node in cluster.nodes)
    seats = max(seats, int(cluster.max_gpus / execution.gpus + 1e-9))
    return max(execution.min_scorers, seats - (execution.num_answerers or 0))


def _describe(settled: ExecutionConfig) -> str:
    scorers = "1 scorer" if settled.scorers == 1 else f"{settled.scorers} scorers"
    if not settled.gpus:
        return f"{scorers} on the CPU"
    each = "" if settled.scorers == 1 else " each"
    return f"{scorers} with {settled.gpus:g} GPU{'s' * (settled.gpus > 1)}{each}"


def _explain(asked: ExecutionConfig, num_gpus: float, *, can_use_gpus: bool) -> str:
    if asked.gpus_per_scorer is None and num_gpus >= 1 and not can_use_gpus:
        return "torch is built without them here; where workers have another one, set execution.gpus_per_scorer"
    names = ("gpus_per_scorer", "num_scorers")
    known = [f"execution.{name}={getattr(asked, name):g}" for name in names if getattr(asked, name) is not None]
    unset = [f"execution.{name}" for name in names if getattr(asked, name) is None]
    parts = [f"as set by {' and '.join(known)}"] if known else []
    if unset:
        parts.append(f"by what is there: {' and '.join(unset)} unset")
    return ", ".join(parts)
