"""Which file holds which question's row, and which row counts: what planning and compaction need to know of all files.

Columns of numbers, not objects: a million rows take about 95 MB.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.results.asked import ASKED_COLUMNS, Hashes, are_by_circumstance, hash_rows
from pipeline.results.key_set import KeyArray, encode_keys
from pipeline.results.part_files import AnswersFolder, PartFile
from pipeline.results.row_choice import RANK_COLUMNS, finish_times, run_counts

_COLUMNS = (*RANK_COLUMNS, "error_class", "video_fingerprint")
_FIELDS = (("is_ok", "?"), ("finished", "i8"), ("run", "S32"), ("is_open", "?"), ("num_runs", "i4"), ("asked", "u8"))
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
        is_open: Whether it failed by circumstance; ``num_runs`` how many runs had tried it, ``asked`` what, by
            `hash_asked` (both only for failed rows).
        best: ``(num_keys,)`` the row that counts for each key, sorted by key. Of rows that rank the same, that in the
            file with more rows: copies end up in the merged file.
        best_of_rows: Position in ``best`` of each row's key.
    """

    parts: tuple[PartFile, ...]
    files: _Ints
    keys: KeyArray
    is_ok: npt.NDArray[np.bool_]
    is_open: npt.NDArray[np.bool_]
    num_runs: npt.NDArray[np.int32]
    asked: Hashes
    best: _Ints
    best_of_rows: _Ints


def read_index(folder: AnswersFolder, *, skips_broken: bool = False) -> RowIndex:
    """Read what decides which rows count, of all files, or all that are readable.

    Raises:
        BrokenFileError: A result file is not readable; names it.
        OSError: The folder cannot be listed.
    """
    found = folder.read_all(partial(_read_rows, folder), skips_broken=skips_broken)
    num_rows = np.array([len(rows) for _, rows in found], np.int64)
    files = np.repeat(np.arange(len(found)), num_rows)
    rows = (
        np.concatenate([rows for _, rows in found]) if found else _pack(np.empty(0, "S1"), is_ok=0, finished=0, run=0)
    )
    order = np.lexsort(
        (-files, num_rows[files], rows["run"], rows["finished"], rows["num_runs"], rows["is_ok"], rows["key"])
    )
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
        is_open=rows["is_open"],
        num_runs=rows["num_runs"],
        asked=rows["asked"],
        best=order[is_last],
        best_of_rows=best_of_rows,
    )


def _read_rows(folder: AnswersFolder, part: PartFile) -> _Rows:
    table = folder.read_part(part, _COLUMNS)
    is_ok = pc.equal(table.column("status"), "ok").fill_null(False).to_numpy()
    rows = _pack(
        encode_keys(table.column("question_key")),
        is_ok=is_ok,
        finished=finish_times(table),
        run=encode_keys(table.column("run_id").fill_null("")),
        is_open=are_by_circumstance(table),
        num_runs=run_counts(table),
    )
    failed = np.flatnonzero(~is_ok)
    if len(failed):
        rows["asked"][failed] = hash_rows(folder.read_part(part, ASKED_COLUMNS).take(pa.array(failed)))
    return rows


def _pack(keys: KeyArray, **columns: object) -> _Rows:
    rows = np.zeros(len(keys), [("key", keys.dtype), *_FIELDS])
    rows["key"] = keys
    for name, values in columns.items():
        rows[name] = values
    return rows
