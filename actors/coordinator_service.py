"""``CoordinatorActor`` behind an event loop: a worker's call waits until there is work for it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actors.coordinator import CoordinatorActor, VideoOutcome
from pipeline.engine.progress import Progress
from pipeline.engine.work import Batch, Completion, DecodeWork, ProbeWork
from pipeline.failures import Failure

_LONG_POLL_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """What the driver learns when it asks. ``overdue`` are workers that have read a video for too long."""

    outcomes: tuple[VideoOutcome, ...]
    progress: Progress
    is_finished: bool
    overdue: tuple[str, ...]


class CoordinatorService:
    """Plain class; its async methods interleave only where they await."""

    def __init__(self, build: Callable[[], CoordinatorActor], *, decode_timeout_s: float) -> None:
        self._coordinator, self._decode_timeout_s = build(), decode_timeout_s
        self._changed = asyncio.Event()
        self._reading_since: dict[str, float] = {}

    async def exchange(self, worker: str, completions: Sequence[Completion]) -> Batch:
        """See ``CoordinatorActor``; an empty batch comes back after two seconds at the latest."""
        now_s = asyncio.get_running_loop().time
        self._reading_since.pop(worker, None)
        deadline = now_s() + _LONG_POLL_S
        batch = self._coordinator.exchange(worker, completions)
        if completions:
            self._notify()
        while not (batch.work or batch.retain or batch.released or batch.is_finished):
            try:
                await asyncio.wait_for(self._changed.wait(), deadline - now_s())
            except TimeoutError:
                break
            batch = self._coordinator.exchange(worker, ())
        if any(isinstance(work, ProbeWork | DecodeWork) for work in batch.work):
            self._reading_since[worker] = now_s()
        return batch

    async def lose_worker(self, worker: str, failure: Failure | None) -> None:
        """See ``CoordinatorActor``."""
        self._reading_since.pop(worker, None)
        self._coordinator.lose_worker(worker, failure)
        self._notify()

    async def poll(self) -> JobStatus:
        """Finished videos since the last call, counts, and workers that hang."""
        started_before = asyncio.get_running_loop().time() - self._decode_timeout_s
        return JobStatus(
            outcomes=tuple(self._coordinator.take_outcomes()),
            progress=self._coordinator.progress(),
            is_finished=self._coordinator.is_finished(),
            overdue=tuple(worker for worker, since in self._reading_since.items() if since < started_before),
        )

    def _notify(self) -> None:
        """Wake every waiting call; who asks from now on waits for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()
