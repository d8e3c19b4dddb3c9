"""The transcripts of a manifest, read once each before any work: what they say is part of what is asked."""

import codecs
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import fsspec

from pipeline.failures import FailureClass, PipelineError, with_store_errors
from pipeline.manifest.questions import QuestionTable
from pipeline.manifest.transcripts import Transcript, transcript_of, transcript_of_cell
from pipeline.method.timed_text import parse_transcript
from pipeline.results.keys import missing_fingerprint
from pipeline.stores import SCHEMES
from pipeline.uris import StorageOptions, strip_secrets, uri_scheme

MOST_TRANSCRIPT_BYTES = 16 * 1024**2
_NUM_READERS = 64  # at once: each waits for a network
_SCHEMES = ("", "file", *SCHEMES)


def read_transcripts(questions: QuestionTable, *, storage_options: StorageOptions = None) -> QuestionTable:
    """The same questions with the text of each transcript, or why there is none: such a question fails alone."""
    read = partial(_read, storage_options=storage_options)
    if all(one is None for one in questions.transcripts):
        return questions
    with ThreadPoolExecutor(_NUM_READERS) as pool:
        return questions.with_transcripts(tuple(pool.map(read, questions.transcripts)))


def load_transcript(text_or_path: str) -> Transcript:
    """One from Python: text itself, or the path of a file.

    Raises:
        PipelineError: The file cannot be read, or is none.
    """
    found = _read(transcript_of_cell(text_or_path, "."), storage_options=None)
    assert found is not None
    if found.failure is not None:
        raise PipelineError(found.failure.failure_class, found.failure.message)
    return found


def _read(one: Transcript | None, *, storage_options: StorageOptions) -> Transcript | None:
    if one is None or one.uri is None:
        return one
    try:
        text = _decode(one.uri, _fetch(one.uri, storage_options))
        _check(one.uri, text)
    except PipelineError as error:
        return replace(one, failure=error.to_failure(), digest=missing_fingerprint(strip_secrets(one.uri)))
    return transcript_of(text, uri=one.uri)


def _fetch(uri: str, storage_options: StorageOptions) -> bytes:
    place = strip_secrets(uri)
    if uri_scheme(uri) not in _SCHEMES:
        scheme = uri_scheme(uri)
        message = f"transcript {place} has the scheme {scheme!r}: copy it to a plain path or to s3://, gs:// or az://"
        raise PipelineError(FailureClass.MANIFEST, message)
    try:
        filesystem, path = fsspec.core.url_to_fs(uri, **(storage_options or {}))
        size_bytes = filesystem.size(path) or 0
        content: bytes = b"" if size_bytes > MOST_TRANSCRIPT_BYTES else filesystem.cat_file(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        message = f"there is no transcript at {place}: check the path, or leave the cell empty"
        raise PipelineError(FailureClass.MANIFEST, message) from error
    except PermissionError as error:
        message = f"transcript {place} may not be read: grant this job's user read access"
        raise PipelineError(FailureClass.ACCESS_DENIED, message) from error
    except with_store_errors(OSError) as error:
        reason = f"did not answer ({type(error).__name__}): the same command asks it again"
        raise PipelineError(FailureClass.TRANSFER, f"the storage of transcript {place} {reason}") from error
    except (ValueError, ImportError) as error:
        raise PipelineError(FailureClass.MANIFEST, f"transcript {place} cannot be opened ({error})") from error
    if size_bytes > MOST_TRANSCRIPT_BYTES:
        message = f"transcript {place} is larger than {MOST_TRANSCRIPT_BYTES >> 20} MiB: cut it to what is asked about"
        raise PipelineError(FailureClass.MANIFEST, message)
    return content


def _decode(uri: str, content: bytes) -> str:
    encoding = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        message = f"transcript {strip_secrets(uri)} is no text in UTF-8 ({error.reason}): write it as UTF-8"
        raise PipelineError(FailureClass.MANIFEST, message) from error


def _check(uri: str, text: str) -> None:
    """A file says by its name that it has times: without any it is another file."""
    try:
        is_timed = parse_transcript(text) is not None
    except ValueError as error:
        raise PipelineError(FailureClass.MANIFEST, f"transcript {strip_secrets(uri)}: {error}; correct it") from error
    if not is_timed and text.strip():
        message = f"transcript {strip_secrets(uri)} has no line like 00:00:01,000 --> 00:00:02,000: not an SRT file"
        raise PipelineError(FailureClass.MANIFEST, f"{message}; correct it, or write the text itself into the cell")
