"""Files below a folder, local or in object storage, found by the names that a benchmark gives them."""

import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import fsspec

from pipeline.failures import with_store_errors
from pipeline.uris import StorageOptions, strip_secrets
from pipeline.video.sources import is_local, local_path

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".ts", ".flv", ".mpg", ".mpeg", ".wmv")
SUBTITLE_SUFFIXES = (".srt", ".json")


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFile:
    """What a look-up ended with: one address, or every candidate when the name is not clear."""

    uri: str | None
    candidates: tuple[str, ...] = ()


class FileIndex:
    """The files below a folder that have one of some suffixes, listed once."""

    def __init__(self, folder: str, suffixes: Sequence[str], *, storage_options: StorageOptions = None) -> None:
        """List.

        Raises:
            ValueError: There is no such folder, or it cannot be listed.
        """
        self._root, paths = _list_files(folder, storage_options)
        self._suffixes = tuple(suffixes)
        self._by_stem: dict[str, list[str]] = {}
        for path in sorted(path for path in paths if path.lower().endswith(self._suffixes)):
            self._by_stem.setdefault(posixpath.basename(self._bare(path)), []).append(path)

    def __len__(self) -> int:
        return sum(len(paths) for paths in self._by_stem.values())

    def find(self, names: Iterable[str]) -> FoundFile:
        """The file of the first name that one has, by its whole path, else by the end of its path.

        Upper or lower case of the suffix does not matter; of several suffixes the first of the list counts.
        """
        for name in names:
            bare = self._bare(name)
            same_stem = self._by_stem.get(posixpath.basename(bare), [])
            exact = [path for path in same_stem if self._bare(path) == bare]
            ending = [path for path in same_stem if self._bare(path).endswith(f"/{bare}")]
            matches = exact or ending
            if matches:
                return self._choose(matches)
        return FoundFile(uri=None)

    def _choose(self, matches: list[str]) -> FoundFile:
        folders = {posixpath.dirname(path) for path in matches}
        if len(folders) > 1:
            return FoundFile(uri=None, candidates=tuple(matches))
        best = min(matches, key=self._suffix_rank)
        return FoundFile(uri=f"{self._root}/{best}", candidates=(best,))

    def _suffix_rank(self, path: str) -> tuple[int, str]:
        return next(rank for rank, suffix in enumerate(self._suffixes) if path.lower().endswith(suffix)), path

    def _bare(self, path: str) -> str:
        suffix = next((suffix for suffix in self._suffixes if path.lower().endswith(suffix)), "")
        return path[: len(path) - len(suffix)]


def _list_files(folder: str, storage_options: StorageOptions) -> tuple[str, list[str]]:
    """Root address without a slash at its end, and paths below it; links to folders are followed."""
    if is_local(folder):
        root = local_path(folder)
        if not os.path.isdir(root):
            raise ValueError(f"there is no folder {root}: name the one that holds the files")
        found = [os.path.relpath(path, root) for path in _walk(root)]
        return root.rstrip("/"), found
    shown = strip_secrets(folder)
    try:
        filesystem, path = fsspec.core.url_to_fs(folder, **(storage_options or {}))
        base = path.rstrip("/")
        found = [name[len(base) + 1 :] for name in filesystem.find(base)]
    except with_store_errors(OSError, ImportError, ValueError) as error:
        raise ValueError(f"{shown} cannot be listed ({type(error).__name__}): check address and credentials") from error
    if not found:
        raise ValueError(f"there is nothing below {shown}: name the folder that holds the files")
    return folder.rstrip("/"), found


def _walk(root: str) -> Iterator[str]:
    """Files below a folder; each folder once, also where links go in a circle."""
    seen = {os.path.realpath(root)}
    for parent, folders, names in os.walk(root, followlinks=True):
        yield from (os.path.join(parent, name) for name in names)
        new = {name: os.path.realpath(os.path.join(parent, name)) for name in sorted(folders)}
        folders[:] = [name for name, real in new.items() if real not in seen]
        seen.update(new.values())
