"""Which executor runs a job, and on which machines; Ray is imported only where it is used."""

import os
from collections.abc import Callable, Generator
from dataclasses import replace

import torch

from actors.builders import Job, OnReady, ignore
from actors.outcomes import VideoOutcome
from cluster.answering_share import assign_answerers, expect_workload
from cluster.gpu_share import settle_workers
from cluster.placement import ClusterSize, Placement, PlacementError, plan_workers
from jobs.wiring.logs import LOG
from jobs.wiring.machines import joins_cluster, this_machine
from pipeline.engine.progress import Progress
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import ModelLayout
from pipeline.settings.config import RunConfig

MOST_ON_CPU = 1_000_000_000
"""Parameters of a model that runs on the CPU without being told to: the demo's have 1 million, the smallest published
ones that answer usefully 3 billion."""

_OTHER_OBJECTS_BYTES = 256 * 1024**2  # in a local object store, beside frames


def run_job(
    job: Job,
    executor: str,
    *,
    address: str | None = None,
    on_lost: Callable[[str], None] | None = None,
    on_ready: OnReady = ignore,
    on_cluster: Callable[[ClusterSize], None] = lambda cluster: None,
) -> Generator[VideoOutcome | Progress, None, None]:
    """Yield finished videos as they come, and progress in between.

    Args:
        job: what to do.
        executor: ``ray`` or ``serial``.
        address: of a Ray to join; None: the one that this process belongs to, else one of its own.
        on_ready: called with how a worker computes, in words, once it can work.
        on_cluster: called with what there is, once that is known.
        on_lost: called in another thread when Ray itself hangs, with what to do; has to end the process.

    Raises:
        PlacementError: The cluster cannot hold the workers asked for.
        PipelineError: Workers cannot start, or keep dying.
    """
    if executor == "serial":
        from actors.serial_executor import run_serial

        on_cluster(this_machine())
        job = settle_job(job, this_machine(), most_scorers=1)
        refuse_slow(job)
        yield from run_serial(job, on_ready=on_ready)
        return
    from actors.ray_executor import run_on_ray
    from actors.worker_pool import ActorOptions
    from cluster.reservation import reserve
    from cluster.session import cluster_size, ray_session

    if not joins_cluster(address):  # refused before Ray starts
        place_workers(settle_job(job, this_machine(), is_logged=False), this_machine())
    object_store_bytes = job.config.execution.frame_memory_bytes + _OTHER_OBJECTS_BYTES
    with ray_session(address=address, object_store_bytes=object_store_bytes, on_lost=on_lost):
        cluster = cluster_size()
        on_cluster(cluster)
        job = settle_job(job, cluster)
        placement = place_workers(job, cluster)
        LOG.info(
            "workers: %d scorers, %d answerers, %d decoders, with %g CPUs each and %g GPUs per copy of the model",
            *(len(placement.near_decoders), placement.num_answerers),
            *(sum(placement.near_decoders) + placement.num_far_decoders, placement.num_cpus, placement.gpus_per_model),
        )
        reserved = reserve(placement)
        options = ActorOptions(
            scorer=tuple(reserved.scorer),
            answerer=tuple(reserved.answerer),
            decoder=tuple(reserved.decoder),
            coordinator=reserved.coordinator,
        )
        yield from run_on_ray(job, options, on_ready=on_ready)


def settle_job(job: Job, cluster: ClusterSize, *, most_scorers: int | None = None, is_logged: bool = True) -> Job:
    """The job with the numbers that its settings leave to the machines; the log says which, and why."""
    return replace(job, config=settle_config(job.config, cluster, most_scorers=most_scorers, is_logged=is_logged))


def settle_config(
    config: RunConfig,
    cluster: ClusterSize,
    *,
    most_scorers: int | None = None,
    is_logged: bool = True,
    has_cuda: bool | None = None,
) -> RunConfig:
    """See ``settle_job``; ``has_cuda``: whether torch can use GPUs there, as here where it is None."""
    execution = config.execution
    if most_scorers is not None and execution.num_scorers is None:
        execution = replace(execution, num_scorers=most_scorers)
    if config.sampling.decoder == "nvdec":  # frames lie on each device, not in object stores
        execution = replace(execution, frame_buffer_bytes=execution.frame_room_bytes)
    if has_cuda is None:
        has_cuda = torch.version.cuda is not None or torch.version.hip is not None
    settled = settle_workers(execution, cluster, can_use_gpus=has_cuda)
    if is_logged:
        LOG.info("%s", settled.reason)
        source = "half of the object stores" if execution.frame_buffer_bytes is None else _frame_source(config)
        LOG.info("room for frames: %.1f GiB (%s)", settled.execution.frame_room_bytes / 1024**3, source)
    return replace(config, execution=settled.execution)


def _frame_source(config: RunConfig) -> str:
    is_set = config.execution.frame_buffer_bytes is not None
    return "as set" if is_set else "on the GPU of each scorer"


def place_workers(job: Job, cluster: ClusterSize) -> Placement:
    """What the job's workers reserve of a cluster.

    Raises:
        PlacementError: With what is missing.
    """
    refuse_slow(job)
    return place(job.config, cluster, num_videos=len(job.tasks), num_questions=job.num_questions, layout=job.layout)


def place(
    config: RunConfig, cluster: ClusterSize, *, num_videos: int, num_questions: int, layout: ModelLayout
) -> Placement:
    """Likewise, of a job that is only planned; ``config`` has been settled."""
    selector = get_selector(config.method)
    workload = expect_workload(
        num_videos=num_videos, num_questions=num_questions, config=config, layout=layout, selector=selector
    )
    execution, num_answerers = assign_answerers(config.execution, workload)
    return plan_workers(cluster, execution, num_answerers=num_answerers)


def refuse_slow(job: Job) -> None:
    """A settled job whose model would run on the CPU because no GPU was found, and not because the user says so.

    Raises:
        PlacementError: It is a large one; says what to type in either case.
    """
    if job.config.execution.gpus or job.is_told_cpu or job.num_parameters <= MOST_ON_CPU:
        return
    raise PlacementError(
        f"there is no GPU that torch can use, and the model has {job.num_parameters / 1e9:.1f} billion parameters: on "
        "the CPU a video takes hours or days; run it where GPUs are (adapttoken doctor says what torch sees), or add "
        f"--set gpus_per_scorer=0 --set torch_threads={os.cpu_count()} to run it on the CPU all the same"
    )
