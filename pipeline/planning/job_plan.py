"""What a run has to do: the manifest less what is finished, grouped by video, with stable keys."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from pipeline.failures import Failure, FailureClass
from pipeline.manifest.questions import Question, QuestionTable, RejectedRow
from pipeline.manifest.reading import Manifest
from pipeline.manifest.record_table import IntArray
from pipeline.planning.fingerprints import look_up_fingerprints
from pipeline.planning.task_table import TaskTable
from pipeline.results.finished import finished_keys
from pipeline.results.keys import rejected_key
from pipeline.results.rows import QuestionResult, RunStamp, failed_result
from pipeline.uris import StorageOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPlan:
    """Work to do, rows that have failed already (a video that is not there), and what an earlier run finished.

    Attributes:
        tasks: One per video that can be read and has questions left.
        unreadable: Likewise for those that cannot; ``failures`` says why, in their order.
        rejected: Manifest rows that cannot be asked, with their keys.
        num_skipped: Questions that an earlier run finished; ``num_skipped_failed`` of them have failed.
        replaces: Question key -> result file whose failed row gives way to a new one, where those are tried again.
    """

    tasks: TaskTable
    unreadable: TaskTable
    failures: tuple[Failure, ...]
    rejected: tuple[tuple[RejectedRow, str], ...]
    num_skipped: int
    num_skipped_failed: int = 0
    replaces: Mapping[str, str]

    @property
    def num_failed(self) -> int:
        """Questions that fail without being asked."""
        return self.unreadable.num_questions + len(self.rejected)

    def failed_rows(self, stamp: RunStamp) -> Iterator[tuple[QuestionResult, ...]]:
        """Rows of those questions, one tuple per commit."""
        for task, failure in zip(self.unreadable, self.failures, strict=True):
            pairs = zip(task.questions, task.question_keys, strict=True)
            yield tuple(_fail(question, key, failure, stamp) for question, key in pairs)
        for rejected, key in self.rejected:
            failure = Failure(failure_class=FailureClass.MANIFEST, message=rejected.message)
            yield (_fail(rejected.question, key, failure, stamp),)


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
    finished = finished_keys(output_uri, storage_options=storage_options)
    skipped = finished.skipped(retry_failed=retry_failed)
    questions, starts = _group_by_video(manifest.questions)
    uris = [questions.videos[code] for code in questions.video_codes[starts[:-1]].tolist()]
    found = look_up_fingerprints(uris, storage_options=storage_options, allow_http=allow_http)
    tasks = TaskTable(
        questions=questions,
        starts=starts,
        video_ids=np.arange(len(found), dtype=np.int64),
        fingerprints=pa.array([one.value for one in found], pa.string()),
        config_hash=stamp.config_hash,
    )
    tasks = tasks.less(finished.ok) if finished.ok else tasks
    num_not_ok = tasks.num_questions
    tasks = tasks.less(finished.failed) if finished.failed and not retry_failed else tasks
    num_skipped_failed = num_not_ok - tasks.num_questions
    is_missing = np.array([one.failure is not None for one in found], bool)
    left = [(row, rejected_key(row, config_hash=stamp.config_hash)) for row in manifest.rejected]
    left = [(row, key) for row, key in left if key not in skipped]
    missing_ids = np.flatnonzero(is_missing).tolist()
    unreadable = tasks.without(np.flatnonzero(~is_missing).tolist()) if missing_ids else tasks[:0]
    return JobPlan(
        tasks=tasks.without(missing_ids) if missing_ids else tasks,
        unreadable=unreadable,
        failures=tuple(failure for one in unreadable.video_ids.tolist() if (failure := found[one].failure)),
        rejected=tuple(left),
        num_skipped=len(questions) + len(manifest.rejected) - tasks.num_questions - len(left),
        num_skipped_failed=num_skipped_failed + len(manifest.rejected) - len(left),
        replaces=finished.failed_files if retry_failed else {},
    )


def _group_by_video(questions: QuestionTable) -> tuple[QuestionTable, IntArray]:
    """Questions video by video, videos in first-seen order; and where each video starts, the end included."""
    _, first_rows, inverse = np.unique(questions.video_codes, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first_rows))[inverse]  # of a video among all, by its first question
    grouped = questions.take(np.argsort(rank, kind="stable"))
    return grouped, np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(rank))])


def _fail(question: Question, key: str, failure: Failure, stamp: RunStamp) -> QuestionResult:
    return failed_result(question, failure, question_key=key, stamp=stamp, finished_at=datetime.now(UTC))
