"""Whether worker processes still run: each is asked now and then in its second thread, which no work keeps busy.

A process that is stopped, swapped out or on a node that does not answer is found by this, whatever it was doing; one
that runs and gets nowhere is found by ``pipeline.engine.patience``.
"""

from dataclasses import dataclass
from typing import Any

import ray

PERIOD_S = 10.0
SILENCE_S = 30.0
LOADING_SILENCE_S = 120.0  # importing and unpickling hold the interpreter


@dataclass(kw_only=True, slots=True, eq=False)
class Pulse:
    """What is known of one process."""

    last_s: float
    call: Any = None
    asked_s: float = 0.0

    def is_lost(self, now_s: float, *, silence_s: float) -> bool:
        """Whether it has left a question open for too long."""
        return self.call is not None and now_s - self.asked_s > silence_s


def ask(pulses: dict[str, tuple[Pulse, Any]], *, group: str, now_s: float) -> None:
    """Take in which processes have answered, and ask those again that did so some time ago; waits for nobody.

    Args:
        pulses: worker -> what is known of it, and its actor.
        group: the concurrency group in which actors hear this.
        now_s: of the asking process's own time.
    """
    open_calls = {pulse.call: pulse for pulse, _ in pulses.values() if pulse.call is not None}
    if open_calls:
        answered, _ = ray.wait(list(open_calls), num_returns=len(open_calls), timeout=0)
        for call in answered:  # also of one that is dead: the call that it is busy with will say so
            open_calls[call].call, open_calls[call].last_s = None, now_s
    for pulse, actor in pulses.values():
        if pulse.call is None and now_s - pulse.last_s > PERIOD_S:
            pulse.call, pulse.asked_s = actor.ping.options(concurrency_group=group).remote(), now_s
