"""A remote video in memory, and what to do with one in a cache."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.video.remote import ObjectVersion
from pipeline.video.staging import VideoCopy

NO_LIMIT = 1 << 40


@dataclass
class FakeVideo:
    """A remote object in memory that counts its downloads; ``on_download`` runs when one is half done."""

    uri: str
    content: bytes = b"x" * 100
    version: str | None = "1"
    knows_size: bool = True
    num_downloads: int = 0
    on_download: list = field(default_factory=list)

    def look_up(self):
        return ObjectVersion(size_bytes=len(self.content) if self.knows_size else None, version=self.version)

    def download(self, path, *, max_bytes):
        self.num_downloads += 1
        content = self.content
        Path(path).write_bytes(content[: len(content) // 2])
        for action in self.on_download:
            action()
        Path(path).write_bytes(content)


def hold(cache, video):
    return hold_found(cache, video, video.look_up())


def hold_found(cache, video, found):
    return cache.hold(VideoCopy(remote=video, found=found, max_file_bytes=NO_LIMIT))


def use(cache, video):
    """Use a video once, as if all earlier uses were a second older; returns its path."""
    with hold(cache, video) as path:
        assert path.read_bytes() == video.content
    for copy in path.parent.glob("*.video"):
        changed_ns = copy.stat().st_mtime_ns - 10**9
        os.utime(copy, ns=(changed_ns, changed_ns))
    return path


def stored(tmp_path, suffix="video"):
    return {path.name for path in (tmp_path / "videos").glob(f"*.{suffix}")}
