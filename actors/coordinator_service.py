"""``JobState`` behind an event loop: a worker's call waits until there is work for it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from actors.outcomes import VideoOutcome, take_outcomes
from actors.span_clock import SpanClock
from pipeline.engine.job_state import JobState
from pipeline.engine.messages.keys import Role, WorkKey, role_of
from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.messages.work import Batch, Completion
from pipeline.engine.patience import Overdue, WorkerPatience
from pipeline.engine.policy import long_poll_s
from pipeline.engine.progress import Progress
from pipeline.failures import Failure
from pipeline.own_time import OwnTime
from pipeline.results.rows import RunStamp


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """What the driver learns when it asks.

    Attributes:
        outcomes: finished videos, each named once.
        overdue: workers that are silent, or have been at it for too long; each is named once.
        cancelled: by worker, work that it may drop.
        spent: what each piece of work took that was done since the last time.
        outage: why the job cannot go on, if so.
    """

    outcomes: tuple[VideoOutcome, ...]
    progress: Progress
    is_finished: bool
    overdue: tuple[Overdue, ...]
    cancelled: Mapping[str, tuple[WorkKey, ...]]
    spent: tuple[StageSeconds, ...] = ()
    outage: Failure | None = None


def is_empty(batch: Batch) -> bool:
    """Whether a reply says nothing."""
    return not (batch.work or batch.retain or batch.released or batch.is_finished)


class CoordinatorService:
    """Plain class; its async methods interleave only where they await."""

    def __init__(
        self,
        build: Callable[[], JobState],
        *,
        stamp: RunStamp,
        patience_s: Mapping[Role, float],
        least_s: Mapping[Role, float] = MappingProxyType({}),
        is_traced: bool = False,
    ) -> None:
        """Build the state here, in the coordinator's own process.

        Args:
            build: makes it.
            stamp: what all rows of the run carry.
            patience_s: wall seconds that a batch may take at most.
            least_s: what is waited for one whatever others took.
            is_traced: outcomes say when their video's stages began and ended.
        """
        self._state, self._stamp, self._patience = build(), stamp, WorkerPatience(patience_s, least_s)
        self._waiting: dict[Role, dict[str, asyncio.Future[Batch]]] = {}  # role -> worker, longest wait first
        self._is_wake_due, self._own_time = False, OwnTime()
        self._spent: list[StageSeconds] = []
        self._clock = SpanClock() if is_traced else None

    async def exchange(self, worker: str, completions: Sequence[Completion]) -> Batch:
        """See ``JobState``; an empty batch comes back after ``long_poll_s`` at the latest.

        It comes back at once to a worker that holds a piece of work back: that is what it should report then.
        """
        self._patience.note_call(worker, [completion.key for completion in completions], now_s=self._now_s())
        self._spent += [completion.seconds for completion in completions]
        if self._clock is not None:
            self._clock.note_done(completions)
        self._state.tell_time(self._now_s())
        batch = self._state.exchange(worker, completions)
        if completions:
            self._notify()
        if is_empty(batch) and not self._patience.num_held(worker):
            batch = await self._wait(worker)
        if self._clock is not None:
            self._clock.note_given(work.key for work in batch.work)
        if batch.is_finished:
            self._patience.forget(worker)  # it does not ask again
        else:
            self._patience.note_reply(worker, [work.key for work in batch.work], now_s=self._now_s())
        return batch

    async def expect(self, workers: Sequence[str]) -> None:
        """These have been told to work for this coordinator: one that does not ask is lost."""
        for worker in workers:
            self._patience.expect(worker, now_s=self._now_s())

    async def _wait(self, worker: str) -> Batch:
        waiting = self._waiting.setdefault(role_of(worker), {})
        reply: asyncio.Future[Batch] = asyncio.get_running_loop().create_future()
        waiting[worker] = reply
        try:
            return await asyncio.wait_for(reply, long_poll_s(len(waiting)))
        except TimeoutError:
            self._state.tell_time(self._now_s())
            return self._state.exchange(worker, ())
        finally:
            if waiting.get(worker) is reply:
                del waiting[worker]

    async def lose_worker(self, worker: str, failure: Failure | None) -> None:
        """See ``JobState``."""
        self._patience.forget(worker)
        self._state.lose_worker(worker, failure)
        self._notify()

    async def poll(self) -> JobStatus:
        """Finished videos since the last call, counts, and whose work has become too old or needless."""
        now_s = self._now_s()
        if self._state.tell_time(now_s):
            self._notify()
        spent, self._spent = tuple(self._spent), []
        return JobStatus(
            outcomes=tuple(take_outcomes(self._state, self._stamp, self._clock)),
            progress=self._state.progress,
            is_finished=self._state.is_finished,
            overdue=tuple(self._patience.overdue(now_s)),
            cancelled=self._state.take_cancelled(),
            spent=spent,
            outage=self._state.outage,
        )

    def _now_s(self) -> float:
        return self._own_time.tell(asyncio.get_running_loop().time())

    def _notify(self) -> None:
        """Once all calls that have arrived are served, see what there is for those who wait."""
        if not self._is_wake_due:
            self._is_wake_due = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        """Ask for each role until one of it gets nothing, then for those only that have mail.

        Who may not take what others may (a video that failed on it) is asked again after its long poll at the latest.
        """
        self._is_wake_due = False
        for waiting in self._waiting.values():
            for worker in [*waiting]:
                if not self._answer(waiting, worker):
                    break
            for worker in self._state.with_mail & waiting.keys():
                self._answer(waiting, worker)

    def _answer(self, waiting: dict[str, asyncio.Future[Batch]], worker: str) -> bool:
        """End a wait, if there is anything; returns whether."""
        if waiting[worker].done():
            return True
        batch = self._state.exchange(worker, ())
        if is_empty(batch):
            return False
        waiting[worker].set_result(batch)
        return True
