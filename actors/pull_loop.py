"""A worker process on Ray: asks for work, does it, and reports with the next question."""

from collections.abc import Callable, Collection
from typing import Any

import ray

from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.messages.work import Completion
from pipeline.failures import DeviceLostError, Failure, PipelineError

CONTROL = "control"
"""Concurrency group of the calls that are heard while ``run`` is busy: it has one thread beside the one that works."""


class PullLoop:
    """Plain class, one per worker process. Its subclasses only name roles, for process lists and dashboards."""

    def __init__(self, build_worker: Callable[[], Any]) -> None:
        self._build_worker = build_worker
        self._worker: Any = None

    def greet(self) -> None:
        """Answers once the process is there: how long it waits for room says nothing about it."""

    def load(self) -> Failure | dict[str, str]:
        """Build the worker, which may load a checkpoint; returns how it works, in words, or why it cannot."""
        try:
            self._worker = self._build_worker()
        except PipelineError as error:
            return error.to_failure()
        return dict(self._worker.ways)

    def run(self, name: str, coordinator: Any) -> Failure | None:
        """Work for one coordinator, until it says that the job has ended, or does not answer any more.

        Returns why this process can work no more, which ends it; what it was given is done again elsewhere.
        """
        completions: list[Completion] = []
        try:
            self._worker.start_over()
            while True:
                batch = ray.get(coordinator.exchange.remote(name, completions))
                if batch.is_finished:
                    return None
                completions = self._worker.run_batch(batch)
        except DeviceLostError as error:
            return error.to_failure()

    def ping(self) -> None:
        """In the other thread: the process runs, whatever it is busy with."""

    def cancel(self, keys: Collection[WorkKey]) -> None:
        """In the other thread: some of the work at hand is no longer needed."""
        if self._worker is not None:
            self._worker.cancel(keys)


class Decoder(PullLoop):
    """Reads videos."""


class Scorer(PullLoop):
    """Scores groups, and answers unless there are answerers."""


class Answerer(PullLoop):
    """Runs final passes only."""
