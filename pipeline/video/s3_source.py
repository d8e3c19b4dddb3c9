"""A video in an S3 store: version and download. fsspec and its libraries are imported when first used."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.failures import FailureClass, PipelineError
from pipeline.uris import strip_secrets
from pipeline.video.remote import LOCAL_DISK_ERRNOS, ObjectVersion, Patience

_PART_BYTES, _PARTS_AT_ONCE = 8 << 20, 4  # a download holds this much in memory


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Video:
    """One object of an S3 store; ``storage_options`` are fsspec's."""

    uri: str
    storage_options: Mapping[str, Any]
    patience: Patience = field(default_factory=Patience)

    def look_up(self) -> ObjectVersion:
        """Size and ETag of the object, or its modification time where the store has no ETags."""
        with self._typed_errors():
            info: Mapping[str, Any] = self._filesystem().info(self.uri, refresh=True)
        if info["type"] == "directory":
            raise PipelineError(
                FailureClass.UNSUPPORTED_MEDIA,
                f"{strip_secrets(self.uri)} is a directory; each manifest row must name one video file.",
            )
        version = info.get("ETag") or info.get("LastModified")
        text = version.isoformat() if isinstance(version, datetime) else version
        return ObjectVersion(size_bytes=info.get("size"), version=str(text) if text else None)

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
        import fsspec

        return fsspec.filesystem("s3", **self.storage_options)

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        import aiohttp
        from botocore import exceptions as boto  # type: ignore[import-untyped]

        name = strip_secrets(self.uri)
        try:
            yield
        except FileNotFoundError as error:
            raise PipelineError(FailureClass.NOT_FOUND, f"{name} does not exist; correct the manifest.") from error
        except (PermissionError, boto.NoCredentialsError, boto.PartialCredentialsError) as error:
            raise PipelineError(
                FailureClass.ACCESS_DENIED,
                f"{name} may not be read ({type(error).__name__}); give the workers credentials with read access.",
            ) from error
        except (ValueError, boto.ParamValidationError) as error:
            raise PipelineError(
                FailureClass.NOT_FOUND, f"{name} is no usable address; write s3://bucket/key."
            ) from error
        except (OSError, boto.BotoCoreError, aiohttp.ClientError) as error:
            if isinstance(error, OSError) and error.errno in LOCAL_DISK_ERRNOS:
                raise
            raise PipelineError(
                FailureClass.TRANSFER,
                f"{name} could not be fetched ({type(error).__name__}); check network and endpoint, it is tried again.",
            ) from error
