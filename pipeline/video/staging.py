"""Copies of remote videos on a node: where they lie, how many, and how one is fetched and checked."""

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.sources import ReadingConfig
from pipeline.uris import strip_secrets
from pipeline.video.local_cache import LocalCache
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


def video_cache(folder: Path, *, max_bytes: int) -> LocalCache:
    """A cache trimmed to ``max_bytes``; a download that broke off starts again, for a video is one file."""
    return LocalCache(folder, suffix=".video", max_bytes=max_bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoCopy:
    """A remote video in the version that ``remote.look_up()`` found. Implements ``RemoteCopy``.

    Args:
        max_file_bytes: for objects whose size shows only while they are fetched.
    """

    remote: RemoteVideo
    found: ObjectVersion
    max_file_bytes: int

    remedy: ClassVar[str] = "free space there, lower reading.cache_bytes, or point reading.cache_dir to a larger disk."

    @property
    def name(self) -> str:
        """See ``RemoteCopy``."""
        return strip_secrets(self.remote.uri)

    @property
    def identity(self) -> str:
        """See ``RemoteCopy``."""
        return f"{self.remote.uri}\n{self.found.size_bytes}\n{self.found.version}"

    def is_complete(self, path: Path) -> bool:
        """See ``RemoteCopy``; the copy was checked when it got its name."""
        return path.exists()

    def missing_bytes(self, part: Path) -> int:
        """See ``RemoteCopy``."""
        return self.found.size_bytes or 0

    def fetch(self, part: Path) -> None:
        """Download all of it.

        Raises:
            PipelineError: of the source; ``TRANSFER`` when the copy is short or the object changed meanwhile.
        """
        self.remote.download(str(part), max_bytes=self.max_file_bytes)
        received, found = part.stat().st_size, self.found
        if found.size_bytes not in (None, received):
            raise PipelineError(
                FailureClass.TRANSFER,
                f"{self.name} has {found.size_bytes} bytes but {received} arrived; it is tried again.",
            )
        if (now := self.remote.look_up()) != found:
            raise PipelineError(
                FailureClass.TRANSFER,
                f"{self.name} changed while it was copied (from {found.size_bytes} bytes, version {found.version}, "
                f"to {now.size_bytes}, {now.version}); it is tried again.",
            )
