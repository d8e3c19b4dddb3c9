"""Keeps a folder of stored frames within its bound: the files that were used longest ago go first."""

import fcntl
from contextlib import suppress

from pipeline.video.frame_store.storage import FolderStorage

_LOOKS_PER_BOUND = 64  # a store is looked through whenever this part of its bound was written


class StoreRoom:
    """For one writing process; several of them trim one folder in turn."""

    def __init__(self, storage: FolderStorage, *, max_bytes: int) -> None:
        self._storage, self._max_bytes = storage, max_bytes
        self._unseen_bytes: int | None = None  # written since the last look; None: never looked

    def note_written(self, size_bytes: int) -> None:
        """Trim if it is time to. A file that is being read stays readable for its reader."""
        unseen_bytes = self._unseen_bytes
        self._unseen_bytes = None if unseen_bytes is None else unseen_bytes + size_bytes
        if self._unseen_bytes is None or self._unseen_bytes > self._max_bytes // _LOOKS_PER_BOUND:
            self.trim()
            self._unseen_bytes = 0

    def trim(self) -> None:
        """Remove files until the rest fits."""
        self._storage.root.mkdir(parents=True, exist_ok=True)
        with (self._storage.root / ".lock").open("a") as lock:
            with suppress(OSError):  # a mount without locks: two may look at once, and remove a little more
                fcntl.flock(lock, fcntl.LOCK_EX)
            files = sorted(self._storage.walk(), key=lambda file: file.last_use_s)
            total_bytes = sum(file.size_bytes for file in files)
            for file in files:
                if total_bytes <= self._max_bytes:
                    break
                self._storage.remove(file.key, file.name)
                total_bytes -= file.size_bytes
