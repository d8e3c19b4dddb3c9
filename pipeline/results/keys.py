"""What identifies a video, a question and a result file, so that a second run knows what is done."""

import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import fsspec
from botocore.exceptions import BotoCoreError, NoCredentialsError  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem

from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest import Question, RejectedRow
from pipeline.uris import StorageOptions, strip_secrets

_VERSION_FIELDS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "created")


def video_fingerprint(uri: str, *, storage_options: StorageOptions = None) -> str:
    """Identify the stored object by URI, size and ETag or modification time: "same object", not content.

    The query string counts only where nothing else tells versions apart, so that a fresh signature changes nothing.

    Returns:
        16 hexadecimal digits.

    Raises:
        PipelineError: There is no such file, it may not be read, the storage does not answer, or it is no file.
    """
    size_bytes, version = _stat_object(uri, storage_options)
    name = uri if version is None else strip_secrets(uri)
    return _digest([name.removeprefix("file://"), size_bytes, version], num_digits=16)


def missing_fingerprint(uri: str) -> str:
    """Stand in for the fingerprint of a video that cannot be reached, so that its failed rows have stable keys."""
    return _digest(["missing", uri.removeprefix("file://")], num_digits=16)


def question_key(
    fingerprint: str, text: str, options: Sequence[str] | None, config_hash: str, *, occurrence: int = 0
) -> str:
    """Identify one answer to be computed; the same key in two runs is the same work.

    Args:
        fingerprint: Of the video.
        text: The question.
        options: Without letters; None for an open question.
        config_hash: Of the settings.
        occurrence: How many equal questions about this video stand before it in the manifest.

    Returns:
        32 hexadecimal digits.
    """
    parts: list[object] = [fingerprint, text, None if options is None else list(options), config_hash]
    return _digest(parts + [occurrence] * (occurrence > 0), num_digits=32)


def question_keys(questions: Sequence[Question], *, fingerprint: str, config_hash: str) -> list[str]:
    """Keys of all questions about one video, in manifest order; a question asked twice gets two keys."""
    seen: Counter[tuple[str, tuple[str, ...] | None]] = Counter()
    keys: list[str] = []
    for question in questions:
        content = (question.text, question.options)
        keys.append(question_key(fingerprint, *content, config_hash, occurrence=seen[content]))
        seen[content] += 1
    return keys


def rejected_key(rejected: RejectedRow, *, config_hash: str) -> str:
    """Key of a manifest row that cannot be asked: of what it holds and where it stands."""
    question = rejected.question
    parts = ["rejected", question.row_index, question.question_id, question.video, question.text, config_hash]
    return _digest(parts, num_digits=32)


def part_name(keys: Sequence[str]) -> str:
    """File name of the rows of these question keys, whatever their order.

    Raises:
        ValueError: No key, or one key twice: such a file would lose a row.
    """
    if not keys or len(set(keys)) != len(keys):
        repeated = sorted(key for key, count in Counter(keys).items() if count > 1)
        raise ValueError(f"keys must be unique and at least one, got {len(keys)} with {repeated} repeated")
    return f"part-{_digest(sorted(keys), num_digits=32)}.parquet"


def _digest(parts: Sequence[object], *, num_digits: int) -> str:
    canonical = json.dumps(parts, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:num_digits]


def _stat_object(uri: str, storage_options: StorageOptions) -> tuple[int | None, str | None]:
    """Size in bytes and version of a file, each None where the storage does not say."""
    shown_uri = strip_secrets(uri)
    try:
        filesystem, path = fsspec.core.url_to_fs(uri, **(storage_options or {}))
        if isinstance(filesystem, LocalFileSystem):
            return _stat_local(path)
        info: Mapping[str, Any] = filesystem.info(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"there is no video at {shown_uri}: check the path, and that every node can see it"
        raise PipelineError(FailureClass.NOT_FOUND, message) from error
    except (PermissionError, NoCredentialsError) as error:
        message = f"{shown_uri} may not be read ({type(error).__name__}): grant this job's user read access"
        raise PipelineError(FailureClass.ACCESS_DENIED, message) from error
    except (OSError, BotoCoreError) as error:
        message = f"the storage of {shown_uri} did not answer ({type(error).__name__}): check the network and endpoint"
        raise PipelineError(FailureClass.TRANSFER, message) from error
    except (ValueError, ImportError) as error:
        message = f"nothing can open addresses like {shown_uri}: use a path or s3://, or install the scheme's package"
        raise PipelineError(FailureClass.NOT_FOUND, message) from error
    if info["type"] == "directory":
        raise _not_a_file(shown_uri)
    versions = [info[name] for name in _VERSION_FIELDS if info.get(name)]
    if not versions:
        return info.get("size"), None
    return info.get("size"), versions[0].isoformat() if isinstance(versions[0], datetime) else str(versions[0])


def _stat_local(path: str) -> tuple[int, str]:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise _not_a_file(path)
    if not os.access(path, os.R_OK):
        raise PermissionError(path)
    return status.st_size, str(status.st_mtime_ns)


def _not_a_file(shown_uri: str) -> PipelineError:
    message = f"{shown_uri} is a folder or a device, not a video file: name the file itself"
    return PipelineError(FailureClass.UNSUPPORTED_MEDIA, message)
