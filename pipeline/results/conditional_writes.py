"""Requests of object stores that hold only while an object is as it was: If-Match by ETag, or by generation on GCS."""

from collections.abc import Mapping
from typing import Any, Protocol

import fsspec
from fsspec.asyn import sync

from pipeline.stores import AZURE, GCS, S3, store_of_filesystem

_FAILED_CONDITION = frozenset({409, 412})


class ConditionalStore(Protocol):
    """What a store can do to one object on a condition.

    ``condition``: what ``condition_in`` said; None: there is no such object. Failures other than a changed
    object are errors of the store's client.
    """

    def condition_in(self, info: Mapping[str, Any]) -> str:
        """Of the content that a file system describes."""

    def put(self, path: str, content: bytes, condition: str | None) -> bool:
        """One request, whatever the size; returns whether it was written."""

    def delete(self, path: str, condition: str) -> bool:
        """Returns whether it was deleted."""


def conditional_store(filesystem: fsspec.AbstractFileSystem) -> ConditionalStore | None:
    """Of a file system that has such requests."""
    store = store_of_filesystem(filesystem)
    kinds: dict[Any, type[S3Objects | GcsObjects | AzureObjects]] = {S3.protocol: S3Objects}
    kinds |= {GCS.protocol: GcsObjects, AZURE.protocol: AzureObjects}
    return kinds[store.protocol](filesystem) if store is not None else None


class S3Objects:
    """By ETag; a store that knows no conditions (501) writes without."""

    def __init__(self, filesystem: Any) -> None:
        self._files = filesystem

    def condition_in(self, info: Mapping[str, Any]) -> str:
        """See ``ConditionalStore``."""
        return str(info["ETag"])

    def put(self, path: str, content: bytes, condition: str | None) -> bool:
        """See ``ConditionalStore``."""
        match = {"IfNoneMatch": "*"} if condition is None else {"IfMatch": condition}
        try:
            put_whole(self._files, path, content, **match)
        except OSError as error:
            status = _http_status(error)
            if status == 501:
                put_whole(self._files, path, content)
                return True
            if status in _FAILED_CONDITION or (status == 404 and condition is not None):
                return False
            raise
        return True

    def delete(self, path: str, condition: str) -> bool:
        """See ``ConditionalStore``."""
        bucket, key, _ = self._files.split_path(path)
        try:
            try:
                self._files.call_s3("delete_object", Bucket=bucket, Key=key, IfMatch=condition)
            except OSError as error:
                if _http_status(error) != 501:
                    raise
                self._files.call_s3("delete_object", Bucket=bucket, Key=key)
        except OSError as error:
            if _http_status(error) in _FAILED_CONDITION or isinstance(error, FileNotFoundError):
                return False
            raise
        self._files.invalidate_cache(self._files._parent(path))
        return True


class GcsObjects:
    """By generation, which every new content of an object has of its own."""

    def __init__(self, filesystem: Any) -> None:
        self._files = filesystem

    def condition_in(self, info: Mapping[str, Any]) -> str:
        """See ``ConditionalStore``."""
        return str(info["generation"])

    def put(self, path: str, content: bytes, condition: str | None) -> bool:
        """See ``ConditionalStore``."""
        files = self._files
        bucket, key, _ = files.split_path(path)
        address = f"{files._location}/upload/storage/v1/b/{bucket}/o"
        query = {"uploadType": "media", "name": key, "ifGenerationMatch": condition or "0"}
        try:
            sync(files.loop, files._call, "POST", address, data=content, json_out=True, **query)
        except (FileExistsError, FileNotFoundError):  # 412; 404: what was to be replaced has gone
            return False
        files.invalidate_cache()
        return True

    def delete(self, path: str, condition: str) -> bool:
        """See ``ConditionalStore``."""
        files = self._files
        bucket, key, _ = files.split_path(path)
        try:
            sync(files.loop, files._call, "DELETE", "b/{}/o/{}", bucket, key, ifGenerationMatch=condition)
        except (FileExistsError, FileNotFoundError):
            return False
        files.invalidate_cache()
        return True


class AzureObjects:
    """By ETag."""

    def __init__(self, filesystem: Any) -> None:
        self._files = filesystem

    def condition_in(self, info: Mapping[str, Any]) -> str:
        """See ``ConditionalStore``."""
        return str(info["etag"])

    def put(self, path: str, content: bytes, condition: str | None) -> bool:
        """See ``ConditionalStore``."""
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        match: dict[str, Any] = {"overwrite": False}
        if condition is not None:
            match = {"overwrite": True, "etag": condition, "match_condition": MatchConditions.IfNotModified}
        try:
            self._files.pipe_file(path, content, **match)
        except FileExistsError:
            return False
        except HttpResponseError as error:
            if error.status_code in _FAILED_CONDITION or (error.status_code == 404 and condition is not None):
                return False
            raise
        return True

    def delete(self, path: str, condition: str) -> bool:
        """See ``ConditionalStore``."""
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        container, name, _ = self._files.split_path(path)

        async def delete() -> None:
            async with self._files.service_client.get_blob_client(container, name) as blob:
                await blob.delete_blob(etag=condition, match_condition=MatchConditions.IfNotModified)

        try:
            sync(self._files.loop, delete)
        except HttpResponseError as error:
            if error.status_code in (404, *_FAILED_CONDITION):
                return False
            raise
        self._files.invalidate_cache(self._files._parent(path))
        return True


def put_whole(filesystem: fsspec.AbstractFileSystem, path: str, content: bytes, **condition: str) -> None:
    """One request, whatever the size up to what the store takes in one (5 GB on S3); clients would cut it in parts."""
    store = store_of_filesystem(filesystem)
    settings: dict[str, Any] = {"chunksize": len(content) + 1} if store in (S3, GCS) else {}
    filesystem.pipe_file(path, content, **settings, **condition)


def _http_status(error: OSError) -> int | None:
    """What S3 answered, if this error is an answer of it."""
    response = getattr(error.__cause__, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) else None
