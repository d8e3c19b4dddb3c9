"""Says what a job waits for where that takes long, and ends the wait where it may take no longer."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jobs.wiring.logs import LOG

FIRST_WORD_S = 30.0
_LOOK_EVERY_S = 1.0


@dataclass(kw_only=True, slots=True, eq=False)
class _Wait:
    what: str
    since_s: float
    limit_s: float | None
    remedy: str
    next_word_s: float


class LongWaits:
    """Looks from a thread of its own: what hangs in a system call or in a library cannot look itself.

    A wait is mentioned after 30 s, then after twice as long each time; past its limit ``on_overdue`` is called, once,
    in that thread, and has to end the process.
    """

    def __init__(self, on_overdue: Callable[[str], None], *, now_s: Callable[[], float] = time.monotonic) -> None:
        """Wait for nothing yet."""
        self._on_overdue, self._now_s = on_overdue, now_s
        self._open: list[_Wait] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_idle = threading.Event()

    @contextmanager
    def over(self, what: str, *, limit_s: float | None = None, remedy: str = "") -> Iterator[None]:
        """While open, ``what`` is waited for: ``the commit of video a.mp4 to s3://…``."""
        now_s = self._now_s()
        wait = _Wait(what=what, since_s=now_s, limit_s=limit_s, remedy=remedy, next_word_s=now_s + FIRST_WORD_S)
        with self._lock:
            self._open.append(wait)
            self._is_idle.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, daemon=True, name="long-waits")
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._open.remove(wait)
                if not self._open:
                    self._is_idle.set()

    def check(self) -> str | None:
        """Mention what is due; returns what is overdue."""
        now_s = self._now_s()
        with self._lock:
            waits = [*self._open]
        for wait in waits:
            lasted_s = now_s - wait.since_s
            if wait.limit_s is not None and lasted_s > wait.limit_s:
                return f"{wait.what} has not come through in {wait.limit_s:g} s{wait.remedy and '; ' + wait.remedy}"
            if now_s >= wait.next_word_s:
                wait.next_word_s = wait.since_s + 2 * (wait.next_word_s - wait.since_s)
                LOG.warning("still waiting for %s, for %.0f s", wait.what, lasted_s)
        return None

    def _look(self) -> None:
        while True:
            if self._is_idle.wait(_LOOK_EVERY_S):
                with self._lock:
                    if not self._open:
                        self._thread = None  # the next wait starts another one
                        return
            overdue = self.check()
            if overdue is not None:
                self._on_overdue(overdue)
                return
