"""The job's worker processes on Ray: started together, pulling on their own, replaced when they die."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from actors.builders import Job, build_decode_worker, build_model_worker
from actors.store import RayStore
from pipeline.engine.job_state import DECODER, SCORER
from pipeline.engine.work import Completion
from pipeline.failures import Failure, FailureClass, PipelineError


class PullLoop:
    """A worker process: asks for work, does it, and reports with the next question."""

    def __init__(self, build_worker: Callable[[], Any]) -> None:
        self._build_worker, self._worker = build_worker, None

    def load(self) -> Failure | None:
        """Build the worker, which may load a checkpoint; returns why that cannot be done."""
        try:
            self._worker = self._build_worker()
        except PipelineError as error:
            return error.to_failure()
        return None

    def run(self, name: str, coordinator: Any) -> None:
        """Until the job has ended."""
        worker = self._worker or self._build_worker()
        completions: list[Completion] = []
        while True:
            batch = ray.get(coordinator.exchange.remote(name, completions))
            if batch.is_finished:
                return
            completions = worker.run_batch(batch)


class WorkerPool:
    """All worker actors of a job, and which of their loops still run."""

    def __init__(self, job: Job, *, scorer: dict[str, Any], decoder: dict[str, Any], coordinator: Any) -> None:
        self._job, self._coordinator = job, coordinator
        self._options = {SCORER: scorer, DECODER: decoder}
        self._actors: dict[str, Any] = {}
        self._loops: dict[Any, str] = {}
        self._killed: dict[str, Failure] = {}
        self._numbers = itertools.count()
        self.renew_patience()

    def renew_patience(self) -> None:
        """A video has ended, so the job gets on: workers may die as often again."""
        execution = self._job.config.execution
        self._respawns_left = (execution.max_attempts + 1) * (execution.num_scorers + execution.num_decoders)

    def start(self) -> None:
        """Start all workers.

        Raises:
            PipelineError: A checkpoint that cannot be loaded ends the job here, with its own message.
        """
        execution = self._job.config.execution
        for role, count in ((SCORER, execution.num_scorers), (DECODER, execution.num_decoders)):
            for _ in range(count):
                self._spawn(role)
        try:
            failures = ray.get([actor.load.remote() for actor in self._actors.values()])
        except RayError as error:
            raise PipelineError(FailureClass.INTERNAL, f"a worker could not start: {error}") from error
        for failure in failures:
            if failure is not None:
                raise PipelineError(failure.failure_class, failure.message)
        for name in self._actors:
            self._run(name)

    def _spawn(self, role: str) -> str:
        """Names are never used again: a call of a dead worker may still wait at the coordinator."""
        name = f"{role}-{next(self._numbers)}"
        build = build_model_worker if role == SCORER else build_decode_worker
        self._actors[name] = ray.remote(**self._options[role])(PullLoop).remote(partial(build, self._job, RayStore()))
        return name

    def _run(self, name: str) -> None:
        self._loops[self._actors[name].run.remote(name, self._coordinator)] = name

    def kill(self, name: str, failure: Failure) -> None:
        """End a worker that hangs; the video it reads fails with ``failure``, or starts over."""
        if name in self._actors:
            self._killed[name] = failure
            ray.kill(self._actors[name])

    def replace_dead(self, timeout_s: float) -> None:
        """Wait a moment; whatever worker has died is replaced, and its work is done again.

        Raises:
            PipelineError: When workers keep dying while no video ends, or one has come upon a bug.
        """
        ended, _ = ray.wait(list(self._loops), num_returns=1, timeout=timeout_s)
        for loop in ended:
            name = self._loops.pop(loop)
            try:
                ray.get(loop)
            except RayError as error:
                self._replace(name, error)

    def _replace(self, name: str, error: RayError) -> None:
        del self._actors[name]
        if isinstance(error, RayTaskError):
            if isinstance(error, RayActorError):  # the coordinator is gone: the driver will notice
                return
            if not isinstance(error.cause, PipelineError):
                raise PipelineError(FailureClass.INTERNAL, f"{name} came upon a bug: {error}") from error
        if self._respawns_left == 0:
            raise PipelineError(FailureClass.WORKER_LOST, f"workers keep dying, last {name}: {error}") from error
        self._respawns_left -= 1
        ray.get(self._coordinator.lose_worker.remote(name, self._killed.pop(name, None)))
        self._run(self._spawn(name.partition("-")[0]))

    def stop(self) -> None:
        """End all worker processes."""
        for actor in self._actors.values():
            ray.kill(actor)
