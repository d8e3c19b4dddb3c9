"""Which of several rows counts: of one question key ok before failed, then of the later run. The view says so in SQL.

``num_runs`` says which of two runs was the later one, as each counts those before it; a clock may have gone back. Where
that is the same (two runs at once), the newest counts.

A failed row also gives way to a newer one of the same question with another key; and to any answer of it, where the
failed row only says that the video was away.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.results.asked import are_of_absent_videos, hash_rows
from pipeline.results.schema import ANSWERS_SCHEMA, agreed_order

RANK_COLUMNS = ("question_key", "status", "num_runs", "finished_at", "run_id")
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
    of_equals = rows if last_of_equals else -rows
    order = np.lexsort((of_equals, _run_ranks(answers), finish_times(answers), run_counts(answers), is_ok, codes))
    is_last = np.diff(codes[order], append=len(keys.dictionary)) != 0
    best: _Ints = order[is_last]
    return best


def standing_rows(answers: pa.Table) -> _Ints:
    """Indices of the rows that a reader is shown, ascending: the best of each key, less failures that have given way.

    Args:
        answers: With all columns of the schema.
    """
    is_best = np.zeros(answers.num_rows, bool)
    is_best[best_rows(answers)] = True
    is_ok = pc.equal(answers.column("status"), "ok").fill_null(False).to_numpy()
    failed_ids = answers.column("question_id").filter(pa.array(is_best & ~is_ok)).combine_chunks()
    if len(failed_ids):
        rivals = np.flatnonzero(is_best & pc.is_in(answers.column("question_id"), failed_ids).to_numpy())
        is_best[rivals] = _stand(answers.take(pa.array(rivals)))
    found: _Ints = np.flatnonzero(is_best)
    return found


def _stand(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """``(n,)`` of rows with different keys, which have not given way to one of the same question."""
    asked, is_absent = hash_rows(rows), are_of_absent_videos(rows)
    is_ok = pc.equal(rows.column("status"), "ok").fill_null(False).to_numpy()
    order = np.lexsort((_key_ranks(rows), _run_ranks(rows), finish_times(rows), asked))
    is_newest = np.zeros(len(order), bool)
    is_newest[order] = np.append(asked[order][1:] != asked[order][:-1], True)
    found: npt.NDArray[np.bool_] = is_ok | (is_newest & ~(is_absent & np.isin(asked, asked[is_ok])))
    return found


def run_counts(answers: pa.Table) -> _Ints:
    """``(n,)`` runs that had tried each question; rows from before that was counted are of the first."""
    if "num_runs" not in answers.column_names:
        return np.ones(answers.num_rows, np.int64)
    found: _Ints = answers.column("num_runs").fill_null(1).cast(pa.int64()).to_numpy()
    return found


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
    return _ranks(answers.column("run_id").fill_null(""))


def _key_ranks(answers: pa.Table) -> _Ints:
    return _ranks(answers.column("question_key"))


def _ranks(texts: pa.ChunkedArray) -> _Ints:
    runs = texts.combine_chunks().dictionary_encode()
    ranks: _Ints = np.argsort(np.argsort(runs.dictionary.to_numpy(zero_copy_only=False)))
    codes: _Ints = runs.indices.to_numpy()
    return ranks[codes]
