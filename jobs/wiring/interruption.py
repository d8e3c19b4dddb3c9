"""Ctrl-C and a scheduler's SIGTERM as one exception, and the exit code they mean; a second signal ends all at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from jobs.wiring.farewell import Farewell

TEARDOWN_S = 20.0  # for the last files and for ending Ray; schedulers kill after 30


class InterruptedBySignalError(KeyboardInterrupt):
    """Not an ``Exception``: no code on the way but the job's own end may handle it.

    Ray's waits let only a ``KeyboardInterrupt`` through (any other becomes a ``SystemError``), and that as a plain one:
    catch ``KeyboardInterrupt``, and ask the guard for the exit code.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"signal {signal_number}")


class SignalGuard:
    """What a signal does: the first one raises, once nothing holds it back; any later one leaves no time for that.

    Attributes:
        last_words: Called with the exit code before anything is torn down: a Ray that got the same signal may be gone,
            and then its client ends this process.
        farewell: Speaks where that happens without a signal.
    """

    def __init__(self) -> None:
        self.last_words: Callable[[int], None] = _say_nothing
        self.farewell = Farewell()
        self._first: int | None = None
        self._num_holds = 0
        self._end: threading.Timer | None = None

    @property
    def exit_code(self) -> int:
        """Of a process that the first signal ended."""
        return 128 + (self._first or signal.SIGINT)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let what is inside end first: a signal that comes meanwhile is raised after it."""
        self._num_holds += 1
        try:
            yield
        finally:
            self._num_holds -= 1
        if self._first is not None and not self._num_holds:
            self._interrupt(self._first)

    def receive(self, signal_number: int, frame: FrameType | None = None) -> None:
        """A signal's handler."""
        if self._first is not None:
            self.farewell.leave(128 + signal_number)
        self._first = signal_number
        if not self._num_holds:
            self._interrupt(signal_number)

    def release(self) -> None:
        """Everything has been torn down in time."""
        if self._end is not None:
            self._end.cancel()

    def _interrupt(self, signal_number: int) -> None:
        self._end = threading.Timer(TEARDOWN_S, self.farewell.leave, (128 + signal_number,))
        self._end.daemon = True
        self._end.start()
        self.last_words(128 + signal_number)
        raise InterruptedBySignalError(signal_number)


def _say_nothing(exit_code: int) -> None:
    pass


@contextmanager
def raise_on_signals() -> Iterator[SignalGuard]:
    """Raise ``InterruptedBySignalError`` on SIGINT (130) and SIGTERM (143); outside the main thread nothing changes."""
    guard = SignalGuard()
    if threading.current_thread() is not threading.main_thread():
        yield guard
        return
    previous = {number: signal.signal(number, guard.receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield guard
    finally:
        guard.release()
        for number, handler in previous.items():
            signal.signal(number, handler)
