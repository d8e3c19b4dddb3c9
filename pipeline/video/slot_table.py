"""Which slots of which groups a stretch of video fills."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FramePiece = tuple[IntArray, IntArray, npt.NDArray[np.uint8]]
"""What one stretch gives one group: slots, the row of the frames that each shows, frames; a repeated one once."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SlotTable:
    """Which slots of which groups show which frames, as four arrays, because there are thousands.

    Row j of group ``positions[i]`` is ``slots[starts[i] + j]``, which shows the video's ``frames[starts[i] + j]``.
    """

    positions: tuple[int, ...]
    starts: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]

    def items(self) -> Iterator[tuple[int, IntArray, IntArray]]:
        """Group position, its slots, the frames they show."""
        for index, position in enumerate(self.positions):
            rows = slice(self.starts[index], self.starts[index + 1])
            yield position, self.slots[rows], self.frames[rows]
