"""What a checkpoint's name stands for: the demo model, a folder, an ``s3://`` prefix or a hub id, at one revision.

Planning takes what says how a model is shaped and asked; loading takes a local folder with all files, copied once per
node.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import snapshot_download
from transformers.utils import cached_file

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.checkpoints.cache import checkpoint_cache
from pipeline.models.checkpoints.files import (
    CHECKPOINT_PATTERNS,
    INDEX_FILE,
    PLANNING_PATTERNS,
    PROCESSOR_FILES,
    ExplainErrors,
    cause_of,
    check_files,
    model_error,
)
from pipeline.models.checkpoints.headers import read_headers
from pipeline.models.checkpoints.in_store import StoredCheckpoint
from pipeline.settings.config import DEMO_MODEL, ModelConfig
from pipeline.settings.sources import ReadingConfig
from pipeline.stores import is_in_store
from pipeline.uris import uri_scheme
from pipeline.video.staging import cache_folder

_DEMO_FOLDER = Path(__file__).parents[2] / "demo" / "model"
_HASHING_THREADS = 4


class Checkpoint(Protocol):
    """A checkpoint as its storage has it now."""

    @property
    def revision(self) -> str:
        """Hub commit, or the first 16 hex digits of a hash over the files."""

    @contextmanager
    def planning_files(self) -> Iterator[Path]:
        """A folder with every file of ``PLANNING_PATTERNS``; weights were not read for it."""

    @contextmanager
    def all_files(self) -> Iterator[Path]:
        """A local folder with every file of ``CHECKPOINT_PATTERNS``, which stays while the context is open."""


def find_checkpoint(
    config: ModelConfig, *, cache_dir: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> Checkpoint:
    """Look a checkpoint up, and at the revision that was asked for.

    Args:
        config: name and revision; a hub id takes branch, tag or commit, the others the hash of an earlier look.
        cache_dir: node-local folder for copies; None is one in the system's temporary folder. A hub id's copies lie
            in the hub's own cache.
        storage_options: fsspec's, for ``s3://``.

    Raises:
        PipelineError: Class ``model``: not there, files missing, or another revision; ``transfer``: out of reach.
    """
    name = config.model
    if is_in_store(name):
        cache = checkpoint_cache(cache_folder(ReadingConfig(cache_dir=cache_dir)) / "models")
        checkpoint: Checkpoint = StoredCheckpoint(name, cache=cache, storage_options=storage_options or {})
    elif uri_scheme(name):
        raise _name_error(
            name,
            "has a scheme that is not known",
            "give a folder, a hub id or s3://bucket/prefix (gs://, az://)",
        )
    elif (folder := _local_folder(name)) is not None:
        checkpoint = FolderCheckpoint(name, folder)
    else:
        return HubCheckpoint(name, config.revision)
    if config.revision not in (None, checkpoint.revision):
        raise model_error(
            name,
            f"is at revision {checkpoint.revision} here, not at {config.revision}",
            "its files have changed, or differ between machines: copy it anew, or leave model.revision empty",
        )
    return checkpoint


class FolderCheckpoint:
    """Files on a disk of this machine, used where they lie."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder = name, folder
        if not folder.is_dir():
            remedy = (
                "train it first, or give another checkpoint as model.model"
                if name == DEMO_MODEL
                else "give an existing folder on this machine, or a hub id such as Qwen/Qwen2.5-VL-7B-Instruct"
            )
            raise _name_error(name, f"is a folder that does not exist: {folder}", remedy)
        _check_folder(name, folder)

    @cached_property
    def revision(self) -> str:
        """Over the content of all files."""
        paths = sorted({path for pattern in CHECKPOINT_PATTERNS for path in self._folder.glob(pattern)})
        digest = hashlib.sha256()
        with ThreadPoolExecutor(_HASHING_THREADS) as pool:
            for path, content in zip(paths, pool.map(_hash_file, paths), strict=True):
                digest.update(f"{path.name}:{content}\n".encode())
        return digest.hexdigest()[:16]

    @contextmanager
    def planning_files(self) -> Iterator[Path]:
        """See ``Checkpoint``."""
        yield self._folder

    @contextmanager
    def all_files(self) -> Iterator[Path]:
        """See ``Checkpoint``."""
        yield self._folder


class HubCheckpoint:
    """A repository of the Hugging Face hub, copied into the hub's cache of this node, at the commit it resolves to."""

    def __init__(self, name: str, revision: str | None) -> None:
        self._name = name
        try:
            config_path = Path(str(cached_file(name, "config.json", revision=revision)))
        except (OSError, ValueError) as error:  # a name that no hub id can have is a ValueError
            raise self._not_reachable(revision, error) from error
        self.revision = config_path.parent.name  # the hub's cache keeps each commit in a folder of its name

    @contextmanager
    def planning_files(self) -> Iterator[Path]:
        """See ``Checkpoint``."""
        yield self._fetch((*PLANNING_PATTERNS, *PROCESSOR_FILES))

    @contextmanager
    def all_files(self) -> Iterator[Path]:
        """See ``Checkpoint``."""
        folder = self._fetch(CHECKPOINT_PATTERNS)
        _check_folder(self._name, folder)
        yield folder

    def _fetch(self, patterns: Sequence[str]) -> Path:
        """The commit's folder in the hub's cache, with these files; the hub's client locks and resumes each."""
        try:
            folder = snapshot_download(
                self._name, revision=self.revision, allow_patterns=list(patterns), ignore_patterns=["*/*"]
            )
        except (OSError, ValueError) as error:
            raise self._not_reachable(self.revision, error) from error
        return Path(folder)

    def _not_reachable(self, revision: str | None, error: Exception) -> Exception:
        return model_error(
            self._name,
            f"at revision {revision or 'main'} is neither a folder here nor to be had from the hub ({cause_of(error)})",
            "check the spelling, the network and the access token, or give a local folder",
        )


def _local_folder(name: str) -> Path | None:
    """The folder a name means; None for a hub id (``owner/name``)."""
    if name == DEMO_MODEL:
        return _DEMO_FOLDER
    path = Path(name).expanduser()
    looks_local = name.startswith(("/", ".", "~")) or "\\" in name or name.count("/") > 1
    return path if looks_local or path.is_dir() else None


def _name_error(name: str, problem: str, remedy: str) -> PipelineError:
    """Class ``model``: the name stands for nothing."""
    return PipelineError(FailureClass.MODEL, f"model {name!r} {problem}; {remedy}")


def _check_folder(name: str, folder: Path) -> None:
    index = folder / INDEX_FILE
    with ExplainErrors(name, f"lies in a folder that cannot be read, {folder}", "check its rights"):
        names = {path.name for path in folder.iterdir() if path.is_file()}
        content = index.read_bytes() if INDEX_FILE in names else None
    check_files(name, str(folder), names, content)
    read_headers(name, folder)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
