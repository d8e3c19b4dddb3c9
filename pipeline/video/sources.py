"""From a URI of the manifest to a checked local file. What is inside the file is ``probe``'s question."""

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.sources import ReadingConfig
from pipeline.stores import SCHEMES, is_in_store
from pipeline.uris import strip_secrets, uri_scheme
from pipeline.video.containers import identify_container
from pipeline.video.http_source import HttpVideo
from pipeline.video.remote import RemoteVideo, check_size
from pipeline.video.staging import VideoCopy, cache_folder, video_cache
from pipeline.video.store_source import StoredVideo
from pipeline.video.versions import check_version, local_version

_UNSTABLE_ERRNOS = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN})


@contextmanager
def local_video(
    uri: str,
    *,
    reading: ReadingConfig,
    storage_options: Mapping[str, Any] | None = None,
    fingerprint: str | None = None,
) -> Iterator[str]:
    """Yield the absolute path of a checked local file that holds the video; it stays while the context is open.

    Errors raised inside the context name the video by its URI, not by the path of its copy.

    Args:
        uri: a plain path, ``file://``, ``s3://``, or ``http(s)://`` where ``reading.allow_http`` says so.
        reading: limits, and the cache for copies of remote videos.
        storage_options: passed to fsspec for ``s3://`` (credentials, ``endpoint_url``).
        fingerprint: of the version that is meant; a local file is looked at again when the context closes, as it was
            read where it lies.

    Raises:
        PipelineError: ``UNSUPPORTED_MEDIA`` (scheme, no file, not a video by content), ``NOT_FOUND``,
            ``ACCESS_DENIED``, ``TOO_LARGE`` (``reading.max_file_bytes``), ``CORRUPT_MEDIA`` (empty), ``TRANSFER``
            (the network or the cache's disk, or another version; may end differently the next time).
    """
    check_scheme(uri, allow_http=reading.allow_http)
    if is_local(uri):
        path = local_path(uri)
        check_file(path, max_file_bytes=reading.max_file_bytes)
        _check_still(uri, path, fingerprint)
        _check_content(path)
        try:
            yield path
        except PipelineError:
            _check_still(uri, path, fingerprint)  # half of one version and half of another is no broken video
            raise
        _check_still(uri, path, fingerprint)
        return
    remote, shown_uri = remote_video(uri, storage_options), strip_secrets(uri)
    found = remote.look_up()
    check_version(uri, found, fingerprint=fingerprint)
    check_size(shown_uri, found.size_bytes, max_file_bytes=reading.max_file_bytes)
    if (found.size_bytes or 0) > reading.cache_bytes:  # else it would be fetched again for every stretch
        raise PipelineError(
            FailureClass.TOO_LARGE,
            f"{shown_uri} has {found.size_bytes} bytes, the cache of a node holds {reading.cache_bytes}; raise "
            "reading.cache_bytes.",
        )
    cache = video_cache(cache_folder(reading) / "videos", max_bytes=reading.cache_bytes)
    with cache.hold(VideoCopy(remote=remote, found=found, max_file_bytes=reading.max_file_bytes)) as copy:
        path = str(copy)
        try:
            check_file(path, max_file_bytes=reading.max_file_bytes)
            _check_content(path)
            yield path
        except PipelineError as error:
            raise PipelineError(error.failure_class, error.message.replace(path, shown_uri)) from error


def check_scheme(uri: str, *, allow_http: bool) -> None:
    """Refuse every scheme outside the allow-list: others could reach hosts and files that are nobody's videos."""
    scheme = uri_scheme(uri)
    if scheme in ("", "file", *SCHEMES) or (scheme in ("http", "https") and allow_http):
        return
    remedy = "Set reading.allow_http" if scheme in ("http", "https") else "Copy the video to one of these"
    raise PipelineError(
        FailureClass.UNSUPPORTED_MEDIA,
        f"{strip_secrets(uri)} has the scheme {scheme!r}; allowed are plain paths, file://, s3://, gs://, az:// and, "
        f"with reading.allow_http, http:// and https://. {remedy}.",
    )


def is_local(uri: str) -> bool:
    """Whether ``uri`` names a file of this machine."""
    return uri_scheme(uri) in ("", "file")


def local_path(uri: str) -> str:
    """The absolute path of a local file; absolute because FFmpeg reads ``name:rest`` as a protocol.

    Example: ``file:///data/a%20b.mp4 -> /data/a b.mp4``.
    """
    if not uri_scheme(uri):
        return os.path.abspath(uri)
    parts = urlsplit(uri.replace("?", "%3F").replace("#", "%23"))
    if parts.netloc not in ("", "localhost"):
        raise PipelineError(
            FailureClass.UNSUPPORTED_MEDIA,
            f"{uri} names the host {parts.netloc!r}; allowed is file:///absolute/path on this machine.",
        )
    return os.path.abspath(unquote(parts.path))


def remote_video(uri: str, storage_options: Mapping[str, Any] | None) -> RemoteVideo:
    """The source of a URI that is not local and has passed ``check_scheme``."""
    if is_in_store(uri):
        return StoredVideo(uri=uri, storage_options=storage_options or {})
    return HttpVideo(uri=uri)


def check_file(path: str, *, max_file_bytes: int | None = None) -> None:
    """Refuse what decoders report only as one vague error: missing, unreadable, not a regular file, empty, too large.

    Args:
        path: absolute.
        max_file_bytes: None is no limit.
    """
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
    except (OSError, ValueError) as error:  # a name too long, a null byte, a file server that is away
        if isinstance(error, OSError) and error.errno in _UNSTABLE_ERRNOS:
            raise _unreadable(path, error) from error
        raise PipelineError(FailureClass.NOT_FOUND, f"{path!r} is not a usable path ({error}).") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise PipelineError(
            FailureClass.UNSUPPORTED_MEDIA, f"{path} is {kind}; each manifest row must name one video file."
        )
    check_size(path, status.st_size, max_file_bytes=max_file_bytes or status.st_size)
    if not os.access(path, os.R_OK):
        raise PipelineError(FailureClass.ACCESS_DENIED, f"{path} is not readable by this user; grant read access.")


def _check_still(uri: str, path: str, fingerprint: str | None) -> None:
    if fingerprint is None:
        return
    try:
        now = local_version(os.stat(path))
    except OSError as error:
        raise _unreadable(path, error) from error
    check_version(uri, now, fingerprint=fingerprint)


def _check_content(path: str) -> None:
    try:
        identify_container(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> PipelineError:
    return PipelineError(FailureClass.TRANSFER, f"{path} cannot be read ({error.strerror}); it is tried again.")
