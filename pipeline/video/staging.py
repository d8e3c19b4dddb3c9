"""The node-local cache of remote videos, shared by all processes of a node through file locks.

Per object: ``KEY.lock`` (locked exclusively while it is fetched or removed, shared while it is in use), ``KEY.part``
(incomplete, owned by whoever holds the lock exclusively), ``KEY.video`` (complete; modification time = last use).
"""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.config import ReadingConfig
from pipeline.uris import strip_secrets
from pipeline.video.remote import ObjectVersion, RemoteVideo


def cache_folder(reading: ReadingConfig) -> Path:
    """A folder that only this user may enter, below ``reading.cache_dir`` or the system's temporary folder.

    Raises:
        PipelineError: ``ACCESS_DENIED``: it cannot be made, or another user has made it.
    """
    folder = Path(reading.cache_dir or tempfile.gettempdir()).absolute() / f"adapttoken-{os.getuid()}"
    remedy = "set reading.cache_dir to a folder in which this user may write."
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()  # not stat: a link could lead into a folder that others prepared
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
            folder.chmod(0o700)
            return folder
    except OSError as error:
        reason = f"the cache folder {folder} cannot be made ({error.strerror}); {remedy}"
        raise PipelineError(FailureClass.ACCESS_DENIED, reason) from error
    reason = f"{folder} is a link or belongs to user {status.st_uid}, not {os.getuid()}; remove it, or {remedy}"
    raise PipelineError(FailureClass.ACCESS_DENIED, reason)


