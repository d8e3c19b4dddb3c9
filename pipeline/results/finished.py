"""What earlier runs left: which questions are done, and the answers as the ``answers`` view shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipeline.results.drifting_types import concat_drifting
from pipeline.results.key_set import KeyedFiles, KeySet
from pipeline.results.part_files import AnswersFolder
from pipeline.results.row_choice import best_rows, with_added_columns
from pipeline.results.row_index import read_index
from pipeline.results.schema import ANSWERS_SCHEMA
from pipeline.uris import StorageOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedKeys:
    """Question keys with a row: ``ok`` if any row of the key is, else ``failed``.

    Attributes:
        failed_files: For each failed key the path of the file that holds the row that counts: for the committer.
    """

    ok: KeySet
    failed: KeySet
    failed_files: Mapping[str, str] = field(default_factory=dict)

    def skipped(self, *, retry_failed: bool = False) -> KeySet:
        """Keys that a run need not compute: failed ones too, unless they are to be tried again."""
        return self.ok if retry_failed else self.ok.union(self.failed)


def finished_keys(output_uri: str, *, storage_options: StorageOptions = None) -> FinishedKeys:
    """Read which questions have rows; files without a final name are none.

    Raises:
        ValueError: A result file is not readable; names it.
        OSError: The folder cannot be listed.
    """
    index = read_index(AnswersFolder(output_uri, storage_options))
    ok, failed = (index.best[index.is_ok[index.best] == is_ok] for is_ok in (True, False))
    return FinishedKeys(
        ok=KeySet(index.keys[ok]),
        failed=KeySet(index.keys[failed]),
        failed_files=KeyedFiles(index.keys[failed], index.files[failed], [part.path for part in index.parts]),
    )


def read_answers(output_uri: str, *, storage_options: StorageOptions = None) -> pa.Table:
    """One row per question key: ok before failed, then the newest; an empty table where there are no results.

    A manifest column whose type differs between files has the type that the view gives it.

    Raises:
        ValueError: A result file is not readable; names it.
        OSError: The folder cannot be listed.
    """
    folder = AnswersFolder(output_uri, storage_options)
    tables = [table for _, table in folder.read_all(folder.read_part)]
    if not tables:
        return ANSWERS_SCHEMA.empty_table()
    answers = concat_drifting(tables)
    return with_added_columns(answers).take(pa.array(np.sort(best_rows(answers))))
