"""Where a page may play a video from: the file of this machine, or an address that was signed for a while.

A page with signed addresses lets whoever holds it watch these videos until they expire: only on request.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import fsspec

from pipeline.failures import PipelineError, with_store_errors
from pipeline.report.pictures import Video
from pipeline.results.keys import video_fingerprint
from pipeline.uris import StorageOptions, uri_scheme
from pipeline.video.sources import is_local, local_path

LONGEST_S = 7 * 24 * 3600
"""What S3 signs at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkOptions:
    """What may be linked.

    Attributes:
        are_files_linked: files of this machine, as long as they are the ones that were answered about.
        signed_for_s: seconds that addresses of objects stay good; None signs none.
    """

    are_files_linked: bool = True
    signed_for_s: int | None = None

    def __post_init__(self) -> None:
        if self.signed_for_s is not None and not 1 <= self.signed_for_s <= LONGEST_S:
            raise ValueError(f"--link-videos takes 1 s to {LONGEST_S} s (7 days), got {self.signed_for_s}")


def link_videos(
    videos: Iterable[Video], options: LinkOptions, *, storage_options: StorageOptions = None
) -> dict[Video, str]:
    """Video -> address that a browser can play; those that cannot be reached are not in it.

    Raises:
        ValueError: Addresses are wanted of a store that signs none.
    """
    found: dict[Video, str] = {}
    for uri, fingerprint in dict.fromkeys(videos):
        if is_local(uri):
            address = _file_address(uri, fingerprint) if options.are_files_linked else None
        else:
            address = _signed_address(uri, options.signed_for_s, storage_options)
        if address is not None:
            found[uri, fingerprint] = address
    return found


def media_sources(addresses: Iterable[str]) -> set[str]:
    """What a page's policy must name so that it may play these, and nothing else of the same kind."""
    parts = [urlsplit(address) for address in addresses]
    return {"file:" if part.scheme == "file" else f"{part.scheme}://{part.netloc}" for part in parts}


def _file_address(uri: str, fingerprint: str | None) -> str | None:
    try:
        is_the_same = fingerprint is not None and video_fingerprint(uri) == fingerprint
        return Path(local_path(uri)).as_uri() if is_the_same else None
    except PipelineError:
        return None


def _signing_options(uri: str, storage_options: StorageOptions) -> dict[str, object]:
    """For S3 with the signature of version 4: the older one, its client's default, is refused by newer regions."""
    options = dict(storage_options or {})
    if uri_scheme(uri) == "s3":
        named = options.get("config_kwargs")
        options["config_kwargs"] = {"signature_version": "s3v4", **(named if isinstance(named, dict) else {})}
    return options


def _signed_address(uri: str, signed_for_s: int | None, storage_options: StorageOptions) -> str | None:
    if signed_for_s is None or uri_scheme(uri) in ("http", "https"):
        return None
    filesystem, path = fsspec.core.url_to_fs(uri, **_signing_options(uri, storage_options))
    try:
        return str(filesystem.sign(path, expiration=signed_for_s))
    except NotImplementedError as error:
        raise ValueError(f"--link-videos: {uri_scheme(uri)}:// signs no addresses: leave the option out") from error
    except with_store_errors(OSError):  # no credentials to sign with, or no such object: the page goes without
        return None
