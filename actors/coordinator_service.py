"""``CoordinatorActor`` behind an event loop: a worker's call waits until there is work for it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from actors.coordinator import CoordinatorActor, VideoOutcome
from pipeline.engine.progress import Progress
from pipeline.engine.work import Batch, Completion, WorkKey
from pipeline.failures import Failure

_LONG_POLL_S = 2.0
_WAKE_COST_S = 1e-4  # of one waiting call that is woken for nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """What the driver learns when it asks.

    Attributes:
        outcomes: finished videos, each named once.
        overdue: workers that have been at it for longer than their role may.
        cancelled: by worker, work that it may drop.
    """

    outcomes: tuple[VideoOutcome, ...]
    progress: Progress
    is_finished: bool
    overdue: tuple[str, ...]
    cancelled: Mapping[str, tuple[WorkKey, ...]]


class CoordinatorService:
    """Plain class; its async methods interleave only where they await."""

    def __init__(self, build: Callable[[], CoordinatorActor], *, patience_s: Mapping[str, float]) -> None:
        """Build the coordinator here, in its own process.

        Args:
            build: makes it.
            patience_s: wall seconds that a batch may take, by role: what a worker's name says before the ``-``.
        """
        self._coordinator, self._patience_s = build(), patience_s
        self._changed = asyncio.Event()
        self._num_waiting, self._is_wake_due = 0, False
        self._due: dict[str, float] = {}

    async def exchange(self, worker: str, completions: Sequence[Completion]) -> Batch:
        """See ``CoordinatorActor``; an empty batch comes back after two seconds at the latest."""
        now_s = asyncio.get_running_loop().time
        self._due.pop(worker, None)
        deadline = now_s() + _LONG_POLL_S
        batch = self._coordinator.exchange(worker, completions)
        if completions:
            self._notify()
        while not (batch.work or batch.retain or batch.released or batch.is_finished):
            self._num_waiting += 1
            try:
                await asyncio.wait_for(self._changed.wait(), deadline - now_s())
            except TimeoutError:
                break
            finally:
                self._num_waiting -= 1
            batch = self._coordinator.exchange(worker, ())
        if batch.work:
            self._due[worker] = now_s() + self._patience_s[worker.partition("-")[0]]
        return batch

    async def lose_worker(self, worker: str, failure: Failure | None) -> None:
        """See ``CoordinatorActor``."""
        self._due.pop(worker, None)
        self._coordinator.lose_worker(worker, failure)
        self._notify()

    async def poll(self) -> JobStatus:
        """Finished videos since the last call, counts, and whose work has become too old or needless."""
        now_s = asyncio.get_running_loop().time()
        return JobStatus(
            outcomes=tuple(self._coordinator.take_outcomes()),
            progress=self._coordinator.progress(),
            is_finished=self._coordinator.is_finished(),
            overdue=tuple(worker for worker, due_s in self._due.items() if due_s < now_s),
            cancelled=self._coordinator.take_cancelled(),
        )

    def _notify(self) -> None:
        """Wake every waiting call soon: the more there are, the later, so that waking takes half the time at most."""
        if not self._is_wake_due:
            self._is_wake_due = True
            asyncio.get_running_loop().call_later(self._num_waiting * _WAKE_COST_S, self._wake)

    def _wake(self) -> None:
        """Who asks from now on waits for the next change."""
        self._is_wake_due = False
        self._changed.set()
        self._changed = asyncio.Event()
