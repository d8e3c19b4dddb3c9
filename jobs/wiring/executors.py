"""Which executor runs a job, and on which machines; Ray is imported only where it is used."""

import os
from collections.abc import Callable, Generator
from dataclasses import replace

import torch

from actors.builders import Job, OnReady, ignore
from actors.outcomes import VideoOutcome
from cluster.answering_share import assign_answerers, expect_workload
from cluster.gpu_share import settle_workers
from cluster.placement import ClusterSize, NodeSize, Placement, plan_workers
from jobs.wiring.logs import LOG
from pipeline.engine.progress import Progress
from pipeline.method.selectors.registry import get_selector
from pipeline.settings.config import RunConfig

_OTHER_OBJECTS_BYTES = 256 * 1024**2  # in a local object store, beside frames


def run_job(
    job: Job, executor: str, *, on_lost: Callable[[str], None] | None = None, on_ready: OnReady = ignore
) -> Generator[VideoOutcome | Progress, None, None]:
    """Yield finished videos as they come, and progress in between.

    Args:
        job: what to do.
        executor: ``ray`` or ``serial``.
        on_ready: called with how a worker computes, in words, once it can work.
        on_lost: called in another thread when Ray itself hangs, with what to do; has to end the process.

    Raises:
        PlacementError: The cluster cannot hold the workers asked for.
        PipelineError: Workers cannot start, or keep dying.
    """
    if executor == "serial":
        from actors.serial_executor import run_serial

        yield from run_serial(settle_job(job, this_machine(), most_scorers=1), on_ready=on_ready)
        return
    from actors.ray_executor import run_on_ray
    from actors.worker_pool import ActorOptions
    from cluster.reservation import reserve
    from cluster.session import cluster_size, ray_session

    if not _joins_cluster():
        place_workers(settle_job(job, this_machine(), is_logged=False), this_machine())  # refused before Ray starts
    object_store_bytes = job.config.execution.frame_memory_bytes + _OTHER_OBJECTS_BYTES
    with ray_session(object_store_bytes=object_store_bytes, on_lost=on_lost):
        cluster = cluster_size()
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
    config: RunConfig, cluster: ClusterSize, *, most_scorers: int | None = None, is_logged: bool = True
) -> RunConfig:
    """See ``settle_job``."""
    execution = config.execution
    if most_scorers is not None and execution.num_scorers is None:
        execution = replace(execution, num_scorers=most_scorers)
    settled = settle_workers(
        execution, cluster, can_use_gpus=torch.version.cuda is not None or torch.version.hip is not None
    )
    if is_logged:
        LOG.info("%s", settled.reason)
        source = "half of the object stores" if execution.frame_buffer_bytes is None else "as set"
        LOG.info("room for frames: %.1f GiB (%s)", settled.execution.frame_room_bytes / 1024**3, source)
    return replace(config, execution=settled.execution)


def place_workers(job: Job, cluster: ClusterSize) -> Placement:
    """What the job's workers reserve of a cluster.

    Raises:
        PlacementError: With what is missing.
    """
    workload = expect_workload(
        num_videos=len(job.tasks),
        num_questions=job.num_questions,
        config=job.config,
        layout=job.layout,
        selector=get_selector(job.config.method),
    )
    execution, num_answerers = assign_answerers(job.config.execution, workload)
    return plan_workers(cluster, execution, num_answerers=num_answerers)


def _joins_cluster() -> bool:
    """Whether there is a Ray already that ``ray_session`` will connect to."""
    return "RAY_ADDRESS" in os.environ or "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def this_machine() -> ClusterSize:
    """What a Ray started here will find; asking torch reserves nothing on a GPU."""
    return ClusterSize(nodes=(NodeSize(num_cpus=os.cpu_count() or 1, num_gpus=torch.cuda.device_count()),))
