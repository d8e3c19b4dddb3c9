"""The serial executor's object store: memory up to a limit, beyond it files on the local disk."""

import pickle
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, eq=False)
class _Stored:
    """A value that counts against the memory limit, or the file that holds it, for as long as somebody refers to it."""

    value: Any = None
    path: Path | None = None


class LocalStore:
    """One process; a value goes when its last reference does."""

    def __init__(self, *, memory_bytes: int) -> None:
        self._memory_bytes, self._used_bytes = memory_bytes, 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._num_files = 0

    def put(self, value: Any) -> Any:
        """See ``ObjectStore``."""
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        num_bytes = len(head) + sum(buffer.raw().nbytes for buffer in buffers)
        if self._used_bytes + num_bytes > self._memory_bytes:
            return self._spill(value)
        self._used_bytes += num_bytes
        stored = _Stored(value=value)
        weakref.finalize(stored, self._release, num_bytes)
        return stored

    def get(self, ref: Any) -> Any:
        """See ``ObjectStore``."""
        if ref.path is None:
            return ref.value
        with ref.path.open("rb") as file:
            return pickle.load(file)

    def _release(self, num_bytes: int) -> None:
        self._used_bytes -= num_bytes

    def _spill(self, value: Any) -> _Stored:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="adapttoken-frames-")
        path = Path(self._folder.name) / f"{self._num_files}.pickle"
        self._num_files += 1
        with path.open("wb") as file:
            pickle.dump(value, file, protocol=5)
        stored = _Stored(path=path)
        weakref.finalize(stored, path.unlink, missing_ok=True)
        return stored
