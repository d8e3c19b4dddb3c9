"""Runs a job on Ray: one coordinator or several, and workers that pull. Placement reaches it as a value."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import ray
from ray.exceptions import RayError

from actors.builders import Job, OnReady, ignore
from actors.coordinator_service import JobStatus
from actors.metrics import RunMetrics
from actors.outcomes import VideoOutcome, check_outage
from actors.shard import Shard
from actors.worker_pool import ActorOptions, WorkerPool
from pipeline.engine.messages.keys import Role, role_of
from pipeline.engine.patience import Overdue
from pipeline.engine.progress import Progress
from pipeline.engine.sharding import count_shards, shard_config
from pipeline.failures import Failure, FailureClass
from pipeline.method.selectors.registry import get_selector

__all__ = ["ActorOptions", "run_on_ray"]
_log = logging.getLogger("adapttoken.coordinator")
_TICK_S = 0.2


def run_on_ray(job: Job, options: ActorOptions, *, on_ready: OnReady = ignore) -> Iterator[VideoOutcome | Progress]:
    """Yield finished videos as they come, and progress in between. Ray must be initialised.

    When a coordinator dies or hangs, its videos that have not ended start over with a new one; the workers, with their
    models, stay.

    Raises:
        PipelineError: When workers cannot start, workers or a coordinator keep dying, or the storage of the videos is
            away for too long.
    """
    shards, metrics = _split(job, options.coordinator), RunMetrics(job.stamp.run_id)
    pool = WorkerPool(replace(job, num_shards=len(shards)), options, on_ready=on_ready)
    try:
        pool.start()
        for shard in shards:
            shard.start()
        pool.serve(shards)
        while not all(shard.is_finished for shard in shards):
            pool.tick(_TICK_S)
            for shard, status in _hear(shards):
                yield from _take_in(shard, status, pool, metrics)
            whole = reduce(add, (shard.progress for shard in shards)).served_by(pool.count_serving())
            metrics.note(whole)
            yield whole
            _check_outages(shards)
    finally:
        pool.stop()
        for shard in shards:
            shard.stop()


def _split(job: Job, options: dict[str, Any]) -> list[Shard]:
    """One shard or several, each with every n-th video and its part of the room."""
    num = count_shards(
        job.config.execution, can_stop=get_selector(job.config.method).can_stop, num_videos=len(job.tasks)
    )
    if num > 1:
        _log.info("%d coordinators share %d videos", num, len(job.tasks))
    part = replace(job, config=shard_config(job.config, num))
    return [Shard(part.every(num, start=index), options, index=index) for index in range(num)]


def _hear(shards: Sequence[Shard]) -> Iterator[tuple[Shard, JobStatus]]:
    """Answers of those that have one; who is dead, or silent for too long, is replaced."""
    going_on = [shard for shard in shards if not shard.is_finished and shard.has_coordinator()]
    if not going_on:
        return
    questions = [shard.ask() for shard in going_on]
    ray.wait(questions, num_returns=len(questions), timeout=_TICK_S)
    for shard in going_on:
        try:
            status = shard.hear()
        except RayError as error:
            shard.replace(error)
        else:
            if status is not None:
                yield shard, status


def _take_in(shard: Shard, status: JobStatus, pool: WorkerPool, metrics: RunMetrics) -> Iterator[VideoOutcome]:
    if status.outcomes:
        pool.renew_patience()
    for overdue in status.overdue:
        if pool.serves(overdue.worker, shard):  # it may have gone on to another one meanwhile, and is sound
            pool.kill(overdue.worker, _describe(overdue))
    pool.cancel({name: keys for name, keys in status.cancelled.items() if pool.serves(name, shard)})
    metrics.observe_seconds(status.spent)
    for outcome in status.outcomes:
        metrics.count_rows(outcome.rows)
        yield outcome


def _check_outages(shards: Sequence[Shard]) -> None:
    """A shard may still read what another one's videos lie beside: only where all wait, the job ends."""
    outages = [shard.outage for shard in shards if not shard.is_finished]
    if outages and all(outage is not None for outage in outages):
        check_outage(outages[0])


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
