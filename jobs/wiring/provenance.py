"""``provenance.json`` of a run: what was typed, which code and libraries ran it, on what, over which manifest."""

import argparse
import hashlib
import os
import platform
import socket
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec

from cluster.placement import ClusterSize
from jobs.wiring.logs import LOG
from jobs.wiring.storage_options import secret_values
from jobs.wiring.version import PACKAGE, project_version
from pipeline.doctor.environment import list_versions
from pipeline.failures import with_store_errors
from pipeline.uris import StorageOptions, redact_text, strip_secrets
from pipeline.watch.run_folder import RunFolder

FILE = "provenance.json"
_STORAGE_OPTIONS = "--storage-options"
_COMMIT = Path(__file__).resolve().parents[2] / "commit.txt"
"""What a wheel was built from; a clone asks git."""

COMMIT_VARIABLE = "ADAPTTOKEN_GIT_COMMIT"
"""Of a copy without its history, such as what ``ray job submit`` sends: whoever sends it says which commit it is."""

_HIDDEN = "***"
_MAX_FILES = 10_000
_PROGRAM_S = 10
_ASK_GPUS = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")


class Provenance:
    """The file of one run: written when it begins, and again once its machines are known."""

    def __init__(self, folder: RunFolder, options: argparse.Namespace, *, run_id: str, started_at: datetime) -> None:
        self._folder = folder
        self.content = describe_start(options, run_id=run_id, started_at=started_at.isoformat())
        folder.write_json(FILE, self.content)

    def note_cluster(self, cluster: ClusterSize) -> None:
        """What the run found; a store that is away for a moment does not end the job."""
        self.content["cluster"] = describe_cluster(cluster)
        try:
            self._folder.write_json(FILE, self.content)
        except with_store_errors(OSError) as error:
            LOG.warning("%s/%s cannot be written (%s); going on", self._folder.uri, FILE, type(error).__name__)


def describe_start(options: argparse.Namespace, *, run_id: str, started_at: str) -> dict[str, Any]:
    """All that is known when a run begins; see docs/operations.md.

    Args:
        options: as parsed; ``command`` is how they were given.
        run_id: of this run.
        started_at: ISO 8601, UTC.
    """
    return {
        "run_id": run_id,
        "started_at": started_at,
        "command": redact_command(options.command, secrets=secret_values(options.storage_options)),
        "working_folder": str(Path.cwd()),
        "package": {"name": PACKAGE, "version": project_version(), **find_commit()},
        "versions": {name: found for name, found in list_versions() if found != "not installed"},
        "machine": _describe_machine(),
        "cluster": None,
        "manifest": hash_manifest(options.manifest, options.storage_options),
    }


def redact_command(words: Sequence[str], *, secrets: Sequence[str] = ()) -> list[str]:
    """Without credentials: none in addresses, none of the storage options (a file of them is named)."""
    shown, is_next_hidden = [], False
    for word in words:
        name, is_joined, value = word.partition("=")
        if is_next_hidden and not word.startswith("@"):
            word = _HIDDEN
        elif name == _STORAGE_OPTIONS and is_joined and not value.startswith("@"):
            word = f"{name}={_HIDDEN}"
        is_next_hidden = word == _STORAGE_OPTIONS
        word = redact_text(word)
        for secret in secrets:
            word = word.replace(secret, _HIDDEN)
        shown.append(word)
    return shown


def find_commit(folder: Path = _COMMIT.parent, *, commit_file: Path = _COMMIT) -> dict[str, object]:
    """Of the clone that the code lies in, and whether files of it were changed; of a wheel that it was built from.

    Of a copy without its history what ``COMMIT_VARIABLE`` says, such as ``0123abc`` or ``0123abc changed``; it is never
    believed where the code itself knows. All are None where nobody knows.
    """
    with suppress(OSError):
        return _said(commit_file.read_text(encoding="utf-8"), source="wheel")
    if (folder / ".git").exists():
        found = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
        is_changed = None if changes is None else bool(changes)
        return {"git_commit": found or None, "git_is_changed": is_changed, "git_source": "clone" if found else None}
    return _said(os.environ.get(COMMIT_VARIABLE, ""), source=COMMIT_VARIABLE)


def _said(text: str, *, source: str) -> dict[str, object]:
    """A commit, and perhaps ``changed`` behind it."""
    commit, _, changed = text.strip().partition(" ")
    if not commit:
        return {"git_commit": None, "git_is_changed": None, "git_source": None}
    return {"git_commit": commit, "git_is_changed": changed == "changed", "git_source": source}


def _git(folder: Path, *words: str) -> str | None:
    with suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(folder), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROGRAM_S, check=True)
        return done.stdout.strip()
    return None


def describe_cluster(cluster: ClusterSize) -> dict[str, Any]:
    """Nodes of a size together, and what the cluster may grow to."""
    sizes = Counter((node.num_cpus, node.num_gpus) for node in cluster.nodes)
    nodes = [{"num_nodes": count, "cpus": cpus, "gpus": gpus} for (cpus, gpus), count in sorted(sizes.items())]
    return {"nodes": nodes, "max_cpus": cluster.max_cpus, "max_gpus": cluster.max_gpus}


def hash_manifest(manifest: str | Sequence[str], storage_options: StorageOptions) -> list[dict[str, Any]]:
    """Address, bytes and SHA-256 of each file, in the order of their names; a folder or a pattern is its files.

    What has gone meanwhile is listed without a hash.
    """
    found: list[dict[str, Any]] = []
    for uri in [manifest] if isinstance(manifest, str) else manifest:
        filesystem, path = fsspec.core.url_to_fs(uri, **(storage_options or {}))
        try:
            paths = _files_of(filesystem, path)
            found += [{"uri": _address(uri, path, one), **_hash(filesystem, one)} for one in paths]
        except with_store_errors(OSError, ValueError):
            found.append({"uri": strip_secrets(uri), "num_bytes": None, "sha256": None})
    return found


def _files_of(filesystem: Any, path: str) -> list[str]:
    if any(mark in path for mark in "*?[") and not filesystem.exists(path):
        return sorted(filesystem.glob(path))[:_MAX_FILES]
    return sorted(filesystem.find(path))[:_MAX_FILES] if filesystem.isdir(path) else [path]


def _address(uri: str, root: str, path: str) -> str:
    """As it was given; of a file below it as the store calls it."""
    return strip_secrets(uri) if path == root else path


def _hash(filesystem: Any, path: str) -> dict[str, Any]:
    with filesystem.open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"num_bytes": file.tell(), "sha256": digest}


def _describe_machine() -> Mapping[str, Any]:
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "host": socket.gethostname(),
        "system": platform.platform(),
        "num_cpus": os.cpu_count(),
        "memory_bytes": pages * page_bytes,
        "gpus": _list_gpus(),
    }


def _list_gpus() -> list[str]:
    """Name, memory and driver of each, by NVIDIA's own program: torch would take memory of every one for the answer."""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(_ASK_GPUS, capture_output=True, text=True, timeout=_PROGRAM_S, check=True)
        return [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return []
