"""What a run has to do: the manifest less what is finished, grouped by video, with stable keys."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from pipeline.failures import Failure, FailureClass
from pipeline.manifest.questions import Question, QuestionTable, RejectedRow
from pipeline.manifest.reading import Manifest
from pipeline.manifest.record_table import IntArray
from pipeline.planning.fingerprints import Fingerprint, look_up_fingerprints
from pipeline.planning.task_table import TaskTable
from pipeline.planning.transcripts import read_transcripts
from pipeline.results.asked import hash_question
from pipeline.results.failed_rows import FailedRow, FailedRows
from pipeline.results.finished import answered_questions, finished_keys
from pipeline.results.key_set import KeySet
from pipeline.results.keys import rejected_key
from pipeline.results.rows import QuestionResult, RunStamp, failed_result
from pipeline.uris import StorageOptions

LookUp = Callable[..., list[Fingerprint]]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPlan:
    """Work to do, rows that have failed already (a video that is not there), and what an earlier run finished.

    Attributes:
        tasks: One per video, or part of one, that can be read and has questions left.
        unreadable: Likewise for those that cannot; ``failures`` says why, in their order.
        rejected: Manifest rows that cannot be asked, with their keys.
        num_skipped: Questions that an earlier run finished; ``num_skipped_failed`` of them have failed, and of
            ``num_skipped_away`` the video or transcript, which was there then, cannot be reached now.
        answered: Keys of questions that an earlier run answered, of whatever version of their videos.
        replaces: Question key -> failed row that gives way to the new one: of the same key, or of the same question.
    """

    tasks: TaskTable
    unreadable: TaskTable
    failures: tuple[Failure, ...]
    rejected: tuple[tuple[RejectedRow, str], ...]
    num_skipped: int
    num_skipped_failed: int = 0
    num_skipped_away: int = 0
    answered: KeySet = field(default_factory=KeySet, repr=False)
    replaces: Mapping[str, FailedRow]

    @property
    def num_failed(self) -> int:
        """Questions that fail without being asked."""
        return self.unreadable.num_questions + len(self.rejected)

    @property
    def num_without_transcript(self) -> int:
        """Questions of ``tasks`` that will fail when their video is planned: their transcript cannot be read."""
        return self.tasks.num_without_transcript()

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
    max_runs: int = 1,
    allow_http: bool = False,
    storage_options: StorageOptions = None,
    look_up: LookUp = look_up_fingerprints,
) -> JobPlan:
    """Drop finished questions, look up each video's fingerprint, and group what remains by video."""
    # 1. what earlier runs left (n files → keys)
    finished = finished_keys(output_uri, storage_options=storage_options)
    skipped = finished.skipped(retry_failed=retry_failed, max_runs=max_runs)
    # 2. transcripts (their content is part of the keys), V videos → V fingerprints
    questions, starts = _group_by_video(read_transcripts(manifest.questions, storage_options=storage_options))
    uris = [questions.videos[code] for code in questions.video_codes[starts[:-1]].tolist()]
    different = list(dict.fromkeys(uris))  # several parts of one video may be asked about
    looked_up = look_up(different, storage_options=storage_options, allow_http=allow_http)
    found_of = dict(zip(different, looked_up, strict=True))
    found = [found_of[uri] for uri in uris]
    tasks = TaskTable(
        questions=questions,
        starts=starts,
        video_ids=np.arange(len(found), dtype=np.int64),
        fingerprints=pa.array([one.value for one in found], pa.string()),
        config_hash=stamp.config_hash,
    )
    # 3. less what is finished: answered, failed for good, answered about a video that is away now
    tasks = tasks.less(finished.ok) if finished.ok else tasks
    num_not_ok = tasks.num_questions
    tasks = tasks.less(skipped) if finished.failed and not retry_failed else tasks
    num_skipped_failed = num_not_ok - tasks.num_questions
    is_missing = np.array([one.failure is not None for one in found], bool)
    present, missing = np.flatnonzero(~is_missing).tolist(), np.flatnonzero(is_missing).tolist()
    unreadable = tasks.without(present) if missing else tasks[:0]
    tasks = tasks.without(missing) if missing else tasks
    num_away = unreadable.num_questions + tasks.num_questions
    if len(unreadable) and finished.ok:
        unreadable = _less_answered(unreadable, output_uri, storage_options)
    if tasks.num_without_transcript() and finished.ok:
        tasks = _less_answered(tasks, output_uri, storage_options, is_away=_lacks_transcript)
    left = [(row, rejected_key(row, config_hash=stamp.config_hash)) for row in manifest.rejected]
    left = [(row, key) for row, key in left if key not in skipped]
    num_left = tasks.num_questions + unreadable.num_questions + len(left)
    return JobPlan(
        tasks=tasks,
        unreadable=unreadable,
        failures=tuple(failure for one in unreadable.video_ids.tolist() if (failure := found[one].failure)),
        rejected=tuple(left),
        num_skipped=len(questions) + len(manifest.rejected) - num_left,
        num_skipped_failed=num_skipped_failed + len(manifest.rejected) - len(left),
        num_skipped_away=num_away - unreadable.num_questions - tasks.num_questions,
        answered=finished.ok,
        replaces=_find_replaced((tasks, unreadable), left, finished.failed_rows),
    )


def _lacks_transcript(question: Question) -> bool:
    return question.transcript is not None and question.transcript.failure is not None


def _less_answered(
    tasks: TaskTable,
    output_uri: str,
    storage_options: StorageOptions,
    *,
    is_away: Callable[[Question], bool] = lambda question: True,
) -> TaskTable:
    """Without those that were answered when video and transcript were there: their absence now takes nothing back."""
    ids = {question.question_id for task in tasks for question in task.questions if is_away(question)}
    answered = answered_questions(output_uri, ids, storage_options=storage_options)
    pairs = _asked(tasks, is_away) if answered else ()
    keys = [key for key, asked in pairs if asked in answered]
    return tasks.less(KeySet(keys)) if keys else tasks


def _find_replaced(
    tables: Iterable[TaskTable], rejected: Iterable[tuple[RejectedRow, str]], failed: FailedRows
) -> dict[str, FailedRow]:
    """Failed rows of the keys that are to be written, and of the same questions under other keys."""
    if not failed:
        return {}
    pairs = ((key, failed.get(key) or failed.of_question(asked)) for table in tables for key, asked in _asked(table))
    found = {key: row for key, row in pairs if row is not None}
    return found | {key: failed[key] for _, key in rejected if key in failed}


def _asked(tasks: TaskTable, is_meant: Callable[[Question], bool] = lambda question: True) -> Iterator[tuple[str, int]]:
    """Question keys, and what is asked whatever the version of the video."""
    for task in tasks:
        for question, key in zip(task.questions, task.question_keys, strict=True):
            if is_meant(question):
                yield key, hash_question(question, config_hash=tasks.config_hash)


def _group_by_video(questions: QuestionTable) -> tuple[QuestionTable, IntArray]:
    """Questions by video and range, in first-seen order; and where each of these starts, the end included."""
    _, first_rows, inverse = np.unique(questions.video_codes, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first_rows))[inverse]  # of a video among all, by its first question
    grouped = questions.take(np.argsort(rank, kind="stable"))
    return grouped, np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(rank))])


def _fail(question: Question, key: str, failure: Failure, stamp: RunStamp) -> QuestionResult:
    return failed_result(question, failure, question_key=key, stamp=stamp, finished_at=datetime.now(UTC))
