"""What a run has to do: the manifest less what is finished, grouped by video, with stable keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from pipeline.engine.work import VideoTask
from pipeline.failures import Failure, FailureClass, PipelineError
from pipeline.manifest import Manifest, Question, group_by_video
from pipeline.results.finished import finished_keys
from pipeline.results.keys import missing_fingerprint, question_keys, rejected_key, video_fingerprint
from pipeline.results.rows import QuestionResult, RunStamp, failed_result
from pipeline.results.schema import results_table
from pipeline.results.writer import commit_answers
from pipeline.uris import StorageOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPlan:
    """Work to do, rows that have failed already (a video that is not there), and what an earlier run finished."""

    tasks: tuple[VideoTask, ...]
    failed: tuple[tuple[QuestionResult, ...], ...]
    num_skipped: int


def plan_job(
    manifest: Manifest,
    *,
    stamp: RunStamp,
    output_uri: str,
    retry_failed: bool = False,
    allow_http: bool = False,
    storage_options: StorageOptions = None,
) -> JobPlan:
    """Drop finished questions, look up each video's fingerprint, and group what remains by video."""
    skipped = finished_keys(output_uri, storage_options=storage_options).skipped(retry_failed=retry_failed)
    tasks: list[VideoTask] = []
    failed: list[tuple[QuestionResult, ...]] = []
    num_skipped = 0
    for video_id, (uri, questions) in enumerate(group_by_video(manifest.questions).items()):
        fingerprint, failure = _look_up(uri, storage_options, allow_http=allow_http)
        keys = question_keys(questions, fingerprint=fingerprint, config_hash=stamp.config_hash)
        pending = [(q, key) for q, key in zip(questions, keys, strict=True) if key not in skipped]
        num_skipped += len(questions) - len(pending)
        if failure is not None:
            failed.append(tuple(_fail(q, key, failure, stamp) for q, key in pending))
        elif pending:
            tasks.append(
                VideoTask(
                    video_id=video_id,
                    uri=uri,
                    fingerprint=fingerprint,
                    questions=tuple(q for q, _ in pending),
                    question_keys=tuple(key for _, key in pending),
                )
            )
    for rejected in manifest.rejected:
        key = rejected_key(rejected, config_hash=stamp.config_hash)
        if key in skipped:
            num_skipped += 1
        else:
            failure = Failure(failure_class=FailureClass.MANIFEST, message=rejected.message)
            failed.append((_fail(rejected.question, key, failure, stamp),))
    return JobPlan(tasks=tuple(tasks), failed=tuple(rows for rows in failed if rows), num_skipped=num_skipped)


class AnswerCommitter:
    """Joins rows with the manifest's other columns and writes them, one video per atomic file."""

    def __init__(self, manifest: Manifest, *, output_uri: str, storage_options: StorageOptions = None) -> None:
        self._manifest, self._output_uri, self._storage_options = manifest, output_uri, storage_options
        questions = [*manifest.questions, *(rejected.question for rejected in manifest.rejected)]
        self._by_id = {question.question_id: question for question in questions}

    def commit(self, rows: Sequence[QuestionResult]) -> pa.Table:
        """Write the rows of one video; returns them as a table."""
        questions = [self._by_id[row.question_id] for row in rows]
        table = results_table(rows, self._manifest.pass_through_of(questions))
        keys = [row.question_key for row in rows]
        commit_answers(self._output_uri, table, keys, storage_options=self._storage_options)
        return table


def _look_up(uri: str, storage_options: StorageOptions, *, allow_http: bool) -> tuple[str, Failure | None]:
    try:
        return video_fingerprint(uri, storage_options=storage_options, allow_http=allow_http), None
    except PipelineError as error:
        return missing_fingerprint(uri), error.to_failure()


def _fail(question: Question, key: str, failure: Failure, stamp: RunStamp) -> QuestionResult:
    return failed_result(question, failure, question_key=key, stamp=stamp, finished_at=datetime.now(UTC))
