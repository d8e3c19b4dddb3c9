"""Which files a list of addresses means: files, folders of them, patterns. Reads none of them."""

import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

import fsspec

from pipeline.failures import with_store_errors
from pipeline.manifest.problems import ManifestError
from pipeline.manifest.tables import SUFFIXES, suffix_of
from pipeline.uris import StorageOptions, has_scheme, strip_secrets, uri_scheme

_MARKS = "*?["
_VERSION = "?versionId="  # which S3 has behind a key
_WEB = ("http", "https")  # of which nothing can be listed


def find_manifests(uris: Sequence[str], *, storage_options: StorageOptions = None) -> list[str]:
    """Each file once, in the order given; those of a folder (with all below it) or a pattern by name.

    Names that begin with ``_`` or ``.`` are passed over unless they are given as they are, and files that are no
    manifests by their suffix.

    Raises:
        ManifestError: An address is of no file, holds no manifest, or cannot be listed.
    """
    found = dict.fromkeys(file for uri in uris for file in _find(uri, storage_options))
    return list(found)


def describe_files(uris: Sequence[str]) -> str:
    """``a.csv``; ``a.csv, b.csv``; ``a.csv, b.csv and 7 more``."""
    shown, hidden = ", ".join(map(strip_secrets, uris[:2])), len(uris) - 2
    return f"{shown} and {hidden} more" if hidden > 0 else shown


def _find(uri: str, storage_options: StorageOptions) -> Iterator[str]:
    is_local, plain = not has_scheme(uri), uri.partition(_VERSION)[0]
    is_pattern = any(mark in plain for mark in _MARKS)
    is_named = strip_secrets(plain).lower().endswith(SUFFIXES)
    if uri_scheme(uri) in _WEB or (is_named and not is_local and not is_pattern):
        yield uri
        return
    try:
        filesystem, path = fsspec.core.url_to_fs(plain, **(storage_options or {}))
        if is_pattern and not filesystem.exists(path):
            paths = [one for one in sorted(filesystem.glob(path)) if _is_manifest(one, posixpath.dirname(one))]
            nothing = f"nothing ends in {', '.join(SUFFIXES)} of what this pattern means: check it, quotes included"
        elif filesystem.isdir(path):
            paths = sorted(one for one in filesystem.find(path) if _is_manifest(one, path))
            nothing = f"this folder holds no manifest, which ends in {', '.join(SUFFIXES)}: name another"
        elif is_local and not filesystem.exists(path):
            raise ManifestError(uri, ["there is no such file: check the path"])
        else:
            suffix_of(uri)
            yield uri
            return
    except with_store_errors(OSError) as error:
        raise ManifestError(uri, [f"it cannot be listed ({type(error).__name__}): check the rights"]) from error
    except ImportError as error:
        raise ManifestError(uri, [f"this kind of address is not supported ({error})"]) from error
    if not paths:
        raise ManifestError(uri, [nothing])
    yield from (one if is_local else _address(filesystem, one) for one in paths)


def _is_manifest(path: str, root: str) -> bool:
    below = posixpath.relpath(path, root)
    return below.lower().endswith(SUFFIXES) and not any(part[0] in "_." for part in below.split("/"))


def _address(filesystem: Any, path: str) -> str:
    return str(filesystem.unstrip_protocol(path))
