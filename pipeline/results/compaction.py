"""Merges small answer files into larger ones; what is deleted, and when, so that every reader has all rows.

1. A file of which no row counts any more (each has a better row, or a copy, in another file) is deleted, if those
   other files have been there for the grace time and the file itself did not change meanwhile.
2. Small files are merged, folder by folder, into one whose name follows from its keys; the small ones stay. From then
   on no row of theirs counts, so a compaction after the grace time deletes them.

At every moment each row lies in a file that is listed: killed between any two steps, or run twice at once, it leaves
files too many, never a row too few. Nothing is noted anywhere; what is superfluous follows from the rows alone.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from pipeline.results.atomic_files import TEMPORARY_PREFIX, delete_unchanged
from pipeline.results.keys import part_name
from pipeline.results.part_files import AnswersFolder, PartFile
from pipeline.results.row_choice import combine_rows
from pipeline.results.row_index import RowIndex, read_index
from pipeline.results.writer import write_part
from pipeline.uris import StorageOptions

DEFAULT_TARGET_BYTES = 32 * 1024**2
DEFAULT_GRACE_S = 3600.0
_MIN_TEMPORARY_AGE_S = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactionPlan:
    """What one compaction does.

    Attributes:
        deletions: Superseded files whose grace time is over.
        num_waiting: Superseded files that a later compaction deletes.
        merges: Groups of small files of one folder.
    """

    deletions: tuple[PartFile, ...]
    num_waiting: int
    merges: tuple[tuple[PartFile, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactionReport:
    """What was done, or with ``dry_run`` would be."""

    num_files: int
    num_rows: int
    num_deleted: int
    num_waiting: int
    num_merged: int
    num_written: int


def plan_compaction(
    index: RowIndex, *, target_bytes: int, is_settled: Callable[[PartFile], bool] = lambda part: True
) -> CompactionPlan:
    """Decide from the rows of all files.

    Args:
        index: Of all files.
        target_bytes: At most so many bytes are merged into one file; files of half of it or more stay.
        is_settled: Whether a file has been there for the grace time.
    """
    counting = np.bincount(index.files[index.best], minlength=len(index.parts)) > 0
    better = index.files[index.best][index.best_of_rows]
    witnesses = np.unique(better[~counting[index.files]]).tolist()
    unsettled = np.array([number for number in witnesses if not is_settled(index.parts[number])], np.int64)
    is_waiting = np.zeros(len(index.parts), bool)
    is_waiting[index.files[np.isin(better, unsettled)]] = True
    pairs = zip(index.parts, counting, strict=True)
    small = [part for part, counts in pairs if counts and part.size_bytes < target_bytes / 2]
    return CompactionPlan(
        deletions=tuple(index.parts[number] for number in np.flatnonzero(~counting & ~is_waiting)),
        num_waiting=int((~counting & is_waiting).sum()),
        merges=_fill_bins(small, target_bytes),
    )


def compact(
    output_uri: str,
    *,
    target_bytes: int = DEFAULT_TARGET_BYTES,
    grace_s: float = DEFAULT_GRACE_S,
    storage_options: StorageOptions = None,
    dry_run: bool = False,
) -> CompactionReport:
    """Delete what earlier compactions superseded, then merge what is small.

    Raises:
        ValueError: A result file is not readable (nothing was changed), or a bound is out of range.
        OSError: The storage fails; doing it again goes on from there.
    """
    if target_bytes < 1 or not grace_s >= 0:
        raise ValueError(f"target_bytes must be at least 1 and grace_s at least 0, got {target_bytes} and {grace_s}")
    folder = AnswersFolder(output_uri, storage_options)
    index = read_index(folder)

    def is_settled(part: PartFile) -> bool:
        return time.time() - folder.modified_s(part) >= grace_s

    plan = plan_compaction(index, target_bytes=target_bytes, is_settled=is_settled)
    num_deleted, num_written = len(plan.deletions), len(plan.merges)
    if not dry_run:
        num_deleted = sum(delete_unchanged(folder.filesystem, part.path, part.version) for part in plan.deletions)
        num_written = sum(_merge(folder, parts) for parts in plan.merges)
        _sweep_temporaries(folder, min_age_s=max(grace_s, _MIN_TEMPORARY_AGE_S))
    return CompactionReport(
        num_files=len(index.parts),
        num_rows=len(index.best),
        num_deleted=num_deleted,
        num_waiting=plan.num_waiting,
        num_merged=sum(len(parts) for parts in plan.merges),
        num_written=num_written,
    )


def _fill_bins(small: Sequence[PartFile], target_bytes: int) -> tuple[tuple[PartFile, ...], ...]:
    """Neighbours of one folder, at most ``target_bytes`` together; a file that stays alone is not rewritten."""
    bins: list[list[PartFile]] = []
    for _, parts in groupby(small, key=lambda part: part.path.rpartition("/")[0]):
        room = -1
        for part in parts:
            if part.size_bytes > room:
                bins.append([])
                room = target_bytes
            bins[-1].append(part)
            room -= part.size_bytes
    return tuple(tuple(parts) for parts in bins if len(parts) > 1)


def _merge(folder: AnswersFolder, parts: Sequence[PartFile]) -> int:
    """Write the rows of ``parts`` as one file (one per shape if column types differ); returns how many were written."""
    try:
        tables = [folder.read_part(part) for part in parts]
    except FileNotFoundError:
        return 0  # another compaction was faster; the next one sees what it left
    num_written = 0
    for alike in _group_by_types(tables):
        if len(alike) > 1:
            merged = combine_rows(alike)
            name = part_name(merged.column("question_key").to_pylist())
            write_part(folder.filesystem, f"{parts[0].path.rpartition('/')[0]}/{name}", merged)
            num_written += 1
    return num_written


def _group_by_types(tables: Sequence[pa.Table]) -> list[list[pa.Table]]:
    """Tables whose common columns have equal types: nothing is converted when they are put together."""
    groups: list[tuple[pa.Schema, list[pa.Table]]] = []
    for table in tables:
        for position, (schema, alike) in enumerate(groups):
            try:
                groups[position] = (pa.unify_schemas([schema, table.schema]), [*alike, table])
                break
            except pa.ArrowException:
                continue
        else:
            groups.append((table.schema, [table]))
    return [alike for _, alike in groups]


def _sweep_temporaries(folder: AnswersFolder, *, min_age_s: float) -> None:
    """Delete what killed writers left behind; no write takes ``min_age_s``."""
    if not isinstance(folder.filesystem, LocalFileSystem):
        return
    for path, _, names in os.walk(folder.path):
        for left in [Path(path, name) for name in names if name.startswith(f"{TEMPORARY_PREFIX}part-")]:
            try:
                if time.time() - left.stat().st_mtime >= min_age_s:
                    left.unlink()
            except FileNotFoundError:
                continue
