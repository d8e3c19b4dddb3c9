"""Addresses of files: what may be shown of one, and how a relative one resolves. Opens nothing."""

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

StorageOptions: TypeAlias = Mapping[str, object] | None
"""Keyword arguments of the fsspec file system, such as ``{"endpoint_url": ...}``; never logged."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.:\-]*(?=://)")
_USER_INFO = re.compile(r"(?<=://)[^/?#]*@")
_ADDRESS_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s'\"<>]+")
_CONTAINER_FIRST = frozenset({"az", "abfs", "abfss"})
_PLAIN_SCHEMES = frozenset({"", "file", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})


def has_scheme(uri: str) -> bool:
    """Whether ``uri`` names its file system, as ``s3://bucket/a.mp4`` does and ``/data/a.mp4`` does not."""
    return _SCHEME.match(uri) is not None


def uri_scheme(uri: str) -> str:
    """The scheme in lower case, without ``://``; empty for a plain path."""
    scheme = _SCHEME.match(uri)
    return scheme[0].lower() if scheme else ""


def strip_secrets(uri: str) -> str:
    """Remove user info, query string and fragment, which may carry credentials.

    In a path and in the key of an S3 object ``?``, ``#`` and ``%`` are characters like others, as s3fs has it: two
    objects are never shown as one.

    Example: ``https://user:pw@host/a.mp4?sig=x -> https://host/a.mp4``; ``s3://bucket/copy#1.mp4`` stays.
    """
    scheme = uri_scheme(uri)
    if scheme in ("", "file"):
        return uri
    if scheme in _PLAIN_SCHEMES:
        bucket, slash, key = uri[len(scheme) + 3 :].partition("/")
        before, at, host = bucket.rpartition("@")
        if scheme in _CONTAINER_FIRST and ":" not in before:  # abfs://container@account…: no secret
            host = before + at + host
        return uri[: len(scheme) + 3] + host + slash + key
    return _without_query(_USER_INFO.sub("", uri), scheme)


def redact_text(text: str) -> str:
    """Apply `strip_secrets` to every address inside a message."""
    return _ADDRESS_IN_TEXT.sub(lambda match: strip_secrets(match[0]), text)


def containing_folder(uri: str) -> str:
    """The folder of a file, absolute for local files, without a web address's query string.

    Example: ``s3://bucket/set/videos.csv -> s3://bucket/set``.
    """
    if not has_scheme(uri):
        return str(Path(uri).absolute().parent)
    return _without_query(uri, uri_scheme(uri)).rpartition("/")[0]


def resolve_uri(uri: str, folder: str) -> str:
    """Resolve a relative ``uri`` against ``folder``; one file gets one spelling (``./a.mp4`` is ``a.mp4``).

    Example: ``("clips/../a.mp4", "s3://bucket/set") -> s3://bucket/set/a.mp4``.
    """
    if has_scheme(uri):
        return uri
    if uri.startswith("/"):
        return posixpath.normpath(uri)
    scheme, separator, path = folder.rpartition("://")
    return scheme + separator + posixpath.normpath(f"{path}/{uri}")


def _without_query(text: str, scheme: str) -> str:
    """What comes before a query string or fragment, where the scheme has any."""
    return text if scheme in _PLAIN_SCHEMES else re.split(r"[?#]", text, maxsplit=1)[0]
