"""Placed questions as the columns of a manifest."""

import io
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.evaluation.benchmarks import Benchmark
from pipeline.evaluation.importers.collection import PlacedQuestion
from pipeline.evaluation.importers.options import fill_blanks
from pipeline.method.subtitles import Subtitle, with_subtitles

_TEXT, _FLOAT = pa.string(), pa.float64()


def manifest_schema(benchmark: Benchmark) -> pa.Schema:
    """Columns of a benchmark's manifest: what a run needs, the truth, and the benchmark's categories.

    ``question`` is what is asked: with subtitles, they stand before the stem. ``num_subtitles`` is null without.
    """
    labels = [] if benchmark.labels is None else [(benchmark.labels, pa.list_(_TEXT))]
    return pa.schema(
        [
            ("question_id", _TEXT),
            ("video", _TEXT),
            ("question", _TEXT),
            ("options", pa.list_(_TEXT)),
            ("expected", _TEXT),
            ("benchmark", _TEXT),
            ("source_id", _TEXT),
            ("video_id", _TEXT),
            ("question_stem", _TEXT),
            *((name, _TEXT) for name in benchmark.categories),
            *labels,
            ("time_reference", _TEXT),
            ("reference_start_s", _FLOAT),
            ("reference_end_s", _FLOAT),
            ("annotated_duration_s", _FLOAT),
            ("num_subtitles", pa.int64()),
        ]
    )


def manifest_table(
    placed: Sequence[PlacedQuestion], benchmark: Benchmark, *, subtitles: Mapping[str, Sequence[Subtitle]] | None
) -> pa.Table:
    """One row per question.

    Args:
        placed: in the order of the manifest.
        benchmark: of all of them.
        subtitles: by question id; None asks without.
    """
    rows = [
        _row(item, benchmark, None if subtitles is None else subtitles[item.question.question_id]) for item in placed
    ]
    return pa.Table.from_pylist(rows, schema=manifest_schema(benchmark))


def _row(item: PlacedQuestion, benchmark: Benchmark, subtitles: Sequence[Subtitle] | None) -> dict[str, object]:
    question = item.question
    start_s, end_s = question.reference_s or (None, None)
    labels: dict[str, object] = {} if benchmark.labels is None else {benchmark.labels: list(question.labels)}
    return {
        "question_id": item.question.question_id,
        "video": item.video,
        "question": question.question if subtitles is None else with_subtitles(question.question, subtitles),
        "options": list(fill_blanks(question.options)),
        "expected": question.expected,
        "benchmark": benchmark.name,
        "source_id": question.source_id,
        "video_id": question.video_id,
        "question_stem": question.question,
        **question.categories,
        **labels,
        "time_reference": question.time_reference,
        "reference_start_s": start_s,
        "reference_end_s": end_s,
        "annotated_duration_s": question.duration_s,
        "num_subtitles": None if subtitles is None else len(subtitles),
    }


def manifest_bytes(table: pa.Table) -> bytes:
    """The manifest as a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
