"""Which file holds which question's row, and which row counts: what planning and compaction need to know of all files.

Columns of numbers, not objects: a million rows take about 80 MB.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pipeline.results.key_set import KeyArray, encode_keys
from pipeline.results.part_files import AnswersFolder, PartFile
from pipeline.results.row_choice import RANK_COLUMNS, finish_times

_Rows = npt.NDArray[np.void]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class RowIndex:
    """Rows of all files, ``(n,)`` each; `read_index` makes one.

    Attributes:
        parts: Files, by path.
        files: Position in ``parts`` of each row's file.
        keys: Question keys.
        is_ok: Whether the row's status is ``ok``.
        best: ``(num_keys,)`` the row that counts for each key, sorted by key. Of rows that rank the same, that in the
            file with more rows: copies end up in the merged file.
        best_of_rows: Position in ``best`` of each row's key.
    """

    parts: tuple[PartFile, ...]
    files: _Ints
    keys: KeyArray
    is_ok: npt.NDArray[np.bool_]
    best: _Ints
    best_of_rows: _Ints


def read_index(folder: AnswersFolder) -> RowIndex:
    """Read what decides which rows count, of all files.

    Raises:
        ValueError: A result file is not readable; names it.
        OSError: The folder cannot be listed.
    """
    found = folder.read_all(partial(_read_rows, folder))
    num_rows = np.array([len(rows) for _, rows in found], np.int64)
    files = np.repeat(np.arange(len(found)), num_rows)
    rows = np.concatenate([rows for _, rows in found]) if found else _pack(np.empty(0, "S1"), 0, 0, 0)
    order = np.lexsort((-files, num_rows[files], rows["run"], rows["finished"], rows["is_ok"], rows["key"]))
    keys = rows["key"][order]
    is_last = np.ones(len(order), bool)
    is_last[:-1] = keys[1:] != keys[:-1]
    best_of_rows = np.empty(len(order), np.int64)
    best_of_rows[order] = np.cumsum(is_last) - is_last
    return RowIndex(
        parts=tuple(part for part, _ in found),
        files=files,
        keys=rows["key"],
        is_ok=rows["is_ok"],
        best=order[is_last],
        best_of_rows=best_of_rows,
    )


def _read_rows(folder: AnswersFolder, part: PartFile) -> _Rows:
    table = folder.read_part(part, RANK_COLUMNS)
    return _pack(
        encode_keys(table.column("question_key")),
        pc.equal(table.column("status"), "ok").fill_null(False).to_numpy(),
        finish_times(table),
        encode_keys(table.column("run_id").fill_null("")),
    )


def _pack(keys: KeyArray, is_ok: object, finished: object, runs: object) -> _Rows:
    rows = np.empty(len(keys), [("key", keys.dtype), ("is_ok", "?"), ("finished", "i8"), ("run", "S32")])
    rows["key"], rows["is_ok"], rows["finished"], rows["run"] = keys, is_ok, finished, runs
    return rows
