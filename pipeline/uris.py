"""Addresses of files: what may be shown of one, and how a relative one resolves. Opens nothing."""

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

StorageOptions: TypeAlias = Mapping[str, object] | None
"""Keyword arguments of the fsspec file system, such as ``{"endpoint_url": ...}``; never logged."""

_USER_INFO = re.compile(r"(?<=://)[^/?#]*@")
_ADDRESS_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s'\"<>]+")


def has_scheme(uri: str) -> bool:
    """Whether ``uri`` names its file system, as ``s3://bucket/a.mp4`` does and ``/data/a.mp4`` does not."""
    return "://" in uri


def uri_scheme(uri: str) -> str:
    """The scheme in lower case, without ``://``; empty for a plain path."""
    return uri.partition("://")[0].lower() if has_scheme(uri) else ""


def strip_secrets(uri: str) -> str:
    """Remove user info, query string and fragment, which may carry credentials; local paths stay as they are.

    Example: ``https://user:pw@host/a.mp4?sig=x -> https://host/a.mp4``.
    """
    if not has_scheme(uri) or uri.startswith("file://"):
        return uri
    return re.split(r"[?#]", _USER_INFO.sub("", uri), maxsplit=1)[0]


def redact_text(text: str) -> str:
    """Apply `strip_secrets` to every address inside a message."""
    return _ADDRESS_IN_TEXT.sub(lambda match: strip_secrets(match[0]), text)


def containing_folder(uri: str) -> str:
    """The folder of a file, absolute for local files, without credentials' query strings.

    Example: ``s3://bucket/set/videos.csv -> s3://bucket/set``.
    """
    if not has_scheme(uri):
        return str(Path(uri).absolute().parent)
    return re.split(r"[?#]", uri, maxsplit=1)[0].rpartition("/")[0]


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
