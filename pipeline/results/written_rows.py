"""What a run has written so far, as its summary needs it: numbers of every row, and the first few failures."""

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.results.schema import ANSWERS_SCHEMA

MAX_FAILURES = 5  # that are kept with their messages
_BATCH = 256  # tables that wait to become one: each costs more than its rows
_NOT_SUMMED = frozenset(
    {
        *(
            "question_id",
            "question_key",
            "question",
            "error_message",
            "answer",
            "answer_text",
            "model",
            "model_revision",
        ),
        *("method", "config_hash", "video_fingerprint", "run_id", "finished_at", "stop_reason", "decoder", "sandbox"),
        *("num_runs",),
    }
)
_SUMMED = tuple(
    field.name for field in ANSWERS_SCHEMA if field.name not in _NOT_SUMMED and not pa.types.is_nested(field.type)
)
_FAILURE = ("question_id", "status", "error_class", "error_message")


class WrittenRows:
    """Grows by one commit at a time; a million rows take a few hundred megabytes."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self.num_failed = 0
        self.failures: list[dict[str, object]] = []

    def add(self, table: pa.Table) -> None:
        """Note the rows of one commit."""
        failed = table.filter(pc.equal(table.column("status"), "failed"))
        self.num_failed += failed.num_rows
        self.failures += failed.slice(0, max(0, MAX_FAILURES - len(self.failures))).select(_FAILURE).to_pylist()
        self._tables.append(table.select(_SUMMED))
        if len(self._tables) >= _BATCH:
            self._tables = [pa.concat_tables(self._tables).combine_chunks()]

    def table(self) -> pa.Table:
        """All rows, in the order of their commits, with the columns that a summary is made of."""
        empty = ANSWERS_SCHEMA.empty_table().select(_SUMMED)
        return pa.concat_tables([empty, *self._tables], promote_options="default")
