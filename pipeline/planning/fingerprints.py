"""Fingerprints of all videos of a manifest, many at once: a million rows must not wait for one answer after another."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from pipeline.failures import Failure, PipelineError
from pipeline.planning.s3_listing import list_versions, split_runs
from pipeline.results.keys import missing_fingerprint, video_fingerprint
from pipeline.uris import StorageOptions, uri_scheme
from pipeline.video.remote import ObjectVersion
from pipeline.video.versions import object_fingerprint

NUM_LOOKUPS = 64  # at once: each waits for a network
_NUM_LOCAL = 8  # threads for files: enough for a file server, few enough not to wait for each other
_FEW = 20  # S3 objects that are quicker asked for one by one
_LOCAL_CHUNK = 500  # files per thread and turn: most answer sooner than a turn takes


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """Which version of a video a run means, or why it cannot be read; then the value stands for its absence."""

    value: str
    failure: Failure | None = None


def look_up_fingerprints(
    uris: Sequence[str], *, storage_options: StorageOptions = None, allow_http: bool = False
) -> list[Fingerprint]:
    """Ask every storage which version it has; S3 by listing where many wanted objects lie near each other.

    Args:
        uris: of videos, each once.
        storage_options: for ``s3://``.
        allow_http: ``reading.allow_http``.
    """
    look_up = partial(_look_up, storage_options=storage_options, allow_http=allow_http)
    are_local = all(uri_scheme(uri) in ("", "file") for uri in uris)
    with ThreadPoolExecutor(_NUM_LOCAL if are_local else NUM_LOOKUPS) as pool:
        listed = _list_s3([uri for uri in uris if uri_scheme(uri) == "s3"], storage_options, pool)
        found = {uri: Fingerprint(value=object_fingerprint(uri, version)) for uri, version in listed.items()}
        others = [uri for uri in uris if uri not in found]
        size = _LOCAL_CHUNK if are_local else 1
        chunks = [others[start : start + size] for start in range(0, len(others), size)]
        for chunk, answers in zip(chunks, pool.map(partial(_each, look_up), chunks), strict=True):
            found.update(zip(chunk, answers, strict=True))
    return _tell_apart([found[uri] for uri in uris])


def _tell_apart(found: Sequence[Fingerprint]) -> list[Fingerprint]:
    """Different addresses are different videos, even where nothing but a query string tells them apart.

    The second of one fingerprint gets ``-1`` behind it, and so on: else one would lose its rows to the other.
    """
    seen: Counter[str] = Counter()
    apart: list[Fingerprint] = []
    for one in found:
        number, seen[one.value] = seen[one.value], seen[one.value] + 1
        apart.append(replace(one, value=f"{one.value}-{number}") if number else one)
    return apart


def _each(look_up: "partial[Fingerprint]", uris: Iterable[str]) -> list[Fingerprint]:
    return [look_up(uri) for uri in uris]


def _list_s3(
    uris: Sequence[str], storage_options: StorageOptions, pool: ThreadPoolExecutor
) -> Mapping[str, ObjectVersion]:
    if len(uris) < _FEW:
        return {}
    pages = pool.map(partial(list_versions, storage_options=storage_options), split_runs(uris))
    return {uri: version for page in pages for uri, version in page.items()}


def _look_up(uri: str, *, storage_options: StorageOptions, allow_http: bool) -> Fingerprint:
    try:
        return Fingerprint(value=video_fingerprint(uri, storage_options=storage_options, allow_http=allow_http))
    except PipelineError as error:
        return Fingerprint(value=missing_fingerprint(uri), failure=error.to_failure())
