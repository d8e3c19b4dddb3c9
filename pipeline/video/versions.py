"""Which version of a stored video is meant: a fingerprint of address, size, and ETag or time; not of the content."""

import hashlib
import json
import os
from typing import Any

from pipeline.failures import ReplacedError
from pipeline.uris import strip_secrets
from pipeline.video.remote import ObjectVersion


def object_fingerprint(uri: str, version: ObjectVersion) -> str:
    """16 hexadecimal digits of an object whose size and version are known."""
    name = uri if None in (version.size_bytes, version.version) else strip_secrets(uri)
    return digest([name.removeprefix("file://"), version.size_bytes, version.version], num_digits=16)


def local_version(status: os.stat_result) -> ObjectVersion:
    """Size and modification time of a file."""
    return ObjectVersion(size_bytes=status.st_size, version=str(status.st_mtime_ns))


def check_version(uri: str, found: ObjectVersion, *, fingerprint: str | None) -> None:
    """Refuse another version than the one that was planned: its answers would be filed under the other's key.

    Args:
        uri: of the video.
        found: what the storage has now.
        fingerprint: of the planned version, perhaps with ``-1``, ``-2``, … behind it; None: any will do.

    Raises:
        ReplacedError: It names the version that is there, which is planned instead.
    """
    if fingerprint is None:
        return
    planned, dash, number = fingerprint.partition("-")
    if (there := object_fingerprint(uri, found)) != planned:
        raise ReplacedError(
            f"{strip_secrets(uri)} was replaced since this run was planned (it has {found.size_bytes} bytes now); "
            "the next run answers about the new version.",
            found=there + dash + number,
        )


def digest(parts: Any, *, num_digits: int) -> str:
    """The first hexadecimal digits of a hash of JSON values."""
    canonical = json.dumps(parts, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:num_digits]
