"""A video's bytes: by its path, or in a decoding process, which may open nothing, by the descriptor it was handed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol, cast

_NO_SUCH_PLACE = -22  # as FFmpeg reads a refused seek: EINVAL


class UnreadableError(Exception):
    """The storage failed while the file was read; nothing is known of what is in it."""


class ReadableFile(Protocol):
    """What of a binary file is used here."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Returns the new place."""
        ...


class HandedFile:
    """One reader's own place in a file whose descriptor others read from too. Implements ``ReadableFile``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """See ``ReadableFile``; all that is left when ``size`` is negative.

        Raises:
            UnreadableError: The storage does not give it.
        """
        try:
            size = os.fstat(self._descriptor).st_size - self._at if size < 0 else size
            data = os.pread(self._descriptor, max(0, size), self._at)
        except OSError as error:
            raise UnreadableError(error.strerror) from error
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See ``ReadableFile``; a place before the start is refused by a negative number, and nothing moves."""
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: os.fstat(self._descriptor).st_size}
        at = starts[whence] + offset
        if at < 0:
            return _NO_SUCH_PLACE
        self._at = at
        return at

    def tell(self) -> int:
        """The place."""
        return self._at

    def close(self) -> None:
        """Others read on."""
        os.close(self._descriptor)


_handed: dict[str, int] = {}  # path -> descriptor; in a decoding process only, one at a time


@contextmanager
def handed_over(path: str, descriptor: int) -> Iterator[None]:
    """In this process, until the context closes, ``path`` means this descriptor, which is closed then."""
    _handed[path] = descriptor
    try:
        yield
    finally:
        del _handed[path]
        os.close(descriptor)


def is_handed_over(path: str) -> bool:
    """Whether the file may be read, but not opened by its path."""
    return path in _handed


@contextmanager
def open_file(path: str) -> Iterator[ReadableFile]:
    """Open a video for reading.

    Raises:
        OSError: There is no such file, or it may not be read.
    """
    if path not in _handed:
        with open(path, "rb") as opened:
            yield opened
        return
    file = HandedFile(_handed[path])
    try:
        yield file
    finally:
        file.close()


def file_status(path: str) -> os.stat_result:
    """Size, time and identity of the file itself.

    Raises:
        OSError: As ``open_file``.
    """
    return os.fstat(_handed[path]) if path in _handed else os.stat(path)


def open_to_hand_over(path: str) -> BinaryIO:
    """In the parent: a descriptor to send; never waits for a pipe's other end.

    Raises:
        OSError: As ``open_file``.
    """
    return cast(BinaryIO, os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb", buffering=0))
