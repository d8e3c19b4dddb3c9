"""What identifies a video, a question and a result file, so that a second run knows what is done."""

import errno
import itertools
import os
import stat
from collections import Counter
from collections.abc import Sequence
from functools import partial

from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.questions import Question, RejectedRow
from pipeline.manifest.time_range import TimeRange
from pipeline.manifest.transcripts import Transcript
from pipeline.uris import StorageOptions
from pipeline.video.remote import ObjectVersion
from pipeline.video.sources import check_scheme, is_local, local_path, remote_video
from pipeline.video.versions import digest, local_version, object_fingerprint

_MOST_OCCURRENCES = 1_000_000  # of one question in a manifest
_NO_SUCH_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


def video_fingerprint(uri: str, *, storage_options: StorageOptions = None, allow_http: bool = False) -> str:
    """Identify the stored object by URI, size and ETag or modification time: "same object", not content.

    The query string counts only where size and version do not tell objects apart, so that a fresh signature changes
    nothing.

    Args:
        uri: a plain path, ``file://``, ``s3://``, or ``http(s)://`` if allowed.
        storage_options: for ``s3://``.
        allow_http: ``reading.allow_http``.

    Returns:
        16 hexadecimal digits.

    Raises:
        PipelineError: There is no such file, it may not be read, the storage does not answer, it is no file, or its
            scheme is not allowed.
    """
    check_scheme(uri, allow_http=allow_http)
    found = _stat_local(uri) if is_local(uri) else remote_video(uri, storage_options).look_up()
    return object_fingerprint(uri, found)


def missing_fingerprint(uri: str) -> str:
    """Stand in for the fingerprint of a video that cannot be reached, so that its failed rows have stable keys."""
    return digest(["missing", uri.removeprefix("file://")], num_digits=16)


def question_key(
    fingerprint: str,
    text: str,
    options: Sequence[str] | None,
    config_hash: str,
    *,
    time_range: TimeRange | None = None,
    transcript: Transcript | None = None,
    occurrence: int = 0,
) -> str:
    """Identify one answer to be computed; the same key in two runs is the same work.

    Args:
        fingerprint: Of the video.
        text: The question.
        options: Without letters; None for an open question.
        config_hash: Of the settings.
        time_range: Counts only where there is one, and so does the transcript, by its content.
        transcript: What is said in the video.
        occurrence: How many equal questions about this video stand before it in the manifest.

    Returns:
        32 hexadecimal digits.
    """
    parts: list[object] = [fingerprint, text, None if options is None else list(options), config_hash]
    if time_range is not None:
        parts.append({"start_s": time_range.start_s, "end_s": time_range.end_s})
    if transcript is not None:
        parts.append({"transcript": transcript.digest})
    return digest(parts + [occurrence] * (occurrence > 0), num_digits=32)


def key_of_version(question: Question, key: str, *, fingerprint: str, found: str, config_hash: str) -> str:
    """What a question's key is where another version of its video is answered about.

    Args:
        question: as it was planned.
        key: its key, from ``question_keys`` with ``fingerprint``.
        fingerprint: of the version that was planned.
        found: of the other one.
        config_hash: of the settings.
    """
    of_version = partial(
        question_key,
        text=question.text,
        options=question.options,
        config_hash=config_hash,
        time_range=question.time_range,
        transcript=question.transcript,
    )
    for occurrence in itertools.count():
        if of_version(fingerprint, occurrence=occurrence) == key:
            break
        assert occurrence < _MOST_OCCURRENCES, f"{key} is no key of {question.question_id}"
    return of_version(found, occurrence=occurrence)


def question_keys(questions: Sequence[Question], *, fingerprint: str, config_hash: str) -> list[str]:
    """Keys of all questions about one part of a video, in manifest order; a question asked twice gets two keys."""
    seen: Counter[str] = Counter()
    keys: list[str] = []
    for question in questions:
        key_of = partial(
            question_key,
            *(fingerprint, question.text, question.options, config_hash),
            time_range=question.time_range,
            transcript=question.transcript,
        )
        key = key_of()
        number, seen[key] = seen[key], seen[key] + 1
        keys.append(key_of(occurrence=number) if number else key)
    return keys


def rejected_key(rejected: RejectedRow, *, config_hash: str) -> str:
    """Key of a manifest row that cannot be asked: of what it holds and where it stands."""
    question = rejected.question
    parts = ["rejected", question.row_index, question.question_id, question.video, question.text, config_hash]
    return digest(parts, num_digits=32)


def part_name(keys: Sequence[str]) -> str:
    """File name of the rows of these question keys, whatever their order.

    Raises:
        ValueError: No key, or one key twice: such a file would lose a row.
    """
    if not keys or len(set(keys)) != len(keys):
        repeated = sorted(key for key, count in Counter(keys).items() if count > 1)
        raise ValueError(f"keys must be unique and at least one, got {len(keys)} with {repeated} repeated")
    return f"part-{digest(sorted(keys), num_digits=32)}.parquet"


def _stat_local(uri: str) -> ObjectVersion:
    try:
        path = local_path(uri)
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            message = f"{uri} is a folder or a device, not a video file: name the file itself"
            raise PipelineError(FailureClass.UNSUPPORTED_MEDIA, message)
        if not os.access(path, os.R_OK):
            raise PermissionError(path)
    except PermissionError as error:
        message = f"{uri} may not be read ({type(error).__name__}): grant this job's user read access"
        raise PipelineError(FailureClass.ACCESS_DENIED, message) from error
    except (OSError, ValueError) as error:
        if not isinstance(error, OSError) or error.errno in _NO_SUCH_FILE:
            message = f"there is no video at {uri}: check the path, and that every node can see it"
            raise PipelineError(FailureClass.NOT_FOUND, message) from error
        message = f"the storage of {uri} did not answer ({error.strerror}): check that it is mounted"
        raise PipelineError(FailureClass.TRANSFER, message) from error
    return local_version(status)