class VideoCache:
    """Copies of remote objects in one folder; the least recently used ones make room, those in use stay.

    A reservation is written into the lock file before a download starts, so that concurrent downloads see each other.

    Args:
        folder: of this cache only, on a disk of this node; made if missing.
        max_bytes: size to which it is trimmed.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes

    @contextmanager
    def hold(self, remote: RemoteVideo, found: ObjectVersion, *, max_file_bytes: int) -> Iterator[str]:
        """Yield the absolute path of a complete copy, which stays while the context is open.

        Args:
            remote: fetched only if no process of this node has done so.
            found: what ``remote.look_up()`` said; another version is another copy.
            max_file_bytes: for objects whose size shows only while they are fetched.

        Raises:
            PipelineError: of the source; ``TRANSFER`` when the copy is short, the object changed meanwhile, or the
                disk is full (another node may have room).
        """
        key = hashlib.sha256(f"{remote.uri}\n{found.size_bytes}\n{found.version}".encode()).hexdigest()[:32]
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            lock = self._obtain(key, remote, found, max_file_bytes)
        except OSError as error:
            raise self._no_room(remote.uri, f"{type(error).__name__}: {error.strerror}") from error
        try:
            yield str(self._path(key, "video"))
        finally:
            lock.close()
            with suppress(OSError):  # the next visitor trims instead
                self._make_room(0)

    def _obtain(self, key: str, remote: RemoteVideo, found: ObjectVersion, max_file_bytes: int) -> IO[bytes]:
        """Lock a complete copy for use; fetch it first if need be, and again if it is removed in between."""
        while True:
            lock = self._lock(key, fcntl.LOCK_SH)  # waits while another process fetches it
            if self._touch_copy(key):
                return lock
            lock.close()
            with ExitStack() as unless_done:
                try:
                    lock = unless_done.enter_context(self._lock(key, fcntl.LOCK_EX | fcntl.LOCK_NB))
                except BlockingIOError:
                    continue
                if not self._touch_copy(key):
                    self._reserve(lock, key, remote.uri, found.size_bytes or 0)
                    self._fetch(key, remote, found, max_file_bytes)
                fcntl.flock(lock, fcntl.LOCK_SH)  # not atomic: the copy may be gone by now
                if self._touch_copy(key):
                    unless_done.pop_all()
                    return lock

    def _fetch(self, key: str, remote: RemoteVideo, found: ObjectVersion, max_file_bytes: int) -> None:
        """Download under the exclusive lock; the copy gets its name only when it is checked."""
        part, shown_uri = self._path(key, "part"), strip_secrets(remote.uri)
        try:
            remote.download(str(part), max_bytes=max_file_bytes)
            received = part.stat().st_size
            if found.size_bytes not in (None, received):
                raise PipelineError(
                    FailureClass.TRANSFER,
                    f"{shown_uri} has {found.size_bytes} bytes but {received} arrived; it is tried again.",
                )
            if (now := remote.look_up()) != found:
                raise PipelineError(
                    FailureClass.TRANSFER,
                    f"{shown_uri} changed while it was copied (from {found.size_bytes} bytes, version {found.version}, "
                    f"to {now.size_bytes}, {now.version}); it is tried again.",
                )
            part.replace(self._path(key, "video"))
        finally:
            part.unlink(missing_ok=True)

    def _reserve(self, lock: IO[bytes], key: str, uri: str, size_bytes: int) -> None:
        """Make room for a download and let others count it."""
        self._path(key, "part").unlink(missing_ok=True)  # of a process that died
        lock.truncate(0)
        self._make_room(size_bytes, lock)
        free_bytes = shutil.disk_usage(self._folder).free
        if free_bytes < size_bytes:
            raise self._no_room(uri, f"{size_bytes} bytes wanted, {free_bytes} free")

    def _make_room(self, size_bytes: int, reserving: IO[bytes] | None = None) -> None:
        """Remove what dead processes left, then the copies that were not used for the longest time."""
        with self._lock("folder", fcntl.LOCK_EX):
            total_bytes, copies = self._take_stock()
            shortage = max(
                total_bytes + size_bytes - self._max_bytes, size_bytes - shutil.disk_usage(self._folder).free
            )
            for key, status in sorted(copies.items(), key=lambda copy: copy[1].st_mtime_ns):
                if shortage <= 0:
                    break
                if self._remove_unused(key):
                    shortage -= status.st_size
            if reserving is not None:
                reserving.write(str(size_bytes).encode())

    def _take_stock(self) -> tuple[int, dict[str, os.stat_result]]:
        """Bytes taken or reserved in all, and the complete copies. Leftovers of the dead are removed on the way."""
        total_bytes = 0
        copies: dict[str, os.stat_result] = {}
        for key in {path.stem for path in self._folder.iterdir()} - {"folder"}:
            if (status := _stat_or_none(self._path(key, "video"))) is not None:
                copies[key] = status
                total_bytes += status.st_size
            elif not self._remove_unused(key):
                total_bytes += self._pending_bytes(key)
        return total_bytes, copies

    def _pending_bytes(self, key: str) -> int:
        with suppress(FileNotFoundError):
            part = _stat_or_none(self._path(key, "part"))
            return max(int(self._path(key, "lock").read_bytes() or b"0"), part.st_size if part else 0)
        return 0

    def _remove_unused(self, key: str) -> bool:
        """Remove all files of a key unless a living process holds it."""
        with self._path(key, "lock").open("a+b", buffering=0) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            for suffix in ("part", "video", "lock"):
                self._path(key, suffix).unlink(missing_ok=True)
        return True

    def _lock(self, key: str, mode: int) -> IO[bytes]:
        """Wait for a lock file; closing it, or dying, gives the lock back."""
        path = self._path(key, "lock")
        while True:
            lock = path.open("a+b", buffering=0)
            fcntl.flock(lock, mode)
            current = _stat_or_none(path)
            if current is not None and os.path.samestat(os.fstat(lock.fileno()), current):
                return lock
            lock.close()  # removed while this process waited: what is locked is no name any more

    def _touch_copy(self, key: str) -> bool:
        """Whether there is a complete copy; if so, it counts as used now."""
        try:
            os.utime(self._path(key, "video"))
        except FileNotFoundError:
            return False
        return True

    def _path(self, key: str, suffix: str) -> Path:
        return self._folder / f"{key}.{suffix}"

    def _no_room(self, uri: str, reason: str) -> PipelineError:
        return PipelineError(
            FailureClass.TRANSFER,
            f"{strip_secrets(uri)} cannot be copied to {self._folder} ({reason}); free space there, lower "
            "reading.cache_bytes, or point reading.cache_dir to a larger disk.",
        )


def _stat_or_none(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
