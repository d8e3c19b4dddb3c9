"""Videos that wait for the same thing, oldest first."""

from bisect import bisect_left, insort
from collections.abc import Iterator


class AgeQueue:
    """Ages (smaller is older) in order; adding and removing are idempotent."""

    def __init__(self) -> None:
        self._ages: list[int] = []

    def put(self, age: int, *, is_in: bool) -> None:
        """Add or remove."""
        at = bisect_left(self._ages, age)
        found = at < len(self._ages) and self._ages[at] == age
        if is_in and not found:
            insort(self._ages, age)
        elif found and not is_in:
            del self._ages[at]

    def __iter__(self) -> Iterator[int]:
        """Oldest first; what is removed or added meanwhile needs a new iteration."""
        return iter(self._ages)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._ages)
