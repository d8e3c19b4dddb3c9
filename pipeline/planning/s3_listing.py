"""Versions of many S3 objects from few requests: pages of a listing, which skip to the next object that is wanted."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.uris import StorageOptions, strip_secrets
from pipeline.video.remote import ObjectVersion

RUN_OBJECTS = 1_000  # one thread's share; as many as one page can hold
_VERSION = "?versionId="
_WORTHWHILE = 10  # wanted objects on a page, below which single requests are cheaper than its thousand entries


def list_versions(uris: Sequence[str], storage_options: StorageOptions) -> Mapping[str, ObjectVersion]:
    """What listings say of some of these objects.

    An object that is missing here is not yet known: it is not there, pages hold too few wanted ones, or the bucket may
    not be listed. Ask for it alone.

    Args:
        uris: ``s3://bucket/key``, of one bucket, at most `RUN_OBJECTS`.
        storage_options: fsspec's.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    uri_of_key = {_split(uri)[1]: uri for uri in uris}
    bucket, wanted = _split(uris[0])[0], sorted(uri_of_key, key=str.encode)  # S3 sorts by UTF-8 bytes
    found: dict[str, ObjectVersion] = {}
    prefix, at = posixpath.commonprefix([key.rpartition("/")[0] + "/" for key in wanted]).rpartition("/")[0], 0
    try:
        while at < len(wanted):
            before, num_found = at, len(found)
            page = _page(bucket, prefix, wanted[at], storage_options)
            entries = {entry["Key"]: entry for entry in page.get("Contents", ())}
            last = max((key.encode() for key in entries), default=b"")
            while at < len(wanted) and (not page.get("IsTruncated") or wanted[at].encode() <= last):
                if wanted[at] in entries:
                    found[uri_of_key[wanted[at]]] = _to_version(entries[wanted[at]])
                at += 1
            if at - before < _WORTHWHILE or len(found) == num_found:
                break
    except (OSError, BotoCoreError, ClientError):
        pass  # the single requests that follow say what is wrong, with its class
    return found


def split_runs(uris: Sequence[str]) -> Iterator[list[str]]:
    """Objects of one bucket that lie near each other, at most `RUN_OBJECTS` together.

    None with a version behind its key: s3fs, which reads the object, takes that for no part of the key.
    """
    run: list[str] = []
    for uri in sorted(uri for uri in uris if _VERSION not in uri and strip_secrets(uri) == uri):
        if run and (len(run) == RUN_OBJECTS or _split(uri)[0] != _split(run[0])[0]):
            yield run
            run = []
        run.append(uri)
    if run:
        yield run


def _page(bucket: str, prefix: str, first_key: str, storage_options: StorageOptions) -> Mapping[str, Any]:
    """Up to 1,000 objects from ``first_key`` on."""
    import fsspec

    filesystem = fsspec.filesystem("s3", **(storage_options or {}))
    page: Mapping[str, Any] = filesystem.call_s3(
        "list_objects_v2", Bucket=bucket, Prefix=prefix, StartAfter=_just_before(first_key), **filesystem.req_kw
    )
    return page


def _just_before(key: str) -> str:
    """A text that sorts before a key, with hardly a name between: ``a/v12 -> a/v11~``."""
    return key[:-1] + (f"{chr(ord(key[-1]) - 1)}~" if "!" < key[-1] <= "~" else "")


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.partition("://")[2].partition("/")
    return bucket, key


def _to_version(entry: Mapping[str, Any]) -> ObjectVersion:
    """As ``StoredVideo.look_up`` would say it."""
    version = entry.get("ETag") or entry["LastModified"].isoformat()
    return ObjectVersion(size_bytes=entry.get("Size"), version=str(version) or None)
