"""A batch, piece by piece, while another thread may say that some of it is no longer needed."""

import threading
from collections.abc import Callable, Collection, Sequence

from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.messages.work import Cancelled, Completion, Work
from pipeline.failures import Failure


def _let_it_end() -> None:
    """What cannot be broken off runs to its end."""


class BatchRun:
    """One batch at a time. ``abort`` is called only while the piece that is cancelled is running."""

    def __init__(self, run: Callable[[Work], Completion], *, abort: Callable[[], None] = _let_it_end) -> None:
        self._run, self._abort = run, abort
        self._lock = threading.Lock()
        self._given: set[WorkKey] = set()
        self._cancelled: set[WorkKey] = set()
        self._running: WorkKey | None = None

    def run(self, works: Sequence[Work]) -> list[Completion]:
        """All pieces in order; what was cancelled before it began, or broke off because of it, ends as `Cancelled`."""
        with self._lock:
            self._given, self._cancelled = {work.key for work in works}, set()
        return [self._run_piece(work) for work in works]

    def cancel(self, keys: Collection[WorkKey]) -> None:
        """From another thread. Keys of other batches are ignored: they have been reported, or will be done in vain."""
        with self._lock:
            self._cancelled |= self._given.intersection(keys)
            if self._running in self._cancelled:
                self._abort()

    def _run_piece(self, work: Work) -> Completion:
        with self._lock:
            if work.key in self._cancelled:
                return Completion(key=work.key, result=Cancelled())
            self._running = work.key
        completion = self._run(work)
        with self._lock:
            self._running = None
            is_broken_off = work.key in self._cancelled and isinstance(completion.result, Failure)
        return Completion(key=work.key, result=Cancelled()) if is_broken_off else completion
