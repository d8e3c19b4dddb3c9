"""Failed rows that may give way to new ones: where each lies, and how often its question was tried."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.results.key_set import KeySet, find_key
from pipeline.results.row_index import RowIndex


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedRow:
    """One of them.

    Attributes:
        path: of the file that holds it.
        question_key: of the row.
        num_runs: that had tried the question.
    """

    path: str
    question_key: str
    num_runs: int


class FailedRows(Mapping[str, FailedRow]):
    """Question key -> its failed row, where that is the one that counts; in columns, as there may be a million."""

    def __init__(self, index: RowIndex) -> None:
        """Those of an index; its ``best`` rows are sorted by key."""
        rows = index.best[~index.is_ok[index.best]]
        self._keys, self._files, self._num_runs = index.keys[rows], index.files[rows], index.num_runs[rows]
        self._is_open, asked = index.is_open[rows], index.asked[rows]
        self._by_asked = np.argsort(asked, kind="stable")
        self._asked = asked[self._by_asked]
        self._paths = [part.path for part in index.parts]

    def standing(self, *, max_runs: int) -> KeySet:
        """Keys whose failure is no matter of circumstance, or that this many runs have tried."""
        return KeySet(self._keys[~self._is_open | (self._num_runs >= max_runs)])

    def of_question(self, asked: int) -> FailedRow | None:
        """A failed row of a question by `hash_asked`, whatever its key."""
        at = int(self._asked.searchsorted(np.uint64(asked)))
        is_there = at < len(self._asked) and int(self._asked[at]) == asked
        return self._row(int(self._by_asked[at])) if is_there else None

    def __getitem__(self, key: str) -> FailedRow:
        position = find_key(self._keys, key)
        if position is None:
            raise KeyError(key)
        return self._row(position)

    def _row(self, position: int) -> FailedRow:
        return FailedRow(
            path=self._paths[self._files[position]],
            question_key=self._keys[position].decode(),
            num_runs=int(self._num_runs[position]),
        )

    def __iter__(self) -> Iterator[str]:
        return (key.decode() for key in self._keys.tolist())

    def __len__(self) -> int:
        return len(self._keys)
