"""Files that are there in whole or not at all, and changes of them that no other writer can undo unseen.

Locally a temporary name, fsync and rename, under a lock per folder; on S3, Google's and Azure's stores one request that
holds only while the file is as it was, repeated when another writer was faster; on other object stores one without that
check; elsewhere a temporary name and a move.
"""

import errno
import fcntl
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeAlias

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.results.conditional_writes import ConditionalStore, conditional_store, put_whole
from pipeline.stores import fresh_info
from pipeline.uris import StorageOptions, strip_secrets

TEMPORARY_PREFIX = ".tmp-"
MAX_CONFLICTS = 20
"""How often in a row another writer may be faster before a change is given up."""

Change: TypeAlias = Callable[[bytes | None], bytes | None]
"""Old content (None: no such file) -> new content (None: leave it as it is). May be called several times."""

_VERSION_FIELDS = ("ETag", "etag", "generation", "size", "mtime", "created", "ino", "updated", "last_modified")
_one_process = threading.Lock()
_LOCK_S, _LOCK_WORD_S = 240.0, 10.0  # a change of a file takes milliseconds; a process that was stopped has it for ever
_log = logging.getLogger("adapttoken.results")


def write_bytes_atomic(uri: str, content: bytes, *, storage_options: StorageOptions = None) -> None:
    """Write a file that readers see in whole or not at all; folders are made, an older file is replaced."""
    filesystem, path = fsspec.core.url_to_fs(uri, **(storage_options or {}))
    _write(filesystem, path, content)


def change_file(filesystem: fsspec.AbstractFileSystem, path: str, change: Change) -> None:
    """Read, change and write a file so that no other change is lost.

    Where the storage has neither locks nor conditional requests, two processes that change one file at the same moment
    are not told apart: the later one counts.

    Raises:
        OSError: The storage fails, or others kept changing the file.
    """
    store = conditional_store(filesystem)
    if store is not None:
        _change_conditionally(store, filesystem, path, change)
    elif isinstance(filesystem, LocalFileSystem):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with _folder_lock(Path(path).parent):
            _change_alone(filesystem, path, change)
    else:
        with _one_process:
            _change_alone(filesystem, path, change)


def file_version(info: Mapping[str, object]) -> str:
    """What tells one content of a file from another, of what a listing says about it."""
    if "ETag" in info:
        return str(info["ETag"])
    values = {name: info[name] for name in _VERSION_FIELDS if name in info}
    return ";".join(f"{name}={_to_number(value)}" for name, value in values.items())


def current_version(filesystem: fsspec.AbstractFileSystem, path: str) -> str | None:
    """`file_version` as the storage says it now; None if there is no such file."""
    try:
        return file_version(fresh_info(filesystem, path))
    except FileNotFoundError:
        return None


def delete_unchanged(filesystem: fsspec.AbstractFileSystem, path: str, version: str) -> bool:
    """Delete a file unless it was changed since ``version``; returns whether it was deleted."""
    store = conditional_store(filesystem)
    if store is not None:
        return _delete_conditionally(store, filesystem, path, version)
    lock = _folder_lock(Path(path).parent) if isinstance(filesystem, LocalFileSystem) else _one_process
    try:
        with lock:
            if current_version(filesystem, path) != version:
                return False
            filesystem.rm_file(path)
    except FileNotFoundError:
        return False
    return True


def move_unchanged(filesystem: LocalFileSystem, path: str, version: str, target: str) -> bool:
    """Give a local file another place in one step, unless it was changed since ``version``; returns whether it went.

    What has it open reads on; its time becomes that of the move.
    """
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        with _folder_lock(Path(path).parent):
            if current_version(filesystem, path) != version:
                return False
            Path(path).replace(target)
    except FileNotFoundError:
        return False
    os.utime(target)
    return True


def _to_number(value: object) -> object:
    """A time as seconds: listings and single look-ups of some file systems disagree on how they say it."""
    return value.timestamp() if isinstance(value, datetime) else value


def _write(filesystem: fsspec.AbstractFileSystem, path: str, content: bytes) -> None:
    if conditional_store(filesystem) is not None:
        put_whole(filesystem, path, content)
    elif isinstance(filesystem, LocalFileSystem):
        _write_local(Path(path), content)
    elif isinstance(filesystem, AsyncFileSystem | MemoryFileSystem):
        filesystem.pipe_file(path, content)
    else:
        _write_and_move(filesystem, path, content)


def _change_alone(filesystem: fsspec.AbstractFileSystem, path: str, change: Change) -> None:
    try:
        old: bytes | None = filesystem.cat_file(path)
    except FileNotFoundError:
        old = None
    new = change(old)
    if new is not None:
        _write(filesystem, path, new)


def _write_local(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)


def _write_and_move(filesystem: fsspec.AbstractFileSystem, path: str, content: bytes) -> None:
    """For network file systems that have no one-request write, such as HDFS and SFTP."""
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/{TEMPORARY_PREFIX}{name}-{uuid.uuid4().hex}"
    filesystem.makedirs(folder, exist_ok=True)
    try:
        filesystem.pipe_file(temporary, content)
        filesystem.mv(temporary, path)
    finally:
        with suppress(OSError):  # it has been moved, or the storage is gone
            filesystem.rm_file(temporary)


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """One writer at a time changes files of ``folder``; the lock goes with the process that holds it."""
    path = folder / ".lock"
    with path.open("a") as lock:
        _wait_for_lock(lock, path)
        yield


def _wait_for_lock(lock: IO[str], path: Path) -> None:
    """Get the lock; say so where another process has it for long, and give up where it keeps it."""
    began_s = time.monotonic()
    next_word_s = began_s + _LOCK_WORD_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now_s = time.monotonic()
        except OSError:  # a mount without locks: as on a storage that has none
            return
        else:
            return
        if now_s - began_s > _LOCK_S:
            raise OSError(
                errno.ETIMEDOUT,
                f"another process has held {path} for {_LOCK_S:g} s: see who it is (lsof {path}), end it and type the "
                "same command again",
            )
        if now_s > next_word_s:
            next_word_s = now_s + _LOCK_WORD_S
            _log.warning("waiting for %s, which another process holds (lsof shows it)", path)
        time.sleep(0.02)


def _change_conditionally(store: ConditionalStore, filesystem: Any, path: str, change: Change) -> None:
    for _ in range(MAX_CONFLICTS):
        try:
            condition: str | None = store.condition_in(fresh_info(filesystem, path))
            old: bytes | None = filesystem.cat_file(path)  # one that is newer than the condition fails it
        except FileNotFoundError:
            condition, old = None, None
        new = change(old)
        if new is None or store.put(path, new, condition):
            return
    raise OSError(
        f"{strip_secrets(path)} was changed by others {MAX_CONFLICTS} times while it was being changed: "
        "are many runs writing to this output?"
    )


def _delete_conditionally(store: ConditionalStore, filesystem: Any, path: str, version: str) -> bool:
    try:
        info = fresh_info(filesystem, path)
    except FileNotFoundError:
        return False
    return file_version(info) == version and store.delete(path, store.condition_in(info))
