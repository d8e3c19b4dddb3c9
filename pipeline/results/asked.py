"""Which rows are of the same question of a manifest, though their keys differ: the video was away, or has changed."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.failures import RETRYABLE, FailureClass
from pipeline.manifest.questions import Question
from pipeline.uris import strip_secrets

ASKED_COLUMNS = ("question_id", "video", "question", "options", "config_hash")
CLASS_COLUMNS = ("status", "error_class", "video_fingerprint")

Hashes = npt.NDArray[np.uint64]


def hash_asked(
    question_id: str, video: str | None, text: str | None, options: Sequence[str] | None, config_hash: str | None
) -> int:
    """64 bits of what was asked, whatever version of the video it was asked about.

    Args:
        question_id: of the manifest.
        video: its address, without secrets.
        text: the question.
        options: without letters; None for an open question.
        config_hash: of the settings.
    """
    parts = [question_id, video, text, None if options is None else list(options), config_hash]
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:8], "big")


def hash_question(question: Question, *, config_hash: str) -> int:
    """Of a question that is to be asked."""
    video = strip_secrets(question.video)
    return hash_asked(question.question_id, video, question.text, question.options, config_hash)


def hash_rows(answers: pa.Table) -> Hashes:
    """``(n,)`` of rows that have the `ASKED_COLUMNS`."""
    columns = (answers.column(name).to_pylist() for name in ASKED_COLUMNS)
    return np.array([hash_asked(*row) for row in zip(*columns, strict=True)], np.uint64)


def are_of_absent_videos(answers: pa.Table) -> npt.NDArray[np.bool_]:
    """``(n,)`` failed rows of videos that could not be looked up."""
    is_failed = pc.equal(answers.column("status"), "failed").fill_null(False)
    found: npt.NDArray[np.bool_] = pc.and_(is_failed, pc.is_null(answers.column("video_fingerprint"))).to_numpy()
    return found


def are_by_circumstance(answers: pa.Table) -> npt.NDArray[np.bool_]:
    """``(n,)`` failed rows that say nothing about question or video; that there is no such video does."""
    open_classes = pa.array(sorted(RETRYABLE), pa.string())
    is_open = pc.is_in(answers.column("error_class"), open_classes).fill_null(False)
    is_missing = pc.equal(answers.column("error_class"), FailureClass.NOT_FOUND.value).fill_null(False)
    found: npt.NDArray[np.bool_] = is_open.to_numpy() & ~(are_of_absent_videos(answers) & is_missing.to_numpy())
    return found
