"""The node-local cache of remote things, shared by all processes of a node through file locks.

Per thing: ``KEY.lock`` (locked exclusively while it is fetched or removed, shared while it is in use), ``KEY.part``
(incomplete, owned by whoever holds the lock exclusively), and ``KEY`` with the cache's suffix (complete; modification
time = last use). What is cached, and how a copy is fetched and checked, is a ``RemoteCopy``'s.
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from pipeline.failures import FailureClass, PipelineError


class RemoteCopy(Protocol):
    """A file or folder of a remote storage at one version; failures are ``PipelineError`` but those of this disk."""

    @property
    def name(self) -> str:
        """Its address, as shown."""

    @property
    def identity(self) -> str:
        """Address and version, never shown: where they differ there are two copies."""

    @property
    def remedy(self) -> str:
        """What to do where the disk has no room for it."""

    def is_complete(self, path: Path) -> bool:
        """Whether a complete copy lies there."""

    def missing_bytes(self, part: Path) -> int:
        """What is still to come, 0 where nobody knows."""

    def fetch(self, part: Path) -> None:
        """Complete ``part``, which may not exist yet, and check it."""


class _Removable(NamedTuple):
    """A copy, or what a dead process left (``last_use_ns`` 0), that goes unless somebody holds it."""

    last_use_ns: int
    key: str
    size_bytes: int


class LocalCache:
    """Copies in one folder; the least recently used ones make room, those in use stay.

    A reservation is written into the lock file before a download starts, so that concurrent downloads see each other.

    Args:
        folder: of this cache only, on a disk of this node; made if missing.
        suffix: of complete copies, such as ``.video``.
        max_bytes: size to which it is trimmed; None: copies go only when the disk is full.
        keeps_parts: whether ``fetch`` continues what an attempt that broke off has left.
    """

    def __init__(
        self, folder: Path, *, suffix: str = "", max_bytes: int | None = None, keeps_parts: bool = False
    ) -> None:
        self._folder, self._suffix = folder, suffix
        self._max_bytes, self._keeps_parts = max_bytes, keeps_parts

    @contextmanager
    def hold(self, remote: RemoteCopy) -> Iterator[Path]:
        """Yield the path of a complete copy, which stays while the context is open.

        Args:
            remote: fetched only if no process of this node has done so.

        Raises:
            PipelineError: of the source; ``TRANSFER`` when the disk is full (another node may have room).
        """
        key = hashlib.sha256(remote.identity.encode()).hexdigest()[:32]
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self._obtain(key, remote)
        except OSError as error:
            raise self._no_room(remote, f"{type(error).__name__}: {error.strerror}") from error
        try:
            yield self._copy(key)
        finally:
            lock.close()
            with suppress(OSError):  # the next visitor trims instead
                self._make_room(0)

    def _obtain(self, key: str, remote: RemoteCopy) -> IO[bytes]:
        """Lock a complete copy for use; fetch it first if need be, and again if it is removed in between."""
        while True:
            lock = self._lock(key, fcntl.LOCK_SH)  # waits while another process fetches it
            if self._touch_copy(key, remote):
                return lock
            lock.close()
            with ExitStack() as unless_done:
                try:
                    lock = unless_done.enter_context(self._lock(key, fcntl.LOCK_EX | fcntl.LOCK_NB))
                except BlockingIOError:
                    continue
                if not self._touch_copy(key, remote):
                    self._fetch(key, remote, lock)
                fcntl.flock(lock, fcntl.LOCK_SH)  # not atomic: the copy, lock file and all, may be gone by now
                if self._is_current(lock, key) and self._touch_copy(key, remote):
                    unless_done.pop_all()
                    return lock

    def _fetch(self, key: str, remote: RemoteCopy, lock: IO[bytes]) -> None:
        """Download under the exclusive lock; the copy gets its name only when it is checked."""
        part, copy = self._part(key), self._copy(key)
        _remove(copy)  # somebody took files from it
        if not self._keeps_parts:
            _remove(part)  # of a process that died
        self._reserve(lock, remote, remote.missing_bytes(part))
        try:
            remote.fetch(part)
            part.replace(copy)
        finally:
            if not self._keeps_parts:
                _remove(part)

    def _reserve(self, lock: IO[bytes], remote: RemoteCopy, size_bytes: int) -> None:
        """Make room for a download and let others count it."""
        lock.truncate(0)
        self._make_room(size_bytes, lock)
        if (free_bytes := self._free_bytes()) < size_bytes:
            raise self._no_room(remote, f"{size_bytes} bytes wanted, {free_bytes} free")

    def _make_room(self, size_bytes: int, reserving: IO[bytes] | None = None) -> None:
        """Remove what dead processes left, then the copies that were not used for the longest time."""
        with self._lock("folder", fcntl.LOCK_EX):
            total_bytes, removable = self._take_stock()
            for copy in sorted(removable):
                fits = self._max_bytes is None or total_bytes + size_bytes <= self._max_bytes
                if fits and self._free_bytes() >= size_bytes:
                    break
                if self._remove_unused(copy.key):
                    total_bytes -= copy.size_bytes
            if reserving is not None and self._max_bytes is not None:
                reserving.write(str(size_bytes).encode())

    def _take_stock(self) -> tuple[int, list[_Removable]]:
        """Bytes taken or reserved in all, and what could go. What the dead left for nobody is removed on the way."""
        total_bytes = 0
        removable: list[_Removable] = []
        for key in {path.stem for path in self._folder.iterdir()} - {"folder"}:
            if (status := _stat_or_none(self._copy(key))) is not None:
                removable.append(_Removable(status.st_mtime_ns, key, _size_bytes(self._copy(key))))
            elif self._keeps_parts and self._part(key).exists():
                removable.append(_Removable(0, key, _size_bytes(self._part(key))))
            elif not self._remove_unused(key):
                total_bytes += self._pending_bytes(key)
        return total_bytes + sum(copy.size_bytes for copy in removable), removable

    def _pending_bytes(self, key: str) -> int:
        with suppress(FileNotFoundError):
            return max(int(self._lock_file(key).read_bytes() or b"0"), _size_bytes(self._part(key)))
        return 0

    def _remove_unused(self, key: str) -> bool:
        """Remove all files of a key unless a living process holds it."""
        with self._lock_file(key).open("a+b", buffering=0) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            for path in (self._part(key), self._copy(key), self._lock_file(key)):
                _remove(path)
        return True

    def _lock(self, key: str, mode: int) -> IO[bytes]:
        """Wait for a lock file; closing it, or dying, gives the lock back."""
        while True:
            lock = self._lock_file(key).open("a+b", buffering=0)
            fcntl.flock(lock, mode)
            if self._is_current(lock, key):
                return lock
            lock.close()  # removed while this process waited: what is locked is no name any more

    def _is_current(self, lock: IO[bytes], key: str) -> bool:
        current = _stat_or_none(self._lock_file(key))
        return current is not None and os.path.samestat(os.fstat(lock.fileno()), current)

    def _touch_copy(self, key: str, remote: RemoteCopy) -> bool:
        """Whether there is a complete copy; if so, it counts as used now."""
        if not remote.is_complete(self._copy(key)):
            return False
        os.utime(self._copy(key), ns=(time.time_ns(),) * 2)  # finer than the file system's own clock
        return True

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._folder).free

    def _lock_file(self, key: str) -> Path:
        return self._folder / f"{key}.lock"

    def _part(self, key: str) -> Path:
        return self._folder / f"{key}.part"

    def _copy(self, key: str) -> Path:
        return self._folder / f"{key}{self._suffix}"

    def _no_room(self, remote: RemoteCopy, reason: str) -> PipelineError:
        return PipelineError(
            FailureClass.TRANSFER, f"{remote.name} cannot be copied to {self._folder} ({reason}); {remote.remedy}"
        )


def _stat_or_none(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _size_bytes(path: Path) -> int:
    """Of a file, or of the files in a folder; 0 where there is nothing."""
    inside = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    files = inside if path.is_dir() else [path]
    stats = [status for file in files if (status := _stat_or_none(file)) is not None]
    return sum(status.st_size for status in stats)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
