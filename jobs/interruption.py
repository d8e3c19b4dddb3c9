"""Ctrl-C and a scheduler's SIGTERM as one exception that knows its exit code."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class InterruptedBySignalError(BaseException):
    """Not an ``Exception``: no code on the way but the job's own end may handle it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"signal {signal_number}")
        self.exit_code = 128 + signal_number


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raise ``InterruptedBySignalError`` on SIGINT (130) and SIGTERM (143); outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        raise InterruptedBySignalError(signal_number)

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
