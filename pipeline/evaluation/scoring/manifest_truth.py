"""A manifest as the table that answers are scored against."""

import pyarrow as pa

from pipeline.manifest.reading import Manifest
from pipeline.uris import strip_secrets


def truth_table(manifest: Manifest) -> pa.Table:
    """Id, video, question and options of every question, beside the columns that the manifest passes through."""
    questions = list(manifest.questions)
    known = {
        "question_id": pa.array([question.question_id for question in questions], pa.string()),
        "video": pa.array([strip_secrets(question.video) for question in questions], pa.string()),
        "question": pa.array([question.text for question in questions], pa.string()),
        "options": pa.array([question.options for question in questions], pa.list_(pa.string())),
    }
    passed = manifest.pass_through_of(questions)
    return pa.table({**known, **dict(zip(passed.column_names, passed.columns, strict=True))})
