"""Runs a job on Ray: one coordinator, and workers that pull. Placement reaches it as a value."""

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayError

from actors.builders import Job
from actors.coordinator_service import CoordinatorService, JobStatus
from actors.metrics import RunMetrics
from actors.outcomes import VideoOutcome, check_outage
from actors.worker_pool import ActorOptions, WorkerPool, is_bug
from pipeline.engine.job_state import JobState
from pipeline.engine.messages.keys import Role, role_of
from pipeline.engine.patience import Overdue
from pipeline.engine.progress import Progress, Tally
from pipeline.failures import Failure, FailureClass, PipelineError
from pipeline.settings.config import RunConfig

__all__ = ["ActorOptions", "run_on_ray"]
_log = logging.getLogger("adapttoken.coordinator")
_TICK_S = 0.2
_BACKSTOP_FACTOR = 3  # a reader kills its own child after one timeout, and tries twice; only copying can hang longer


def run_on_ray(job: Job, options: ActorOptions) -> Iterator[VideoOutcome | Progress]:
    """Yield finished videos as they come, and progress in between. Ray must be initialised.

    When the coordinator dies or hangs, the videos that have not ended start over with a new one; the workers, with
    their models, stay.

    Raises:
        PipelineError: When workers cannot start, workers or the coordinator keep dying, or the storage of the videos
            is away for too long.
    """
    pool, done = WorkerPool(job, options), set[int]()
    metrics, before, last = RunMetrics(job.stamp.run_id), Tally(), Tally()
    deaths_left = job.config.execution.max_attempts
    try:
        pool.start()
        while True:
            try:
                for event in _serve(job.without(done) if done else job, options, pool, metrics):
                    if isinstance(event, VideoOutcome):
                        done.add(event.video_id)
                        deaths_left = job.config.execution.max_attempts
                        metrics.count_rows(event.rows)
                        yield event
                    else:
                        whole = event.continue_after(before)
                        last = whole.ended
                        metrics.note(whole)
                        yield whole
                return
            except RayError as error:
                if is_bug(error):
                    raise PipelineError(FailureClass.INTERNAL, f"the coordinator came upon a bug: {error}") from error
                deaths_left, before = deaths_left - 1, last
                if deaths_left == 0:
                    raise PipelineError(FailureClass.WORKER_LOST, f"the coordinator keeps dying: {error}") from error
                _log.warning(
                    "the coordinator died (%s); %d videos are done, the others go on", type(error).__name__, len(done)
                )
    finally:
        pool.stop()


def _serve(job: Job, options: ActorOptions, pool: WorkerPool, metrics: RunMetrics) -> Iterator[VideoOutcome | Progress]:
    """Until the job or this coordinator ends; the latter as a ``RayError`` that is no error of its code."""
    patience_s = _patience_s(job.config)
    build = partial(JobState, job.tasks, config=job.config)
    remote_service: Any = ray.remote(**options.coordinator)(CoordinatorService)
    coordinator = remote_service.remote(build, stamp=job.stamp, patience_s=patience_s)
    try:
        pool.serve(coordinator)
        is_finished, timeout_s = False, job.config.execution.score_timeout_s  # its process has to start first
        while not is_finished:
            pool.tick(_TICK_S)
            status: JobStatus = ray.get(coordinator.poll.remote(), timeout=timeout_s)
            timeout_s = job.config.execution.coordinator_timeout_s
            if status.outcomes:
                pool.renew_patience()
            for overdue in status.overdue:
                pool.kill(overdue.worker, _describe(overdue))
            pool.cancel(status.cancelled)
            metrics.observe_seconds(status.spent)
            yield from status.outcomes
            yield status.progress
            check_outage(status.outage)
            is_finished = status.is_finished
    finally:
        ray.kill(coordinator)


def _patience_s(config: RunConfig) -> dict[Role, float]:
    """Wall seconds that a batch may take, by role."""
    reading, scoring = _BACKSTOP_FACTOR * config.reading.decode_timeout_s, config.execution.score_timeout_s
    return {Role.DECODER: reading, Role.SCORER: scoring, Role.ANSWERER: scoring}


def _describe(overdue: Overdue) -> Failure:
    """What rows say where a piece was given up so for the last time: only a setting blames the video's storage."""
    role, limit = role_of(overdue.worker), f"{overdue.limit_s:g} s"
    if overdue.is_setting and role is Role.DECODER:
        return Failure(
            failure_class=FailureClass.DECODE_TIMEOUT,
            message=f"fetching and reading the video took more than {limit}; check its storage, or raise "
            "reading.decode_timeout_s",
        )
    if not overdue.held:
        message = f"a {role} without work has not asked for any in {limit}: its process or node hangs"
    elif overdue.is_setting:
        message = (
            f"a {role} took more than {limit} for what it was given and was ended; raise execution.score_timeout_s, "
            "or give it fewer groups at once (execution.groups_in_hand)"
        )
    else:
        message = f"a {role} took more than {limit}, far longer than such work took in this run, and was ended"
    return Failure(failure_class=FailureClass.WORKER_LOST, message=message)
