"""What the frame ledger keeps: parts of groups, stretches asked for, and the room that frames take."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.engine.messages.work import Ref

IntArray = npt.NDArray[np.int64]


@dataclass(kw_only=True, slots=True, eq=False)
class GroupParts:
    """What the stretches of a pass give one group, S of them.

    Attributes:
        frames: of the video, by slot; they rise, so what one stretch gives lies side by side.
        cuts: ``(S + 1,)`` stretch s fills the slots ``[cuts[s], cuts[s + 1])``.
        stretches: those that fill any.
        refs: ``(S,)`` bundles; None until they are there.
        workers: ``(S,)`` who stored them.
        is_asked: ``(S,)`` whether somebody was given the stretch for this group.
        num_missing: stretches that are not there.
    """

    frames: IntArray
    cuts: list[int]
    stretches: list[int]
    refs: list[Ref | None]
    workers: list[str]
    is_asked: bytearray
    num_missing: int

    @classmethod
    def build(cls, frames: IntArray, bounds: IntArray) -> "GroupParts":
        """Nothing is there yet; ``bounds`` ``(S - 1,)`` are the first frames of all stretches but the first."""
        cuts = [0, *np.searchsorted(frames, bounds, side="left").tolist(), len(frames)]
        stretches = [index for index, (start, stop) in enumerate(pairwise(cuts)) if start < stop]
        count = len(cuts) - 1
        return cls(
            frames=frames,
            cuts=cuts,
            stretches=stretches,
            refs=[None] * count,
            workers=[""] * count,
            is_asked=bytearray(count),
            num_missing=len(stretches),
        )

    def forget(self, stretch: int) -> None:
        """What a stretch gave is gone."""
        self.refs[stretch], self.workers[stretch], self.is_asked[stretch] = None, "", 0
        self.num_missing += 1


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
