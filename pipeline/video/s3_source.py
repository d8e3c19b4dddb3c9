"""A video in an S3 store: version and download. fsspec and its libraries are imported when first used."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.failures import FailureClass, PipelineError
from pipeline.uris import strip_secrets
from pipeline.video.remote import LOCAL_DISK_ERRNOS, ObjectVersion

_PART_BYTES, _PARTS_AT_ONCE = 16 << 20, 4  # s3fs holds this much of a download in memory; its defaults are 500 MB


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Video:
    """One object of an S3 store; ``storage_options`` are fsspec's."""

    uri: str
    storage_options: Mapping[str, Any]

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
        """Copy the object to ``path``; ``max_bytes`` was checked with its size, and a change shows afterwards."""
        with self._typed_errors():
            self._filesystem().get_file(self.uri, path, chunksize=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)

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
