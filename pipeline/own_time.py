"""A clock for whoever waits for others: a process that stood still itself has not waited."""

MOST_STEP_S = 5.0


class OwnTime:
    """Time that stands still while the process that tells it does.

    Where it was stopped itself (Ctrl-Z, then fg; a machine that was paused), the others' answers lie unread: that was
    no silence of theirs. So between two looks at most ``MOST_STEP_S`` go by.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self._told_s: float | None = None

    def tell(self, clock_s: float) -> float:
        """What a clock says that does not go back; returns ``now_s``."""
        if self._told_s is not None:
            self.now_s += min(clock_s - self._told_s, MOST_STEP_S)
        self._told_s = clock_s
        return self.now_s
