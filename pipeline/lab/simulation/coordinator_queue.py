"""One coordinator serves one call at a time, in order of arrival: when each ends, and how busy that keeps it."""

import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.lab.simulation.messages import Load
from pipeline.lab.simulation.settings import CoordinatorTimes

Reply = TypeVar("Reply")
_NOTHING = Load(0, 0)


class CoordinatorQueue:
    """A single server. Calls must be served in order of their arrival.

    Attributes:
        free_at_s: when the last call served so far ends.
        busy_s: seconds of service in all; ``decision_s`` the part that the state machine took.
        waited_s: seconds that calls waited in all; ``longest_wait_s`` the longest of them.
    """

    def __init__(self, times: CoordinatorTimes) -> None:
        self._times = times
        self.free_at_s = self.busy_s = self.decision_s = self.waited_s = self.longest_wait_s = 0.0
        self.num_calls = self.num_decisions = self.num_completions = 0

    def serve(
        self, arrival_s: float, decide: Callable[[], Reply], *, num_completions: int = 0, load: Load = _NOTHING
    ) -> tuple[Reply, float]:
        """A call with so much in it; returns the reply and when it is sent."""
        waited_s = max(0.0, self.free_at_s - arrival_s)
        self.waited_s += waited_s
        self.longest_wait_s = max(self.longest_wait_s, waited_s)
        self.num_calls += 1
        self.num_completions += num_completions
        self._occupy(arrival_s, self._times.call_s + self._carry_s(load))
        return self.decide(arrival_s, decide, num_completions=num_completions)

    def decide(self, now_s: float, decide: Callable[[], Reply], *, num_completions: int = 0) -> tuple[Reply, float]:
        """Ask the state machine without a call from outside: for a worker that waits for its reply."""
        if self._times.decision_s is None:
            started = time.thread_time()
            reply = decide()
            seconds = time.thread_time() - started
        else:
            reply, seconds = decide(), self._times.decision_s * num_completions
        self.num_decisions += 1
        self.decision_s += seconds
        self._occupy(now_s, seconds)
        return reply, self.free_at_s

    def send(self, load: Load) -> float:
        """What the reply that was last decided on carries; returns when it is sent."""
        self._occupy(self.free_at_s, self._carry_s(load))
        return self.free_at_s

    def _carry_s(self, load: Load) -> float:
        return load.num_records * self._times.record_s + load.num_references * self._times.reference_s

    def _occupy(self, arrival_s: float, seconds: float) -> None:
        self.free_at_s = max(self.free_at_s, arrival_s) + seconds
        self.busy_s += seconds
