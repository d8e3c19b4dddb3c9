"""From a URI of the manifest to a checked local file. What is inside the file is ``probe``'s question."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.containers import identify_container

ALLOWED_SCHEMES = ("file", "s3")


def resolve_local(uri: str, storage_options: Mapping[str, Any] | None = None, *, staging_dir: str | None = None) -> str:
    """Check a video and return the absolute path of a local file that holds it.

    Args:
        uri: a plain path, ``file://`` or ``s3://``.
        storage_options: passed to fsspec for ``s3://`` (credentials, ``endpoint_url``).
        staging_dir: where remote objects are copied to; a folder of the system's temporary directory by default.

    Raises:
        PipelineError: ``UNSUPPORTED_MEDIA`` (scheme, or not a video by content), ``NOT_FOUND``, ``ACCESS_DENIED``,
            ``CORRUPT_MEDIA`` (empty), ``TRANSFER`` (the copy broke off).
    """
    scheme = uri.partition("://")[0].lower() if "://" in uri else ""
    if scheme and scheme not in ALLOWED_SCHEMES:
        raise PipelineError(
            FailureClass.UNSUPPORTED_MEDIA,
            f"{redact_uri(uri)} has the scheme {scheme!r}; allowed are plain paths and "
            f"{', '.join(f'{name}://' for name in ALLOWED_SCHEMES)}. Copy the video to one of these.",
        )
    if scheme == "s3":
        path = _stage_s3(uri, dict(storage_options or {}), staging_dir)
    else:
        path = _file_uri_to_path(uri) if scheme == "file" else uri
    # absolute: FFmpeg reads "name:rest" as a protocol, and a relative path could look like one
    absolute = os.path.abspath(path)
    check_file(absolute)
    identify_container(absolute)
    return absolute


def check_file(path: str) -> None:
    """Refuse what decoders report only as one vague error: missing, unreadable, not a regular file, empty."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise PipelineError(
            FailureClass.NOT_FOUND, f"{path} does not exist; correct the manifest or mount the storage here."
        ) from None
    except PermissionError:
        raise PipelineError(
            FailureClass.ACCESS_DENIED, f"{path} lies in a folder this user may not enter; grant read access."
        ) from None
    except (OSError, ValueError) as error:  # a name too long, a null byte
        raise PipelineError(FailureClass.NOT_FOUND, f"{path!r} is not a usable path ({error}).") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise PipelineError(
            FailureClass.UNSUPPORTED_MEDIA, f"{path} is {kind}; each manifest row must name one video file."
        )
    if status.st_size == 0:
        raise PipelineError(FailureClass.CORRUPT_MEDIA, f"{path} is empty (0 bytes); copy the video again.")
    if not os.access(path, os.R_OK):
        raise PipelineError(FailureClass.ACCESS_DENIED, f"{path} is not readable by this user; grant read access.")


def redact_uri(uri: str) -> str:
    """The URI without user info, query string and fragment, which may hold credentials."""
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _file_uri_to_path(uri: str) -> str:
    parts = urlsplit(uri.replace("?", "%3F").replace("#", "%23"))
    if parts.netloc not in ("", "localhost"):
        raise PipelineError(
            FailureClass.UNSUPPORTED_MEDIA,
            f"{redact_uri(uri)} names the host {parts.netloc!r}; allowed is file:///absolute/path on this machine.",
        )
    return unquote(parts.path)


def _stage_s3(uri: str, storage_options: dict[str, Any], staging_dir: str | None) -> str:
    import fsspec
    from botocore.exceptions import BotoCoreError, NoCredentialsError  # type: ignore[import-untyped]

    try:
        return stage_object(fsspec.filesystem("s3", **storage_options), uri, staging_dir=staging_dir)
    except NoCredentialsError:
        raise PipelineError(
            FailureClass.ACCESS_DENIED, f"{redact_uri(uri)}: no S3 credentials were found on this worker; provide them."
        ) from None
    except BotoCoreError as error:
        raise PipelineError(
            FailureClass.TRANSFER,
            f"{redact_uri(uri)} could not be reached ({type(error).__name__}); check the endpoint.",
        ) from error


def stage_object(filesystem: Any, uri: str, *, staging_dir: str | None = None) -> str:
    """Copy one remote object here, once: the name holds a hash of URI, size and version, so a changed object is new.

    Args:
        filesystem: an fsspec filesystem.
        uri: the object's full URI.
        staging_dir: as in ``resolve_local``.

    Returns:
        The local path. It appears only when complete.
    """
    name = redact_uri(uri)
    try:
        info = filesystem.info(uri)
        target = _staged_path(uri, info, staging_dir)
        if not target.exists():
            _download(filesystem, uri, target, size_bytes=int(info["size"]))
    except FileNotFoundError:
        raise PipelineError(FailureClass.NOT_FOUND, f"{name} does not exist; correct the manifest.") from None
    except PermissionError:
        raise PipelineError(
            FailureClass.ACCESS_DENIED, f"{name} may not be read with these credentials; grant read access."
        ) from None
    except (OSError, TimeoutError) as error:
        raise PipelineError(
            FailureClass.TRANSFER, f"{name} could not be copied here ({type(error).__name__}); it is tried again."
        ) from error
    return str(target)


def _staged_path(uri: str, info: Mapping[str, Any], staging_dir: str | None) -> Path:
    version = info.get("ETag") or info.get("LastModified") or info.get("created") or ""
    digest = hashlib.sha256(f"{uri}\n{info['size']}\n{version}".encode()).hexdigest()[:32]
    folder = Path(staging_dir or Path(tempfile.gettempdir()) / f"adapttoken-videos-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{digest}{Path(urlsplit(uri).path).suffix[:16]}"


def _download(filesystem: Any, uri: str, target: Path, *, size_bytes: int) -> None:
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=".tmp-")
    os.close(handle)
    try:
        filesystem.get_file(uri, partial)
        received = os.path.getsize(partial)
        if received != size_bytes:
            raise PipelineError(
                FailureClass.TRANSFER,
                f"{redact_uri(uri)} has {size_bytes} bytes but {received} arrived; it is tried again.",
            )
        os.replace(partial, target)
    finally:
        Path(partial).unlink(missing_ok=True)
