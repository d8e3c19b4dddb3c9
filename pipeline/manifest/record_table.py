"""Many records kept as columns: a million take tens of megabytes, and become Python objects on access, in blocks."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
Record = TypeVar("Record")

BLOCK_ROWS = 16_384
"""Rows that are Python objects at once, wherever a manifest is walked through."""


class RecordTable(Sequence[Record]):
    """Behaves like a tuple of records; a slice is a table again."""

    @abstractmethod
    def take(self, positions: IntArray) -> Self:
        """The records at these positions, in that order, copied into memory of their own."""

    @abstractmethod
    def records(self, start: int, stop: int) -> list[Record]:
        """Those in ``[start, stop)``."""

    def records_per_block(self) -> int:
        """How many hold about ``BLOCK_ROWS`` rows."""
        return BLOCK_ROWS

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Record | Self:
        if isinstance(index, slice):
            return self.take(np.arange(len(self), dtype=np.int64)[index])
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return self.records(position, position + 1)[0]

    def __iter__(self) -> Iterator[Record]:
        for start, stop in pairwise([*range(0, len(self), self.records_per_block()), len(self)]):
            yield from self.records(start, stop)
