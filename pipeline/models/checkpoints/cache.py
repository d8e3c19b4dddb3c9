"""Copies of remote checkpoints on a node: one folder per checkpoint and revision, fetched file by file."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.local_cache import LocalCache


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


def checkpoint_cache(folder: Path) -> LocalCache:
    """A cache as large as its disk; whole files of a download that broke off are kept for the next attempt."""
    return LocalCache(folder, keeps_parts=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointCopy:
    """A folder with exactly the files that ``remote.list_files()`` said. Implements ``RemoteCopy``."""

    remote: RemoteFolder
    files: Sequence[RemoteFile]

    remedy: ClassVar[str] = "free space there, or point reading.cache_dir to a larger disk"

    @property
    def name(self) -> str:
        """See ``RemoteCopy``."""
        return self.remote.name

    @property
    def identity(self) -> str:
        """See ``RemoteCopy``; another revision is another copy."""
        return f"{self.name}\n{revision_of(self.files)}"

    def is_complete(self, path: Path) -> bool:
        """See ``RemoteCopy``."""
        return not self._missing_files(path)

    def missing_bytes(self, part: Path) -> int:
        """See ``RemoteCopy``."""
        return sum(file.size_bytes for file in self._missing_files(part))

    def fetch(self, part: Path) -> None:
        """Download the files that are not there yet.

        Raises:
            PipelineError: of the source; ``TRANSFER`` when a file is short or the checkpoint changed meanwhile.
        """
        part.mkdir(exist_ok=True)
        for file in self._missing_files(part):
            arriving = part / f"{file.name}.arriving"
            self.remote.download(file.name, arriving)
            if not _has_size(arriving, file.size_bytes):
                raise PipelineError(
                    FailureClass.TRANSFER,
                    f"{self.name}/{file.name} has {file.size_bytes} bytes but {arriving.stat().st_size} arrived; "
                    "it is tried again",
                )
            arriving.replace(part / file.name)
        if revision_of(self.remote.list_files()) != revision_of(self.files):
            shutil.rmtree(part)
            raise PipelineError(
                FailureClass.TRANSFER,
                f"{self.name} changed while it was copied; let uploads end, then start the job again",
            )

    def _missing_files(self, folder: Path) -> list[RemoteFile]:
        return [file for file in self.files if not _has_size(folder / file.name, file.size_bytes)]


def _has_size(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False
