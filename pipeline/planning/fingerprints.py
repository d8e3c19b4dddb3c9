"""Fingerprints of all videos of a manifest, many at once: a million rows must not wait for one answer after another."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from pipeline.counted import counted
from pipeline.failures import Failure, FailureClass, OutageError, PipelineError
from pipeline.planning.s3_listing import list_versions, split_runs
from pipeline.results.keys import missing_fingerprint, video_fingerprint
from pipeline.stores import check_installed
from pipeline.uris import StorageOptions, uri_scheme
from pipeline.video.remote import ObjectVersion
from pipeline.video.versions import object_fingerprint

NUM_LOOKUPS = 64  # at once: each waits for a network
_NUM_LOCAL = 8  # threads for files: enough for a file server, few enough not to wait for each other
_FEW = 20  # S3 objects that are quicker asked for one by one
OUTAGE_VIDEOS = 3  # of which the storage does not answer: then it is not theirs
_LONGEST_PAUSE_S = 30.0
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
    return _tell_apart(_look_up_all(uris, storage_options=storage_options, allow_http=allow_http))


def _look_up_all(uris: Sequence[str], *, storage_options: StorageOptions, allow_http: bool) -> list[Fingerprint]:
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
    return [found[uri] for uri in uris]


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


def look_up_patiently(
    uris: Sequence[str],
    *,
    outage_s: float,
    storage_options: StorageOptions = None,
    allow_http: bool = False,
    pause: Callable[[float], None] | None = None,
) -> list[Fingerprint]:
    """Likewise; where the storage does not answer for several videos, those are asked for again for so long.

    Args:
        uris: of videos, each once.
        outage_s: ``reading.outage_s``; 0: every failure stands.
        storage_options: for ``s3://``.
        allow_http: ``reading.allow_http``.
        pause: waits that many seconds; default: as the clock has it.

    Raises:
        ValueError: Some are in a store whose client is not installed.
        OutageError: It still does not answer.
    """
    check_installed(uris)
    found = _look_up_all(uris, storage_options=storage_options, allow_http=allow_http)
    waited_s, pause_s = 0.0, 1.0
    while outage_s and len(away := [at for at, one in enumerate(found) if _is_away(one)]) >= OUTAGE_VIDEOS:
        if waited_s >= outage_s:
            raise _outage(found[away[-1]], num_away=len(away), waited_s=waited_s)
        (pause or time.sleep)(min(pause_s, outage_s - waited_s))
        waited_s, pause_s = waited_s + pause_s, min(2 * pause_s, _LONGEST_PAUSE_S)
        again = _look_up_all([uris[at] for at in away], storage_options=storage_options, allow_http=allow_http)
        for at, one in zip(away, again, strict=True):
            found[at] = one
    return _tell_apart(found)


def _is_away(one: Fingerprint) -> bool:
    return one.failure is not None and one.failure.failure_class is FailureClass.TRANSFER


def _outage(last: Fingerprint, *, num_away: int, waited_s: float) -> OutageError:
    message = "" if last.failure is None else last.failure.message.rstrip(".")
    return OutageError(
        FailureClass.TRANSFER,
        f"the storage of {counted(num_away, 'video')} has not answered for {waited_s:.0f} s, last: {message}. "
        "None of them has failed: when it is back, the same command goes on. To wait longer raise "
        "reading.outage_s; with 0 they fail",
    )


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
