"""Runs a job on Ray: one coordinator, decoders and model workers that pull. Placement reaches it as a value."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from actors.builders import Job
from actors.coordinator import CoordinatorActor, VideoOutcome
from actors.coordinator_service import CoordinatorService, JobStatus
from actors.worker_pool import WorkerPool
from pipeline.engine.progress import Progress
from pipeline.failures import Failure, FailureClass, PipelineError

_TICK_S = 0.2
_BACKSTOP_FACTOR = 3  # a reader kills its own child after one timeout, and tries twice; only copying can hang longer


@dataclass(frozen=True, kw_only=True, slots=True)
class ActorOptions:
    """``ray.remote`` options by role."""

    scorer: dict[str, Any] = field(default_factory=dict)
    decoder: dict[str, Any] = field(default_factory=dict)
    coordinator: dict[str, Any] = field(default_factory=lambda: {"num_cpus": 0})


def run_on_ray(job: Job, options: ActorOptions) -> Iterator[VideoOutcome | Progress]:
    """Yield finished videos as they come, and progress in between. Ray must be initialised.

    When the coordinator dies, the videos that have not ended start over with a new one.

    Raises:
        PipelineError: When workers cannot start, or workers or the coordinator keep dying.
    """
    remaining = {task.video_id: task for task in job.tasks}
    for attempt in range(job.config.execution.max_attempts):
        try:
            for event in _run_once(replace(job, tasks=tuple(remaining.values())), options):
                if isinstance(event, VideoOutcome):
                    del remaining[event.video_id]
                yield event
        except RayActorError as error:
            if attempt + 1 == job.config.execution.max_attempts:
                raise PipelineError(FailureClass.WORKER_LOST, f"the coordinator keeps dying: {error}") from error
        except RayError as error:
            raise PipelineError(FailureClass.INTERNAL, f"the coordinator came upon a bug: {error}") from error
        if not remaining:
            return


def _run_once(job: Job, options: ActorOptions) -> Iterator[VideoOutcome | Progress]:
    """Until the job or the coordinator ends; the latter as ``RayActorError``."""
    patience_s = _BACKSTOP_FACTOR * job.config.reading.decode_timeout_s
    build = partial(CoordinatorActor, job.tasks, config=job.config, stamp=job.stamp)
    remote_service: Any = ray.remote(**options.coordinator)(CoordinatorService)
    coordinator = remote_service.remote(build, decode_timeout_s=patience_s)
    pool = WorkerPool(job, scorer=options.scorer, decoder=options.decoder, coordinator=coordinator)
    try:
        pool.start()
        is_finished = False
        while not is_finished:
            pool.replace_dead(_TICK_S)
            status: JobStatus = ray.get(coordinator.poll.remote())
            if status.outcomes:
                pool.renew_patience()
            for worker in status.overdue:
                pool.kill(worker, _overdue(patience_s))
            yield from status.outcomes
            yield status.progress
            is_finished = status.is_finished
    finally:
        pool.stop()
        ray.kill(coordinator)


def _overdue(patience_s: float) -> Failure:
    return Failure(
        failure_class=FailureClass.DECODE_TIMEOUT,
        message=f"fetching and reading the video took more than {patience_s:g} s; check its storage, or raise "
        "reading.decode_timeout_s",
    )
