"""How many bytes decoded frames may take: what is configured, until object stores and disks turn out not to hold it.

A worker that finds them full has waited, then says so. The room is halved, who holds or is planned for more starts over
in smaller readings, and the job goes on slower. Where one group alone finds no room for ``reading.outage_s``, it ends:
nothing has failed, and the same command goes on once there is room. Pure; the clock is the caller's.
"""

from dataclasses import dataclass

from pipeline.failures import Failure

_LOOK_EVERY_S = 15.0
"""Who finds it full within this time speaks of the same: a worker waits longer than that before it says so."""


@dataclass(kw_only=True, slots=True, eq=False)
class FrameAllowance:
    """What may be reserved for frames.

    Attributes:
        num_bytes: at present.
        patience_s: how long one group alone may find no room.
        outage: why the job cannot go on; None while it can.
    """

    num_bytes: int
    patience_s: float
    outage: Failure | None = None
    _next_s: float = 0.0
    _since_s: float | None = None

    def note_full(self, failure: Failure, *, held_bytes: int, group_bytes: int, now_s: float) -> None:
        """A worker found no room.

        Args:
            failure: what it said.
            held_bytes: reserved at the moment, which is too much.
            group_bytes: of the largest group of the video at hand, without which it cannot get on.
            now_s: time.
        """
        if held_bytes > group_bytes:
            self._since_s = None
        else:
            self.note_stuck(failure, f"one group's frames alone, {group_bytes / 1e6:.0f} MB, have", now_s=now_s)
        if now_s >= self._next_s:
            self._next_s = now_s + _LOOK_EVERY_S
            self.num_bytes = max(1, group_bytes, min(self.num_bytes, held_bytes) // 2)

    def note_stuck(self, failure: Failure, what: str, *, now_s: float) -> None:
        """No room, and fewer frames would help nobody: what waits, in words, with "has" or "have"."""
        if self._since_s is None:
            self._since_s = now_s
        elif now_s - self._since_s >= self.patience_s:
            self.outage = Failure(
                failure_class=failure.failure_class,
                message=f"{failure.message}. For {now_s - self._since_s:.0f} s (reading.outage_s) {what} found no "
                "room; nothing failed: when there is some, the same command goes on",
            )

    def note_stored(self) -> None:
        """Something has found room."""
        self._since_s = None
