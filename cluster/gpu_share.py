"""What only the machines decide, where the settings leave it open: GPUs per scorer, scorers, decoders, room for frames.

Arithmetic only. GPUs that are there are used, one scorer each, unless the CPU is asked for; beside each, CPUs decode.
"""

from dataclasses import dataclass, replace

from cluster.placement import ClusterSize, count_seats
from pipeline.settings.config import LEAST_FRAME_BUFFER_BYTES, ExecutionConfig

_MOST_BESIDE_ONE = 16  # where there are many cores and few GPUs: more than most scorers have a use for


@dataclass(frozen=True, kw_only=True, slots=True)
class SettledWorkers:
    """Settings with all numbers in place, and one line for the log: what was taken, and why."""

    execution: ExecutionConfig
    reason: str


def settle_workers(execution: ExecutionConfig, cluster: ClusterSize, *, can_use_gpus: bool = True) -> SettledWorkers:
    """Fill in what is open; what is set stays, whatever there is.

    ``8 GPUs: unset -> 1 GPU for each of 8 scorers; gpus_per_scorer=2 -> 4 scorers; gpus_per_scorer=0 -> 1, on the CPU``

    Of 128 CPUs beside them 7 decoders for each scorer.

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
    settled = replace(settled, num_decoders=execution.num_decoders or _count_decoders(settled, cluster))
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


def _count_decoders(execution: ExecutionConfig, cluster: ClusterSize) -> int:
    """Half of the CPUs that each scorer leaves on its node: each decoder has a process below it that works, too.

    ``16 CPUs per GPU -> 7 beside each scorer``, as the files of ``cluster/`` have it. One on the CPU, where the model
    needs the others.
    """
    if not execution.gpus:
        return 1
    seats = [(node, count_seats(node, execution.gpus)) for node in cluster.nodes]
    shares = [(node.num_cpus / count, count) for node, count in seats if count]
    if not shares:  # nodes will come
        shares = [(cluster.max_cpus * execution.gpus / cluster.max_gpus, execution.scorers)] if cluster.max_gpus else []
    cpus = min((share for share, _ in shares), default=1.0)
    beside_one = min(_MOST_BESIDE_ONE, max(1, int((cpus - 1) // 2)))
    return execution.scorers * beside_one


def _describe(settled: ExecutionConfig) -> str:
    scorers = "1 scorer" if settled.scorers == 1 else f"{settled.scorers} scorers"
    if not settled.gpus:
        return f"{scorers} on the CPU"
    each = "" if settled.scorers == 1 else " each"
    decoders = "1 decoder" if settled.decoders == 1 else f"{settled.decoders} decoders"
    return f"{scorers} with {settled.gpus:g} GPU{'s' * (settled.gpus > 1)}{each}, {decoders}"


def _explain(asked: ExecutionConfig, num_gpus: float, *, can_use_gpus: bool) -> str:
    if asked.gpus_per_scorer is None and num_gpus >= 1 and not can_use_gpus:
        return "torch is built without them here; where workers have another one, set execution.gpus_per_scorer"
    names = ("gpus_per_scorer", "num_scorers", "num_decoders")
    known = [f"execution.{name}={getattr(asked, name):g}" for name in names if getattr(asked, name) is not None]
    unset = [f"execution.{name}" for name in names if getattr(asked, name) is None]
    parts = [f"as set by {_listed(known)}"] if known else []
    if unset:
        parts.append(f"by what is there: {_listed(unset)} unset")
    return ", ".join(parts)


def _listed(names: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
