"""The end of a job whose main thread hangs: in Ray, or in a storage that takes a file and never says so."""

import sys
import threading
from collections.abc import Callable

from jobs.wiring.exit_codes import EXIT_JOB
from jobs.wiring.interruption import TEARDOWN_S, SignalGuard
from jobs.wiring.logs import LOG

ENDED_WITHOUT_A_WORD = (
    "the job's process was ended from outside its own code: Ray's process on this node (raylet) has died, or it was "
    "killed, as for memory. What is committed stays: type the same command, and it goes on from there; "
    "ray stop --force ends what is left of Ray"
)


class GivingUp:
    """Called from another thread with the reason: writes what can be written, ends a Ray of this job, and leaves."""

    def __init__(self, guard: SignalGuard, write_summary: Callable[[int], object]) -> None:
        """Nothing is ended yet; ``write_summary`` takes the exit code."""
        self._guard, self._write_summary = guard, write_summary

    def __call__(self, reason: str) -> None:
        """Does not return."""
        LOG.error("%s", reason)
        hurry = threading.Timer(TEARDOWN_S, self._guard.farewell.leave, (EXIT_JOB,))  # what follows may hang, too
        hurry.daemon = True
        hurry.start()
        try:
            self._write_summary(EXIT_JOB)
            end_local_ray()
        finally:
            self._guard.farewell.leave(EXIT_JOB)

    def leave_if_stuck(self, code: int) -> None:
        """At the end of a job: where Ray could not be ended, Python's own end would wait for it."""
        session = sys.modules.get("cluster.session")
        if session is not None and session.is_stuck():
            self._guard.farewell.leave(code)


def end_local_ray() -> None:
    """Kill a Ray that this job has started, hung or not, if any."""
    session = sys.modules.get("cluster.session")  # imported where Ray is used
    if session is not None:
        session.end_local_ray()
