"""A last line for a process that is ended from within a library, or killed: Ray ends a driver whose raylet has died."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

_WELL = "well"
_SCRIPT = f"""
import signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if sys.stdin.read() != "{_WELL}":
    print(sys.argv[1], file=sys.stderr, flush=True)
"""


class Farewell:
    """A small process that holds the other end of a pipe: it speaks where that closes without a word."""

    def __init__(self) -> None:
        """Nobody listens yet."""
        self._listener: subprocess.Popen[str] | None = None

    @contextmanager
    def in_case(self, message: str) -> Iterator[None]:
        """While open, ``message`` is printed to stderr if this process ends in any other way than by its own code."""
        command = [sys.executable, "-I", "-S", "-c", _SCRIPT, message]
        self._listener = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
        try:
            yield
        finally:
            self.say_well()

    def say_well(self) -> None:
        """This process knows of its end."""
        listener, self._listener = self._listener, None
        if listener is not None and listener.stdin is not None:
            with suppress(OSError):  # somebody has ended it
                listener.stdin.write(_WELL)
                listener.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                listener.wait(timeout=5)

    def leave(self, code: int) -> NoReturn:
        """End this process at once: nothing is torn down, no thread is waited for."""
        self.say_well()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
