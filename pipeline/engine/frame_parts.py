"""What the frame ledger keeps: parts of groups, stretches asked for, and the room that frames take."""

from collections import Counter
from dataclasses import dataclass

from pipeline.engine.decode_work import SlotRange
from pipeline.engine.work import Ref


@dataclass(kw_only=True, slots=True, eq=False)
class Part:
    """What one stretch gives one group; ``ref`` is None until it is there, ``is_asked`` while it is being read."""

    slots: SlotRange
    ref: Ref | None = None
    worker: str = ""
    is_asked: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A stretch that is to be read for some groups."""

    pass_index: int
    stretch: int
    positions: tuple[int, ...]


class FrameRoom:
    """One video's. A bundle holds frames of ``size`` groups that follow each other, and goes as a whole."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._bytes: Counter[int] = Counter()  # by bundle
        self._num_groups: Counter[int] = Counter()
        self.reserved_bytes = 0

    def reserve(self, position: int, num_bytes: int) -> None:
        """Before a group is read."""
        bundle = position // self._size
        self._bytes[bundle] += num_bytes
        self._num_groups[bundle] += 1
        self.reserved_bytes += num_bytes

    def release(self, position: int) -> None:
        """A group that was reserved is scored, or not needed."""
        bundle = position // self._size
        self._num_groups[bundle] -= 1
        if not self._num_groups[bundle]:
            self.reserved_bytes -= self._bytes.pop(bundle)
