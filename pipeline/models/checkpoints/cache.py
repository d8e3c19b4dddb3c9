"""Node-local copies of remote checkpoints, fetched once for all processes of a node.

Per checkpoint at one revision: ``KEY.lock`` (locked exclusively while it is fetched or removed, shared while it is
loaded), ``KEY.part/`` (incomplete; whole files in it are kept for the next attempt), ``KEY/`` (complete).
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.failures import FailureClass, PipelineError


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class RemoteFile:
    """One file of a remote folder; ``version`` is its ETag, or its modification time where there is none."""

    name: str
    size_bytes: int
    version: str


class RemoteFolder(Protocol):
    """A checkpoint in a remote storage; failures are ``PipelineError`` but those of this machine's disk."""

    @property
    def name(self) -> str:
        """Its address, as shown."""

    def list_files(self) -> tuple[RemoteFile, ...]:
        """The files of the checkpoint, by name, as they are now."""

    def download(self, file_name: str, path: Path) -> None:
        """Copy one file."""


def revision_of(files: Sequence[RemoteFile]) -> str:
    """16 hex digits over names, sizes and versions: known before anything is downloaded."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.name}:{file.size_bytes}:{file.version}\n".encode())
    return digest.hexdigest()[:16]


class CheckpointCache:
    """Copies in one folder of a disk of this node; those not in use make room, the least recently used first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def hold(self, remote: RemoteFolder, files: Sequence[RemoteFile]) -> Iterator[Path]:
        """Yield a folder with exactly these files, which stays while the context is open.

        Args:
            remote: fetched only if no process of this node has done so.
            files: what ``remote.list_files()`` said; another revision is another copy.

        Raises:
            PipelineError: of the source; ``TRANSFER`` when a copy is short, the checkpoint changed meanwhile, or the
                disk is full.
        """
        key = _key(remote, files)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self._folder / f"{key}.lock").open("ab")
        except OSError as error:
            raise self._no_room(remote, f"{type(error).__name__}: {error.strerror}") from error
        with lock:
            try:
                self._obtain(key, lock.fileno(), remote, files)
            except OSError as error:
                raise self._no_room(remote, f"{type(error).__name__}: {error.strerror}") from error
            yield self._folder / key

    def _obtain(self, key: str, lock: int, remote: RemoteFolder, files: Sequence[RemoteFile]) -> None:
        """End with a shared lock on a complete copy; fetch it first if need be."""
        while True:
            fcntl.flock(lock, fcntl.LOCK_SH)  # waits while another process fetches it
            if _holds_all(self._folder / key, files):
                os.utime(self._folder / key, ns=(time.time_ns(),) * 2)  # finer than the file system's own clock
                return
            fcntl.flock(lock, fcntl.LOCK_EX)  # gives the shared lock back first, so the copy may be there by now
            if not _holds_all(self._folder / key, files):
                self._fetch(key, remote, files)

    def _fetch(self, key: str, remote: RemoteFolder, files: Sequence[RemoteFile]) -> None:
        """Download under the exclusive lock; the folder gets its name only when all of it is checked."""
        part, complete = self._folder / f"{key}.part", self._folder / key
        shutil.rmtree(complete, ignore_errors=True)  # somebody took files from it
        part.mkdir(exist_ok=True)
        missing = [file for file in files if not _has_size(part / file.name, file.size_bytes)]
        self._make_room(key, remote, sum(file.size_bytes for file in missing))
        for file in missing:
            arriving = part / f"{file.name}.arriving"
            remote.download(file.name, arriving)
            if not _has_size(arriving, file.size_bytes):
                raise PipelineError(
                    FailureClass.TRANSFER,
                    f"{remote.name}/{file.name} has {file.size_bytes} bytes but {arriving.stat().st_size} arrived; "
                    "it is tried again",
                )
            arriving.replace(part / file.name)
        if revision_of(remote.list_files()) != revision_of(files):
            shutil.rmtree(part)
            raise PipelineError(
                FailureClass.TRANSFER,
                f"{remote.name} changed while it was copied; let uploads end, then start the job again",
            )
        part.replace(complete)

    def _make_room(self, key: str, remote: RemoteFolder, size_bytes: int) -> None:
        """Remove other copies that no process loads, the longest unused first, until the download fits."""
        others = {path.stem for path in self._folder.glob("*.lock")} - {key}
        for other in sorted(others, key=self._last_use_ns):
            if shutil.disk_usage(self._folder).free >= size_bytes:
                return
            self._remove_unused(other)
        free_bytes = shutil.disk_usage(self._folder).free
        if free_bytes < size_bytes:
            raise self._no_room(remote, f"{size_bytes} bytes wanted, {free_bytes} free")

    def _last_use_ns(self, key: str) -> int:
        """0 for leftovers of a process that died: they go first."""
        copy = self._folder / key
        return copy.stat().st_mtime_ns if copy.is_dir() else 0

    def _remove_unused(self, key: str) -> None:
        """Remove a copy and what was fetched of it; the lock file stays, or two processes might lock two files."""
        with (self._folder / f"{key}.lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            for path in (self._folder / key, self._folder / f"{key}.part"):
                shutil.rmtree(path, ignore_errors=True)

    def _no_room(self, remote: RemoteFolder, reason: str) -> PipelineError:
        return PipelineError(
            FailureClass.TRANSFER,
            f"{remote.name} cannot be copied to {self._folder} ({reason}); free space there, or point "
            "reading.cache_dir to a larger disk",
        )


def _key(remote: RemoteFolder, files: Sequence[RemoteFile]) -> str:
    return hashlib.sha256(f"{remote.name}\n{revision_of(files)}".encode()).hexdigest()[:32]


def _has_size(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False


def _holds_all(folder: Path, files: Sequence[RemoteFile]) -> bool:
    return all(_has_size(folder / file.name, file.size_bytes) for file in files)
