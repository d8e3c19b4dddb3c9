"""A video in an object store: version and download. fsspec and its libraries are imported when first used."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.failures import FailureClass, PipelineError, with_store_errors
from pipeline.stores import fresh_info, identity_of, is_denied, open_store, store_of
from pipeline.uris import strip_secrets
from pipeline.video.remote import LOCAL_DISK_ERRNOS, ObjectVersion, Patience

_PART_BYTES, _PARTS_AT_ONCE = 8 << 20, 4  # a download holds this much in memory


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredVideo:
    """One object of a store that ``stores`` knows; ``storage_options`` are fsspec's."""

    uri: str
    storage_options: Mapping[str, Any]
    patience: Patience = field(default_factory=Patience)

    def look_up(self) -> ObjectVersion:
        """Size and ETag or generation of the object, or its modification time where the store has neither."""
        with self._typed_errors():
            info = fresh_info(self._filesystem(), self.uri, store_of(self.uri))
        if info["type"] == "directory":
            raise PipelineError(
                FailureClass.UNSUPPORTED_MEDIA,
                f"{strip_secrets(self.uri)} is a directory; each manifest row must name one video file.",
            )
        return ObjectVersion(size_bytes=info.get("size"), version=identity_of(info))

    def download(self, path: str, *, max_bytes: int) -> None:
        """Copy the object to ``path``; ``max_bytes`` was checked with its size, and a change shows afterwards.

        Raises:
            PipelineError: ``TRANSFER`` where a store that drips does not keep up the least average speed, too.
        """
        size_bytes, step = self.look_up().size_bytes or 0, _PART_BYTES * _PARTS_AT_ONCE
        with self._typed_errors(), open(path, "wb") as file:
            for start in range(0, size_bytes, step):
                for part in self._fetch(start, min(start + step, size_bytes)):
                    file.write(part)

    def _fetch(self, start: int, end: int) -> Sequence[bytes]:
        """Some parts at once; a store that says nothing, or little, is not waited for."""
        import fsspec

        filesystem = self._filesystem()

        async def fetch_all() -> list[bytes]:
            starts = range(start, end, _PART_BYTES)
            parts = (filesystem._cat_file(self.uri, start=at, end=min(at + _PART_BYTES, end)) for at in starts)
            return [*await asyncio.gather(*parts)]

        limit_s = self.patience.grace_s + (end - start) / self.patience.min_bytes_per_s
        try:
            found: Sequence[bytes] = fsspec.asyn.sync(filesystem.loop, fetch_all, timeout=limit_s)
        except fsspec.exceptions.FSTimeoutError as error:
            raise PipelineError(
                FailureClass.TRANSFER,
                f"{strip_secrets(self.uri)} comes too slowly: {end - start} bytes not there after {limit_s:.0f} s; "
                "check network and endpoint, it is tried again.",
            ) from error
        return found

    def _filesystem(self) -> Any:
        return open_store(self.uri, self.storage_options)

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        name = strip_secrets(self.uri)
        try:
            yield
        except PipelineError:
            raise
        except FileNotFoundError as error:
            raise PipelineError(FailureClass.NOT_FOUND, f"{name} does not exist; correct the manifest.") from error
        except with_store_errors(OSError, ValueError) as error:
            raise self._explain(name, error) from error

    def _explain(self, name: str, error: Exception) -> Exception:
        """As a failure; an error of the local disk as it is."""
        if isinstance(error, OSError) and error.errno in LOCAL_DISK_ERRNOS:
            return error
        kind = type(error).__name__
        if is_denied(error):
            message = f"{name} may not be read ({kind}); give the workers credentials with read access."
            return PipelineError(FailureClass.ACCESS_DENIED, message)
        if isinstance(error, ValueError) or kind == "ParamValidationError":
            store = store_of(self.uri)
            form = store.form if store else "scheme://bucket/key"
            return PipelineError(FailureClass.NOT_FOUND, f"{name} is no usable address; write {form}.")
        message = f"{name} could not be fetched ({kind}); check network and endpoint, it is tried again."
        return PipelineError(FailureClass.TRANSFER, message)
