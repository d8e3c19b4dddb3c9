"""What the cache needs of a remote storage, and the size check that all sources share."""

import errno
from dataclasses import dataclass
from typing import Protocol

from pipeline.failures import FailureClass, PipelineError

LOCAL_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
"""Errors of the cache's own disk; a source passes these on instead of calling them trouble of the network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a server or a store may take.

    Attributes:
        silence_s: without any byte.
        grace_s: before the average speed counts, which catches servers that drip.
        min_bytes_per_s: the least average speed of one answer.
    """

    silence_s: float = 30.0
    grace_s: float = 60.0
    min_bytes_per_s: float = 16 * 1024.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectVersion:
    """What a storage says of an object: size, and ETag or else modification time; None where it is silent."""

    size_bytes: int | None
    version: str | None


class RemoteVideo(Protocol):
    """One object of a remote storage; every failure is a ``PipelineError`` but those of ``LOCAL_DISK_ERRNOS``."""

    @property
    def uri(self) -> str:
        """The full address, never shown as it is."""

    def look_up(self) -> ObjectVersion:
        """Ask the storage, now."""

    def download(self, path: str, *, max_bytes: int) -> None:
        """Write the object to ``path``; ``TOO_LARGE`` as soon as more than ``max_bytes`` are known to come."""


def check_size(shown_uri: str, size_bytes: int | None, *, max_file_bytes: int) -> None:
    """Refuse an empty file and one beyond the limit; an unknown size passes."""
    if size_bytes == 0:
        raise PipelineError(FailureClass.CORRUPT_MEDIA, f"{shown_uri} is empty (0 bytes); copy the video again.")
    if size_bytes is not None and size_bytes > max_file_bytes:
        raise PipelineError(
            FailureClass.TOO_LARGE,
            f"{shown_uri} has {size_bytes} bytes, allowed are {max_file_bytes}; raise reading.max_file_bytes.",
        )
