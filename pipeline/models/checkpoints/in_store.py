"""A checkpoint under a prefix of an object store: what it is now, and a copy of it on this node's disk."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.failures import FailureClass, PipelineError, with_store_errors
from pipeline.models.checkpoints.cache import CheckpointCopy, RemoteFile, revision_of
from pipeline.models.checkpoints.files import INDEX_FILE, check_files, is_checkpoint_file, is_planning_file, model_error
from pipeline.stores import (
    S3,
    identity_of,
    is_denied,
    open_store,
    store_of,
    store_of_filesystem,
)
from pipeline.uris import strip_secrets
from pipeline.video.local_cache import LocalCache
from pipeline.video.remote import LOCAL_DISK_ERRNOS

_PART_BYTES, _PARTS_AT_ONCE = 16 << 20, 8  # of a file in memory while it arrives


class StoredCheckpoint:
    """Implements ``Checkpoint`` and ``RemoteFolder``.

    Args:
        uri: such as ``s3://bucket/prefix``; its files lie directly below, as ``save_pretrained`` writes them.
        cache: where copies are kept.
        storage_options: fsspec's.
    """

    def __init__(self, uri: str, *, cache: LocalCache, storage_options: Mapping[str, Any]) -> None:
        self._uri, self._cache, self._storage_options = uri.rstrip("/"), cache, storage_options
        self.name = strip_secrets(self._uri)

    @property
    def revision(self) -> str:
        """Over names, sizes and ETags of all files."""
        return revision_of(self._files)

    @contextmanager
    def planning_files(self) -> Iterator[Path]:
        """A folder that goes with the context; says also whether all weights are there.

        Raises:
            PipelineError: Class ``model``: files are missing.
        """
        names = {file.name for file in self._files}
        index = self._read(INDEX_FILE) if INDEX_FILE in names else None
        check_files(self.name, self.name, names, index)
        with TemporaryDirectory(prefix="adapttoken-") as folder:
            for name in sorted(filter(is_planning_file, (file.name for file in self._listed))):
                (Path(folder) / name).write_bytes(self._read(name))
            yield Path(folder)

    @contextmanager
    def all_files(self) -> Iterator[Path]:
        """The node's copy."""
        with self._cache.hold(CheckpointCopy(remote=self, files=self._files)) as folder:
            yield folder

    def list_files(self) -> tuple[RemoteFile, ...]:
        """See ``RemoteFolder``; other files beside the checkpoint's do not count."""
        return tuple(sorted(file for file in self._list() if is_checkpoint_file(file.name)))

    def download(self, file_name: str, path: Path) -> None:
        """See ``RemoteFolder``."""
        with self._typed_errors():
            filesystem = self._filesystem()
            in_parts = {"chunksize": _PART_BYTES, "max_concurrency": _PARTS_AT_ONCE}
            settings = in_parts if store_of_filesystem(filesystem) is S3 else {}
            filesystem.get_file(f"{self._uri}/{file_name}", str(path), **settings)

    def _list(self) -> list[RemoteFile]:
        with self._typed_errors():
            filesystem = self._filesystem()
            filesystem.invalidate_cache()
            entries: list[Mapping[str, Any]] = filesystem.ls(self._uri, detail=True)
        return [_to_file(entry) for entry in entries if entry["type"] == "file"]

    @cached_property
    def _listed(self) -> list[RemoteFile]:
        return self._list()

    @cached_property
    def _files(self) -> tuple[RemoteFile, ...]:
        return tuple(sorted(file for file in self._listed if is_checkpoint_file(file.name)))

    def _read(self, file_name: str) -> bytes:
        with self._typed_errors():
            content: bytes = self._filesystem().cat_file(f"{self._uri}/{file_name}")
        return content

    def _filesystem(self) -> Any:
        return open_store(self._uri, self._storage_options)

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise model_error(self.name, "does not exist", "check bucket and prefix") from error
        except with_store_errors(OSError, ValueError) as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> Exception:
        """As a failure of the model; an error of the local disk as it is."""
        if isinstance(error, OSError) and error.errno in LOCAL_DISK_ERRNOS:
            return error
        kind = type(error).__name__
        if is_denied(error):
            remedy = "give job and workers credentials with read access"
            return model_error(self.name, f"may not be read ({kind})", remedy)
        if isinstance(error, ValueError) or kind == "ParamValidationError":
            store = store_of(self._uri)
            form = store.form.replace("key", "prefix") if store else "scheme://bucket/prefix"
            return model_error(self.name, "is no usable address", f"write {form}")
        return PipelineError(
            FailureClass.TRANSFER,
            f"model {self.name!r} could not be fetched ({kind}); check network and endpoint, then start the job again",
        )


def _to_file(entry: Mapping[str, Any]) -> RemoteFile:
    version = str(identity_of(entry))
    return RemoteFile(name=entry["name"].rpartition("/")[2], size_bytes=int(entry["size"]), version=version)
