"""Where stored frames lie: a folder, or an object store that fsspec reaches. One folder per video and sampling.

Files appear whole or not at all; two writers of one file write the same bytes, so the later one changes nothing.
"""

import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pipeline.stores import AZURE, store_of_filesystem, written_s
from pipeline.uris import StorageOptions, strip_secrets, uri_scheme

SUFFIX = ".frames"
_PARTIAL = ".tmp-"
_WRITE_ATTEMPTS = 5
_ABANDONED_S = 24 * 3_600.0  # after which a half-written file is nobody's any more
_KEY = re.compile(r"[0-9A-Za-z-]{8,96}")


class StoredFile(NamedTuple):
    """One file of the store; ``last_use_s`` since the epoch, of an object when it was written."""

    key: str
    name: str
    size_bytes: int
    last_use_s: float


class PieceStorage(Protocol):
    """Every method raises ``OSError`` where the storage does not do it."""

    def names(self, key: str) -> list[str]:
        """Files of one video and sampling."""
        ...

    def read(self, key: str, name: str, *, max_bytes: int) -> bytes:
        """The whole file.

        Raises:
            FileNotFoundError: There is none.
            ValueError: It is no file, or larger than ``max_bytes``.
        """
        ...

    def write(self, key: str, name: str, content: bytes) -> None:
        """Replace it in one step."""
        ...

    def remove(self, key: str, name: str) -> None:
        """It may be gone already."""
        ...

    def walk(self) -> Iterator[StoredFile]:
        """All files of the store."""
        ...


def open_storage(uri: str, storage_options: StorageOptions = None) -> PieceStorage:
    """A plain path and ``file://`` are folders, everything else is fsspec's."""
    if uri_scheme(uri) in ("", "file"):
        return FolderStorage(Path(uri.removeprefix("file://")).absolute())
    return ObjectStorage(uri, storage_options)


class FolderStorage:
    """A folder of this machine, or one that several share; a file's modification time is its last use."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self, key: str) -> list[str]:
        """See ``PieceStorage``."""
        with suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self.root / key) if name.endswith(SUFFIX))
        return []

    def read(self, key: str, name: str, *, max_bytes: int) -> bytes:
        """See ``PieceStorage``; links are not followed, and a pipe is not waited for."""
        path = self.root / key / name
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ValueError("no regular file")
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            if size_bytes > max_bytes:
                raise ValueError(f"{size_bytes:,} bytes, at most {max_bytes:,} can be right")
            content = file.read(max_bytes)
            with suppress(OSError):  # a store that may only be read
                os.utime(file.fileno(), ns=(time.time_ns(),) * 2)
        return content

    def write(self, key: str, name: str, content: bytes) -> None:
        """See ``PieceStorage``."""
        for attempt in range(_WRITE_ATTEMPTS):
            try:
                self._write_once(self.root / key, name, content)
                return
            except FileNotFoundError:  # another process removed the folder with its last file
                if attempt == _WRITE_ATTEMPTS - 1:
                    raise

    def _write_once(self, folder: Path, name: str, content: bytes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{_PARTIAL}{uuid.uuid4().hex}"
        try:
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(folder / name)
        finally:
            partial.unlink(missing_ok=True)

    def remove(self, key: str, name: str) -> None:
        """See ``PieceStorage``; an empty folder goes, too."""
        path = self.root / key / name
        try:
            path.unlink(missing_ok=True)
        except (IsADirectoryError, PermissionError):  # what a system says of a folder
            if not path.is_dir():
                raise
            shutil.rmtree(path)
        with suppress(OSError):  # not empty, or gone
            (self.root / key).rmdir()

    def walk(self) -> Iterator[StoredFile]:
        """See ``PieceStorage``; what dead writers left goes on the way."""
        with suppress(FileNotFoundError):
            for folder in sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir(follow_symlinks=False)):
                if _KEY.fullmatch(folder):
                    yield from self._walk_key(folder)

    def _walk_key(self, key: str) -> Iterator[StoredFile]:
        with suppress(FileNotFoundError):  # removed meanwhile
            for entry in sorted(os.scandir(self.root / key), key=lambda entry: entry.name):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if entry.name.startswith(_PARTIAL) and time.time() - status.st_mtime > _ABANDONED_S:
                        Path(entry.path).unlink(missing_ok=True)
                    elif entry.name.endswith(SUFFIX):
                        yield StoredFile(key, entry.name, status.st_size, status.st_mtime)


class ObjectStorage:
    """A prefix of an object store; one PUT per file. What is not used goes by the bucket's own rules."""

    def __init__(self, uri: str, storage_options: StorageOptions) -> None:
        import fsspec

        self._files: Any
        self._files, root = fsspec.core.url_to_fs(uri, **(storage_options or {}))
        self._root, self._shown = root.rstrip("/"), strip_secrets(uri)

    def names(self, key: str) -> list[str]:
        """See ``PieceStorage``."""
        with suppress(FileNotFoundError):
            self._files.invalidate_cache()
            found = self._files.ls(f"{self._root}/{key}", detail=False)
            return sorted(name for path in found if (name := path.rpartition("/")[2]).endswith(SUFFIX))
        return []

    def read(self, key: str, name: str, *, max_bytes: int) -> bytes:
        """See ``PieceStorage``."""
        path = f"{self._root}/{key}/{name}"
        self._files.invalidate_cache(f"{self._root}/{key}")
        size_bytes = self._files.info(path)["size"] or 0
        if size_bytes > max_bytes:
            raise ValueError(f"{size_bytes:,} bytes, at most {max_bytes:,} can be right")
        content: bytes = self._files.cat_file(path)
        return content

    def write(self, key: str, name: str, content: bytes) -> None:
        """See ``PieceStorage``; s3fs would send more than 50 MB in several parts."""
        settings = {} if store_of_filesystem(self._files) is AZURE else {"chunksize": len(content) + 1}
        self._files.pipe_file(f"{self._root}/{key}/{name}", content, **settings)

    def remove(self, key: str, name: str) -> None:
        """See ``PieceStorage``."""
        with suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{key}/{name}")

    def walk(self) -> Iterator[StoredFile]:
        """See ``PieceStorage``."""
        self._files.invalidate_cache()
        for path, info in sorted(self._files.find(self._root, detail=True).items()):
            folder, _, name = path.rpartition("/")
            key = folder.rpartition("/")[2]
            if name.endswith(SUFFIX) and _KEY.fullmatch(key):
                yield StoredFile(key, name, int(info.get("size") or 0), written_s(info))
