"""Object stores by the scheme of an address: S3, Google Cloud Storage, Azure Blob Storage, all through fsspec.

Which package each needs, what identifies the content of an object, and what its client raises. Imports no client.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from typing import Any

from pipeline.uris import uri_scheme


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """One kind of store.

    Attributes:
        protocol: fsspec's name for it.
        package: that has to be installed.
        extra: of this project, which installs it; empty where it comes along.
        form: of an address.
        identity: fields of an object's description that change with its content, the first that is there counts.
    """

    protocol: str
    package: str
    extra: str
    form: str
    identity: tuple[str, ...]


S3 = Store(protocol="s3", package="s3fs", extra="", form="s3://bucket/key", identity=("ETag", "LastModified"))
GCS = Store(protocol="gs", package="gcsfs", extra="gcs", form="gs://bucket/key", identity=("generation", "etag"))
AZURE = Store(
    protocol="abfs", package="adlfs", extra="azure", form="az://container/key", identity=("etag", "last_modified")
)
STORES: Mapping[str, Store] = {"s3": S3, "gs": GCS, "gcs": GCS, "az": AZURE, "abfs": AZURE, "abfss": AZURE}
SCHEMES = tuple(STORES)
_DENIED = ("ClientAuthenticationError", "DefaultCredentialsError", "RefreshError", "NoCredentialsError")
_DENIED_STATUS = frozenset({401, 403})


def store_of(uri: str) -> Store | None:
    """None for a local path, http and whatever else."""
    return STORES.get(uri_scheme(uri))


def is_in_store(uri: str) -> bool:
    """Whether an address is of an object store."""
    return store_of(uri) is not None


def check_installed(uris: Iterable[str]) -> None:
    """Refuse addresses of a store whose client is not installed, before any work.

    Raises:
        ValueError: Names the store and the command.
    """
    for scheme in dict.fromkeys(map(uri_scheme, uris)):
        store = STORES.get(scheme)
        if store is not None and find_spec(store.package) is None:
            name = f"'adapttoken-ray[{store.extra}]'" if store.extra else store.package
            raise ValueError(f"{scheme}:// needs the package {store.package}: pip install {name}")


def open_store(uri: str, storage_options: Mapping[str, Any] | None) -> Any:
    """The fsspec file system of an address that ``store_of`` knows."""
    import fsspec

    store = STORES[uri_scheme(uri)]
    return fsspec.filesystem(store.protocol, **(storage_options or {}))


def store_of_filesystem(filesystem: Any) -> Store | None:
    """Likewise, of a file system that is open."""
    protocols = filesystem.protocol
    names = (protocols,) if isinstance(protocols, str) else protocols
    return next((STORES[name] for name in names if name in STORES), None)


def fresh_info(filesystem: Any, path: str, store: Store | None = None) -> Mapping[str, Any]:
    """What the store says of an object now, and not what an earlier listing said; ``store``: which kind, if known."""
    store = store or store_of_filesystem(filesystem)
    if store is GCS:  # it has no other way to be asked anew
        filesystem.invalidate_cache()
    refresh = {"refresh": True} if store in (S3, AZURE) else {}
    info: Mapping[str, Any] = filesystem.info(path, **refresh)
    return info


def identity_of(info: Mapping[str, Any]) -> str | None:
    """ETag or generation of an object, else its time; None where its store says nothing of the kind."""
    for store in (S3, GCS, AZURE):
        for name in store.identity:
            value = info.get(name)
            if value:
                return value.isoformat() if isinstance(value, datetime) else str(value)
    return None


def written_s(info: Mapping[str, Any]) -> float:
    """When an object was written, in seconds since 1970; 0 where its store does not say."""
    value = next((info[name] for name in ("LastModified", "last_modified", "updated", "mtime") if info.get(name)), None)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.timestamp() if isinstance(value, datetime) else float(value or 0.0)


def is_denied(error: BaseException) -> bool:
    """Whether a store, or its client for want of credentials, does not let this process in."""
    if isinstance(error, PermissionError) or type(error).__name__ in (*_DENIED, "PartialCredentialsError"):
        return True
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    wants_credentials = isinstance(error, ValueError) and "account" in str(error) and "connection" in str(error)
    return status in _DENIED_STATUS or str(error).startswith("Forbidden:") or wants_credentials
