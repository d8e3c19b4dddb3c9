"""Runs a job on Ray: one coordinator, decoders and model workers that pull. Placement reaches it as a value."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayActorError

from actors.builders import Job, build_decode_worker, build_model_worker
from actors.coordinator import CoordinatorActor, VideoOutcome
from actors.store import RayStore
from pipeline.engine.job_state import DECODER, SCORER, Progress
from pipeline.engine.work import Batch, Completion
from pipeline.failures import FailureClass, PipelineError

_LONG_POLL_S = 2.0
_TICK_S = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class ActorOptions:
    """``ray.remote`` options by role."""

    scorer: dict[str, Any] = field(default_factory=dict)
    decoder: dict[str, Any] = field(default_factory=dict)
    coordinator: dict[str, Any] = field(default_factory=lambda: {"num_cpus": 0})


class CoordinatorService:
    """``CoordinatorActor`` behind an event loop: a worker's call waits until there is work for it."""

    def __init__(self, build: Callable[[], CoordinatorActor]) -> None:
        self._coordinator = build()
        self._changed = asyncio.Condition()

    async def exchange(self, worker: str, completions: Sequence[Completion]) -> Batch:
        """See ``CoordinatorActor``; an empty batch comes back after two seconds at the latest."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LONG_POLL_S
        batch = self._coordinator.exchange(worker, completions)
        if completions:
            await self._notify()
        while not (batch.work or batch.retain or batch.released or batch.is_finished):
            remaining = deadline - loop.time()
            if remaining <= 0:
                break
            async with self._changed:
                try:
                    await asyncio.wait_for(self._changed.wait(), remaining)
                except TimeoutError:
                    break
            batch = self._coordinator.exchange(worker, ())
        return batch

    async def lose_worker(self, worker: str) -> None:
        """See ``CoordinatorActor``."""
        self._coordinator.lose_worker(worker)
        await self._notify()

    async def poll(self) -> tuple[list[VideoOutcome], Progress, bool]:
        """Finished videos, counts, and whether the job has ended."""
        outcomes = self._coordinator.take_outcomes()
        return outcomes, self._coordinator.progress(), self._coordinator.is_finished()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class PullLoop:
    """A worker process: asks for work, does it, and reports with the next question."""

    def __init__(self, build_worker: Callable[[], Any]) -> None:
        self._worker = build_worker()

    def ready(self) -> bool:
        """Returns once the constructor is through, or raises what it raised."""
        return True

    def run(self, name: str, coordinator: Any) -> None:
        """Until the job has ended."""
        completions: list[Completion] = []
        while True:
            batch = ray.get(coordinator.exchange.remote(name, completions))
            if batch.is_finished:
                return
            completions = self._worker.run_batch(batch)


class _Pool:
    """The job's worker actors, and which of their loops still run."""

    def __init__(self, job: Job, options: ActorOptions, coordinator: Any) -> None:
        self._job, self._options, self._coordinator = job, options, coordinator
        self._actors: dict[str, Any] = {}
        self._loops: dict[Any, str] = {}
        execution = job.config.execution
        self._respawns_left = execution.max_attempts * (execution.num_scorers + execution.num_decoders)

    def start(self) -> None:
        """Start all workers; a checkpoint that cannot be loaded ends the job here, with its own message."""
        execution = self._job.config.execution
        names = [f"{SCORER}-{i}" for i in range(execution.num_scorers)]
        names += [f"{DECODER}-{i}" for i in range(execution.num_decoders)]
        for name in names:
            self._spawn(name)
        try:
            ray.get([actor.ready.remote() for actor in self._actors.values()])
        except RayActorError as error:
            raise PipelineError(FailureClass.MODEL, f"a worker could not start: {error}") from error
        for name in names:
            self._run(name)

    def _spawn(self, name: str) -> None:
        is_scorer = name.startswith(SCORER)
        build = build_model_worker if is_scorer else build_decode_worker
        options = self._options.scorer if is_scorer else self._options.decoder
        self._actors[name] = ray.remote(**options)(PullLoop).remote(partial(build, self._job, RayStore()))

    def _run(self, name: str) -> None:
        self._loops[self._actors[name].run.remote(name, self._coordinator)] = name

    def replace_dead(self, timeout_s: float) -> None:
        """Wait a moment; whatever worker has died is replaced, and its work is done again."""
        ended, _ = ray.wait(list(self._loops), num_returns=1, timeout=timeout_s)
        for loop in ended:
            name = self._loops.pop(loop)
            try:
                ray.get(loop)
            except RayActorError as error:
                if self._respawns_left == 0:
                    raise PipelineError(FailureClass.WORKER_LOST, f"workers keep dying, last {name}: {error}") from error
                self._respawns_left -= 1
                ray.get(self._coordinator.lose_worker.remote(name))
                self._spawn(name)
                self._run(name)
        if not self._loops:
            return

    @property
    def is_running(self) -> bool:
        """Whether any worker still pulls."""
        return bool(self._loops)

    def stop(self) -> None:
        """End all worker processes."""
        for actor in self._actors.values():
            ray.kill(actor)


def run_on_ray(job: Job, options: ActorOptions) -> Iterator[VideoOutcome | Progress]:
    """Yield finished videos as they come, and progress in between. Ray must be initialised.

    Raises:
        PipelineError: When workers cannot start, or keep dying.
    """
    build = partial(CoordinatorActor, job.tasks, config=job.config, layout=job.layout, stamp=job.stamp)
    coordinator = ray.remote(**options.coordinator)(CoordinatorService).remote(build)
    pool = _Pool(job, options, coordinator)
    try:
        pool.start()
        is_finished = False
        while not is_finished:
            pool.replace_dead(_TICK_S)
            outcomes, progress, is_finished = ray.get(coordinator.poll.remote())
            yield from outcomes
            yield progress
    finally:
        pool.stop()
        ray.kill(coordinator)
