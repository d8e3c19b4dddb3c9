"""Merges small answer files into larger ones, so that every reader of ``answers`` sees each row once.

1. A file of which no row counts any more (each has a better row, a copy, or what it gave way to, in another file)
   leaves ``answers`` at once for ``OUTPUT/_superseded``, unless it changed meanwhile. So does a row of a file that
   holds others that count.
2. Small files are merged, folder by folder, into one whose name follows from its keys; then the small ones leave.
3. What has lain in ``_superseded`` for the grace time is deleted.

At every moment each row lies in a file in ``answers``: killed between any two steps, or run twice at once, it leaves
files too many, never a row too few. Nothing is noted anywhere; what is superfluous follows from the rows alone. Between
the moment a merged file is there and the moment the small ones are gone, a reader that does not choose between rows of
one key sees some twice; ``docs/operations.md`` says how long that is.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from fsspec.implementations.local import LocalFileSystem

from pipeline.results.asked import ASKED_COLUMNS, CLASS_COLUMNS
from pipeline.results.atomic_files import TEMPORARY_PREFIX, current_version
from pipeline.results.key_set import KeySet
from pipeline.results.keys import part_name
from pipeline.results.part_files import AnswersFolder, PartFile
from pipeline.results.row_choice import RANK_COLUMNS, combine_rows, standing_rows
from pipeline.results.row_index import RowIndex, read_index
from pipeline.results.superseded import copy_aside, purge, retire
from pipeline.results.writer import drop_rows, write_part
from pipeline.uris import StorageOptions, strip_secrets

DEFAULT_TARGET_BYTES = 32 * 1024**2
DEFAULT_GRACE_S = 3600.0
_MIN_TEMPORARY_AGE_S = 3600.0
_STANDING_COLUMNS = tuple(dict.fromkeys((*RANK_COLUMNS, *ASKED_COLUMNS, *CLASS_COLUMNS)))


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactionPlan:
    """What one compaction does.

    Attributes:
        superseded: Files of which no row counts.
        merges: Groups of small files of one folder.
        stale: Other files with rows that do not count, and the keys of those; some may be merged, too.
    """

    superseded: tuple[PartFile, ...]
    merges: tuple[tuple[PartFile, ...], ...]
    stale: tuple[tuple[PartFile, frozenset[str]], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactionReport:
    """What was done, or with ``dry_run`` would be.

    Attributes:
        num_retired: Files that left ``answers``, merged ones included.
        num_pruned: Files that lost rows that do not count.
        num_deleted: Files that left ``answers`` the grace time ago.
        num_waiting: Files that left it since, and wait to be deleted.
    """

    num_files: int
    num_rows: int
    num_retired: int
    num_pruned: int
    num_deleted: int
    num_waiting: int
    num_merged: int
    num_written: int


def find_standing(folder: AnswersFolder, index: RowIndex) -> npt.NDArray[np.int64]:
    """The best row of each key, less failed ones that have given way to one of the same question under another key.

    Args:
        folder: Of all files.
        index: Of all files; without failed rows nothing more is read.
    """
    if index.is_ok[index.best].all():
        return index.best

    def read_failed(part: PartFile) -> list[str]:
        rows = folder.read_part(part, ("question_id", "status"))
        ids: list[str] = rows.filter(pc.equal(rows.column("status"), "failed")).column("question_id").to_pylist()
        return ids

    failed = folder.read_all(read_failed, skips_broken=True)
    wanted = pa.array({name for _, names in failed for name in names}, pa.string())

    def read(part: PartFile) -> pa.Table:
        rows = folder.read_part(part, _STANDING_COLUMNS)
        return rows.filter(pc.is_in(rows.column("question_id"), wanted))

    tables = [table for _, table in folder.read_all(read, skips_broken=True)]
    rivals = pa.concat_tables(tables, promote_options="default")
    shown = rivals.column("question_key").take(pa.array(standing_rows(rivals)))
    gone = pc.filter(rivals.column("question_key"), pc.invert(pc.is_in(rivals.column("question_key"), shown)))
    return index.best[~KeySet(gone.to_pylist()).contains_all_of([key.decode() for key in index.keys[index.best]])]


def plan_compaction(index: RowIndex, *, standing: npt.NDArray[np.int64], target_bytes: int) -> CompactionPlan:
    """Decide from the rows of all files.

    Args:
        index: Of all files.
        standing: Rows that count, by `find_standing`.
        target_bytes: At most so many bytes are merged into one file; files of half of it or more stay.
    """
    counts = np.zeros(len(index.files), bool)
    counts[standing] = True
    num_counting = np.bincount(index.files[standing], minlength=len(index.parts))
    superseded = tuple(index.parts[number] for number in np.flatnonzero(num_counting == 0))
    pairs = zip(index.parts, num_counting, strict=True)
    small = [part for part, num in pairs if num and part.size_bytes < target_bytes / 2]
    keys: dict[PartFile, set[str]] = {}
    for row in np.flatnonzero(~counts & (num_counting[index.files] > 0)):
        keys.setdefault(index.parts[index.files[row]], set()).add(index.keys[row].decode())
    return CompactionPlan(
        superseded=superseded,
        merges=_fill_bins(small, target_bytes),
        stale=tuple((part, frozenset(found)) for part, found in keys.items()),
    )


def compact(
    output_uri: str,
    *,
    target_bytes: int = DEFAULT_TARGET_BYTES,
    grace_s: float = DEFAULT_GRACE_S,
    storage_options: StorageOptions = None,
    dry_run: bool = False,
) -> CompactionReport:
    """Merge what is small, take what is superseded out of readers' way, and delete what went earlier.

    Args:
        output_uri: Folder of all results.
        target_bytes: See `plan_compaction`.
        grace_s: How long superseded files are kept in ``_superseded``.
        storage_options: For the file system of ``output_uri``.
        dry_run: Only say what would be done.

    Raises:
        ValueError: There is no such output, no result file is readable, or a bound is out of range.
        OSError: The storage fails; doing it again goes on from there.
    """
    if target_bytes < 1 or not grace_s >= 0:
        raise ValueError(f"target_bytes must be at least 1 and grace_s at least 0, got {target_bytes} and {grace_s}")
    folder = AnswersFolder(output_uri, storage_options)
    index = read_index(folder, skips_broken=True)  # a broken file stays as it is
    if not index.parts and not folder.is_there():
        place = strip_secrets(output_uri)
        raise ValueError(f"{place} is no output: name the --output of a run that has answered something")
    standing = find_standing(folder, index)
    plan = plan_compaction(index, standing=standing, target_bytes=target_bytes)
    num_merged = sum(len(parts) for parts in plan.merges)
    num_retired, num_pruned, num_written = len(plan.superseded) + num_merged, len(plan.stale), len(plan.merges)
    num_deleted, num_waiting = purge(folder, grace_s=grace_s, dry_run=dry_run)
    if not dry_run:
        copy_aside(folder, plan.superseded)
        num_retired = retire(folder, plan.superseded)
        pruned = {part: new for part, keys in plan.stale if (new := _prune(folder, part, keys)) is not None}
        done = [_merge(folder, [pruned.get(part, part) for part in parts]) for parts in plan.merges]
        num_retired += sum(retired for _, retired in done)
        num_pruned, num_written = len(pruned), sum(written for written, _ in done)
        _sweep_temporaries(folder, min_age_s=max(grace_s, _MIN_TEMPORARY_AGE_S))
    return CompactionReport(
        num_files=len(index.parts),
        num_rows=len(standing),
        num_retired=num_retired,
        num_pruned=num_pruned,
        num_deleted=num_deleted,
        num_waiting=num_waiting + num_retired,
        num_merged=num_merged,
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


def _merge(folder: AnswersFolder, parts: Sequence[PartFile]) -> tuple[int, int]:
    """Write the rows of ``parts`` as one file (one per shape if column types differ), then take ``parts`` away.

    Returns:
        How many files were written, and how many went.
    """
    try:
        tables = [folder.read_part(part) for part in parts]
    except FileNotFoundError:
        return 0, 0  # another compaction was faster; the next one sees what it left
    num_written = num_retired = 0
    for alike in _group_by_types(tables):
        if len(alike) > 1:
            merged = combine_rows([tables[number] for number in alike])
            name = part_name(merged.column("question_key").to_pylist())
            path = f"{parts[0].path.rpartition('/')[0]}/{name}"
            sources = [parts[number] for number in alike if parts[number].path != path]
            copy_aside(folder, sources)
            write_part(folder.filesystem, path, merged)
            num_written, num_retired = num_written + 1, num_retired + retire(folder, sources)
    return num_written, num_retired


def _prune(folder: AnswersFolder, part: PartFile, keys: frozenset[str]) -> PartFile | None:
    """Rewrite a file without rows that have a better one, or a copy, elsewhere; None if it changed meanwhile."""
    if not drop_rows(folder.filesystem, part.path, keys, version=part.version):
        return None
    version = current_version(folder.filesystem, part.path)
    return None if version is None else replace(part, version=version)


def _group_by_types(tables: Sequence[pa.Table]) -> list[list[int]]:
    """Positions of tables whose common columns have equal types: nothing is converted when they are put together."""
    groups: list[tuple[pa.Schema, list[int]]] = []
    for number, table in enumerate(tables):
        for position, (schema, alike) in enumerate(groups):
            try:
                groups[position] = (pa.unify_schemas([schema, table.schema]), [*alike, number])
                break
            except pa.ArrowException:
                continue
        else:
            groups.append((table.schema, [number]))
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
