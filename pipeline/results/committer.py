"""Turns one video's rows into a commit: joined with the manifest's other columns, in the file where they belong."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import fsspec
import pyarrow as pa

from pipeline.manifest.reading import Manifest
from pipeline.results.failed_rows import FailedRow
from pipeline.results.partitions import Partitions
from pipeline.results.rows import QuestionResult
from pipeline.results.schema import results_table
from pipeline.results.writer import commit_answers, drop_rows, replace_rows
from pipeline.uris import StorageOptions


class AnswerCommitter:
    """Writes one video's rows per call: as one atomic file, or into the files that hold their failed rows."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        output_uri: str,
        storage_options: StorageOptions = None,
        partition_by: str | None = None,
        replaces: Mapping[str, FailedRow] | None = None,
    ) -> None:
        """Check the partition column.

        Args:
            manifest: Of the run.
            output_uri: Folder of all results.
            storage_options: For the file system of ``output_uri``.
            partition_by: A manifest column that names folders below ``answers``.
            replaces: Question key -> failed row that gives way to it, perhaps of another key (``JobPlan.replaces``).
                The files of those rows keep their place, whatever ``partition_by`` says.

        Raises:
            ValueError: ``partition_by`` cannot be used.
        """
        self._manifest, self._output_uri, self._storage_options = manifest, output_uri, storage_options
        self._rows = manifest.row_indices()
        self._partitions = Partitions(manifest, partition_by)
        self._replaces = replaces or {}
        self._filesystem, _ = fsspec.core.url_to_fs(output_uri, **(storage_options or {}))

    def commit(self, rows: Sequence[QuestionResult], *, planned_keys: Sequence[str] = ()) -> pa.Table:
        """Write the rows of one video; returns them as a table.

        Args:
            rows: at least one.
            planned_keys: of the rows, where they have others, as the video was replaced in between: failed rows give
                way to them by these.
        """
        planned = planned_keys or [row.question_key for row in rows]
        rows = [self._count_runs(row, key) for row, key in zip(rows, planned, strict=True)]
        row_indices = [self._rows[row.question_id] for row in rows]
        table = results_table(rows, self._manifest.pass_through_rows(row_indices))
        fresh = self._replace_failed(planned, table)
        if fresh:
            commit_answers(
                self._output_uri,
                table.take(fresh),
                [rows[position].question_key for position in fresh],
                storage_options=self._storage_options,
                subfolder=self._partitions.subfolder([row_indices[position] for position in fresh]),
            )
            self._drop_failed([planned[position] for position in fresh])
        return table

    def _drop_failed(self, keys: Sequence[str]) -> None:
        """Failed rows that could not be replaced in their place, as column types differ, leave their files."""
        by_file: dict[str, list[str]] = {}
        for key in keys:
            if key in self._replaces:
                by_file.setdefault(self._replaces[key].path, []).append(self._replaces[key].question_key)
        for path, failed in by_file.items():
            drop_rows(self._filesystem, path, failed)

    def _count_runs(self, row: QuestionResult, key: str) -> QuestionResult:
        before = self._replaces.get(key)
        return row if before is None else replace(row, num_runs=before.num_runs + 1)

    def _replace_failed(self, keys: Sequence[str], table: pa.Table) -> list[int]:
        """Rewrite the files that hold failed rows of ``keys``; returns the positions of rows that need a new file."""
        by_file: dict[str, list[int]] = {}
        fresh = [position for position, key in enumerate(keys) if key not in self._replaces]
        for position in sorted(set(range(len(keys))).difference(fresh)):
            by_file.setdefault(self._replaces[keys[position]].path, []).append(position)
        for path, positions in by_file.items():
            replaced = [self._replaces[keys[position]].question_key for position in positions]
            if not replace_rows(self._filesystem, path, table.take(positions), instead_of=replaced):
                fresh += positions
        return sorted(fresh)
