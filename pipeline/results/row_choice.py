"""Which of several rows with one question key counts: ok before failed, then the newest. The view says so in SQL."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.results.schema import ANSWERS_SCHEMA, agreed_order

RANK_COLUMNS = ("question_key", "status", "finished_at", "run_id")
"""What decides; ``run_id`` so that rows of the same microsecond do not change places when files are merged."""

_Ints = npt.NDArray[np.int64]


def best_rows(answers: pa.Table, *, last_of_equals: bool = False) -> _Ints:
    """Indices of the rows that count, in the order in which their keys first appear.

    Args:
        answers: With `RANK_COLUMNS`.
        last_of_equals: Of rows that rank the same, take the last instead of the first.
    """
    keys = answers.column("question_key").combine_chunks().dictionary_encode()
    codes = keys.indices.to_numpy()
    rows = np.arange(len(codes))
    is_ok = pc.equal(answers.column("status"), "ok").fill_null(False).to_numpy()
    order = np.lexsort((rows if last_of_equals else -rows, _run_ranks(answers), finish_times(answers), is_ok, codes))
    is_last = np.diff(codes[order], append=len(keys.dictionary)) != 0
    best: _Ints = order[is_last]
    return best


def finish_times(answers: pa.Table) -> _Ints:
    """``(n,)`` microseconds since 1970; nothing known counts as oldest."""
    times = answers.column("finished_at").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    found: _Ints = times.fill_null(np.iinfo(np.int64).min).to_numpy()
    return found


def combine_rows(tables: Sequence[pa.Table], *, last_of_equals: bool = False) -> pa.Table:
    """One row per question key of all tables, with the columns of all; those a table lacks are null in its rows.

    Raises:
        pa.ArrowException: A column has a different type in two tables.
    """
    together = pa.concat_tables(tables, promote_options="default")
    together = together.select(agreed_order(together.column_names))
    return together.take(pa.array(best_rows(together, last_of_equals=last_of_equals)))


def with_added_columns(answers: pa.Table) -> pa.Table:
    """Columns that were added after these rows were written, as null."""
    missing = [field for field in ANSWERS_SCHEMA if field.name not in answers.column_names]
    for field in missing:
        answers = answers.append_column(field, pa.nulls(answers.num_rows, field.type))
    return answers.select(agreed_order(answers.column_names))


def _run_ranks(answers: pa.Table) -> _Ints:
    runs = answers.column("run_id").fill_null("").combine_chunks().dictionary_encode()
    ranks: _Ints = np.argsort(np.argsort(runs.dictionary.to_numpy(zero_copy_only=False)))
    codes: _Ints = runs.indices.to_numpy()
    return ranks[codes]
