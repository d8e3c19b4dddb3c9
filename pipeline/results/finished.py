"""What earlier runs left: which questions are done, and the answers as the ``answers`` view shows them."""

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.results.asked import ASKED_COLUMNS, hash_rows
from pipeline.results.drifting_types import concat_drifting
from pipeline.results.failed_rows import FailedRows
from pipeline.results.key_set import KeySet
from pipeline.results.part_files import AnswersFolder, PartFile
from pipeline.results.row_choice import standing_rows, with_added_columns
from pipeline.results.row_index import read_index
from pipeline.results.schema import ANSWERS_SCHEMA
from pipeline.uris import StorageOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedKeys:
    """Question keys with a row: ``ok`` if any row of the key is, else ``failed``.

    Attributes:
        failed_rows: For each failed key the row that counts: for the committer.
    """

    ok: KeySet
    failed: KeySet
    failed_rows: FailedRows

    def skipped(self, *, retry_failed: bool = False, max_runs: int = 1) -> KeySet:
        """Keys that a run need not compute: failed ones too, unless they are to be tried again.

        Args:
            retry_failed: All of them are.
            max_runs: So often one is tried that failed by circumstance.
        """
        return self.ok if retry_failed else self.ok.union(self.failed_rows.standing(max_runs=max_runs))


def finished_keys(output_uri: str, *, storage_options: StorageOptions = None) -> FinishedKeys:
    """Read which questions have rows; files without a final name are none.

    Raises:
        ValueError: A result file is not readable; names it.
        OSError: The folder cannot be listed.
    """
    index = read_index(AnswersFolder(output_uri, storage_options))
    ok, failed = (index.best[index.is_ok[index.best] == is_ok] for is_ok in (True, False))
    return FinishedKeys(ok=KeySet(index.keys[ok]), failed=KeySet(index.keys[failed]), failed_rows=FailedRows(index))


def answered_questions(
    output_uri: str, question_ids: Collection[str], *, storage_options: StorageOptions = None
) -> frozenset[int]:
    """Which of these questions have an answer, about whatever version of their video, by `hash_asked`.

    Raises:
        ValueError: A result file is not readable; names it.
        OSError: The folder cannot be listed.
    """
    folder, wanted = AnswersFolder(output_uri, storage_options), pa.array(sorted(question_ids), pa.string())

    def read(part: PartFile) -> frozenset[int]:
        def is_hit(rows: pa.Table) -> pa.ChunkedArray:
            is_ok = pc.equal(rows.column("status"), "ok").fill_null(False)
            return pc.and_(pc.is_in(rows.column("question_id"), wanted), is_ok)

        if not pc.any(is_hit(folder.read_part(part, ("question_id", "status")))).as_py():
            return frozenset()
        rows = folder.read_part(part, (*ASKED_COLUMNS, "status"))
        return frozenset(hash_rows(rows.filter(is_hit(rows))).tolist())

    return frozenset().union(*(found for _, found in folder.read_all(read)))


def read_answers(output_uri: str, *, storage_options: StorageOptions = None) -> pa.Table:
    """One row per question key, as `row_choice` says; an empty table where there are no results.

    A manifest column whose type differs between files has the type that the view gives it. A file that is not
    readable is named in a warning, and left out.

    Raises:
        BrokenFileError: No result file is readable.
        OSError: The folder cannot be listed.
    """
    folder = AnswersFolder(output_uri, storage_options)
    tables = [table for _, table in folder.read_all(folder.read_part, skips_broken=True)]
    if not tables:
        return ANSWERS_SCHEMA.empty_table()
    answers = with_added_columns(concat_drifting(tables))
    return answers.take(pa.array(standing_rows(answers)))
