"""Timelines of videos that this node has read before, in a folder: the demuxer need not walk through hours twice."""

import hashlib
import os
import tempfile
from pathlib import Path

from pipeline.video.probe import VideoProbe
from pipeline.video.probe_codec import pack_probe, unpack_probe

MOST_ENTRIES = 1_000
_VERSION = 4  # of the entries; another one is never read


class ProbeCache:
    """Safe for concurrent workers: entries appear whole, and a damaged one is as good as none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str, *, path: str) -> VideoProbe | None:
        """The timeline kept under ``key``, for the copy of the video at ``path``."""
        entry = self._entry(key)
        try:
            probe = unpack_probe(entry.read_bytes(), path=path)
            os.utime(entry)
        except (OSError, ValueError):
            return None
        return probe

    def put(self, key: str, probe: VideoProbe) -> None:
        """Keep a timeline; the entries used longest ago go when there are many. A full disk is no error."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(dir=self._folder, prefix=".tmp-")
            with os.fdopen(handle, "wb") as file:
                file.write(pack_probe(probe))
            os.replace(partial, self._entry(key))
            self._trim()
        except OSError:
            return

    def _entry(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(f'{_VERSION} {key}'.encode()).hexdigest()[:32]}.npz"

    def _trim(self) -> None:
        entries = sorted(self._folder.glob("*.npz"), key=lambda entry: entry.stat().st_mtime)
        for entry in entries[:-MOST_ENTRIES]:
            entry.unlink(missing_ok=True)
