"""Frames of a stretch that a decoder leaves as they are: who scores them decodes them, on its own GPU."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
IN_SCORER = "off (nvdec in the scorer's process)"
"""What a row says of the sandbox of such frames."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Undecoded:
    """What to read, and where.

    Attributes:
        uri: of the video, ``fingerprint`` its version.
        probe: reference to its timeline.
        frame_indices: (n,) of the video, ascending and unique.
        size: (height, width) as displayed.
    """

    uri: str
    fingerprint: str
    probe: Any
    frame_indices: IntArray
    size: tuple[int, int]

    @property
    def key(self) -> tuple[str, tuple[int, int], bytes]:
        """Equal for the same pixels, whoever left them."""
        return self.fingerprint, self.size, self.frame_indices.tobytes()

    @property
    def num_bytes(self) -> int:
        """That its frames take once they are decoded."""
        return len(self.frame_indices) * self.size[0] * self.size[1] * 3


UndecodedPiece = tuple[IntArray, IntArray, Undecoded]
"""As a ``FramePiece``: slots, the row of ``frame_indices`` that each shows, what is to be read."""
