"""Answer files of which no row counts any more: out of readers' way at once, and gone for good after a while.

They go to ``OUTPUT/_superseded``, beside ``answers``, because DuckDB's and Polars' ``**`` look into every folder below
``answers``; their names get an ending of their own, because the same patterns over ``OUTPUT`` look for ``*.parquet``.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from fsspec.implementations.local import LocalFileSystem

from pipeline.results.atomic_files import delete_unchanged, file_version, move_unchanged
from pipeline.results.part_files import NUM_REMOTE_READERS, AnswersFolder, PartFile

SUPERSEDED = "_superseded"
_ENDING = ".old"


def copy_aside(folder: AnswersFolder, parts: Sequence[PartFile]) -> None:
    """Where files cannot be moved in one step, the copies that stay for a while: made before readers need to know."""
    if not isinstance(folder.filesystem, LocalFileSystem):
        _at_once(partial(_copy, folder), parts)


def retire(folder: AnswersFolder, parts: Sequence[PartFile]) -> int:
    """Take files out of ``answers``, as fast as the storage can, but those that were changed since they were listed.

    Returns:
        How many went.
    """
    return sum(_at_once(partial(_retire, folder), parts))


def purge(folder: AnswersFolder, *, grace_s: float, dry_run: bool = False) -> tuple[int, int]:
    """Delete what was superseded ``grace_s`` ago or earlier; returns how many files that were, and how many wait."""
    filesystem = folder.filesystem
    num_deleted = num_waiting = 0
    for path, info in filesystem.find(_place(folder), detail=True).items():
        if not path.endswith(_ENDING):
            continue
        part = PartFile(path=path, size_bytes=int(info["size"]), version=file_version(info))
        if time.time() - folder.modified_s(part) < grace_s:
            num_waiting += 1
        elif dry_run or delete_unchanged(filesystem, path, part.version):
            num_deleted += 1
    return num_deleted, num_waiting


def _at_once(act: Callable[[PartFile], bool], parts: Sequence[PartFile]) -> list[bool]:
    with ThreadPoolExecutor(NUM_REMOTE_READERS) as pool:
        return list(pool.map(act, parts))


def _copy(folder: AnswersFolder, part: PartFile) -> bool:
    target = _target(folder, part)
    folder.filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
    with suppress(FileNotFoundError):  # another compaction was faster
        folder.filesystem.cp_file(part.path, target)
        return True
    return False


def _retire(folder: AnswersFolder, part: PartFile) -> bool:
    if isinstance(folder.filesystem, LocalFileSystem):
        return move_unchanged(folder.filesystem, part.path, part.version, _target(folder, part))
    return delete_unchanged(folder.filesystem, part.path, part.version)


def _target(folder: AnswersFolder, part: PartFile) -> str:
    return f"{_place(folder)}/{part.path.removeprefix(folder.path).lstrip('/')}{_ENDING}"


def _place(folder: AnswersFolder) -> str:
    return f"{folder.path.removesuffix('/answers')}/{SUPERSEDED}"
