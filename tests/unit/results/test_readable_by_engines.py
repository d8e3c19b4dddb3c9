"""What is in the files, as Parquet says it: only what Spark's and Athena's readers have a type for."""

import datetime
import os
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from pipeline.passes.token_record import pack_tokens, unpack_tokens
from pipeline.results.rows import KeptTokens
from tests.unit.results.answer_rows import commit, row

# Spark: ParquetToSparkSchemaConverter; Athena: its table of supported types. (physical type, logical type)
READABLE = {
    ("BOOLEAN", "NONE"),
    ("INT32", "NONE"),
    ("INT32", "INT"),
    ("INT32", "DATE"),
    ("INT64", "NONE"),
    ("INT64", "TIMESTAMP"),
    ("FLOAT", "NONE"),
    ("DOUBLE", "NONE"),
    ("BYTE_ARRAY", "NONE"),
    ("BYTE_ARRAY", "STRING"),
    ("FIXED_LEN_BYTE_ARRAY", "DECIMAL"),
}

MANIFEST = {
    "small": pa.array([1], pa.uint8()),
    "large": pa.array([2**64 - 1], pa.uint64()),
    "half": pa.array([0.5], pa.float16()),
    "time_of_day": pa.array([datetime.time(1)]),
    "length": pa.array([datetime.timedelta(seconds=1)]),
    "made_at": pa.array([1], pa.timestamp("ns", tz="Europe/Berlin")),
    "local_time": pa.array([1], pa.timestamp("ns")),
    "day": pa.array([datetime.date(2026, 1, 31)], pa.date64()),
    "price": pa.array([Decimal("1.5")], pa.decimal256(60, 2)),
    "cents": pa.array([Decimal("1.5")], pa.decimal128(9, 2)),
    "digest": pa.array([b"12345678"], pa.binary(8)),
    "kind": pa.array(["x"]).dictionary_encode(),
    "nothing": pa.nulls(1),
    "nested": pa.array([[{"n": 1, "at": datetime.time(2)}]]),
    "pairs": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.uint16())),
    "yes": pa.array([True]),
}


def leaves(path):
    schema = pq.ParquetFile(path).schema
    return [schema.column(number) for number in range(len(schema))]


def test_every_column_has_a_type_that_spark_and_athena_read(tmp_path):
    path = commit(str(tmp_path), [row("a", options=("x", "y"))], pa.table(MANIFEST))
    for leaf in leaves(path):
        assert (leaf.physical_type, leaf.logical_type.type) in READABLE, leaf.path
        said = str(leaf.logical_type)
        assert "nanoseconds" not in said, leaf.path
        assert "isSigned=false" not in said, leaf.path
        assert leaf.path == leaf.path.lower()
    by_path = {leaf.path: leaf for leaf in leaves(path)}
    assert "isAdjustedToUTC=true, timeUnit=microseconds" in str(by_path["finished_at"].logical_type)
    assert "groups.list.element.group_index" in by_path  # three levels, as the format prescribes
    assert {leaf.path.partition(".")[0] for leaf in leaves(path)} >= set(MANIFEST)


@pytest.mark.parametrize(("is_steady", "max_bytes"), [(True, 36_000), (False, 48_000)])
def test_the_tokens_of_a_final_pass_are_compact(tmp_path, is_steady, max_bytes):
    """7,040 tokens of 216 by patch, in some 1,900 of 5,000 patches; at a steady or a variable frame rate."""
    rng = np.random.default_rng(0)
    popularity, times_s = (
        rng.pareto(1.2, 5_000),
        np.cumsum(np.ones(5_000) if is_steady else rng.uniform(0.9, 1.1, 5_000)),
    )
    drawn = rng.choice(5_000, 14_080, p=popularity / popularity.sum()) * 216 + rng.integers(0, 216, 14_080)
    patches, tokens = np.divmod(np.sort(rng.permutation(np.unique(drawn))[:7_040]), 216)
    packed = pack_tokens(patches, tokens, rng.lognormal(-8, 2, 7_040))
    kept = KeptTokens(
        start_s=tuple(times_s[patches].tolist()),
        group_index=tuple((patches % 157).tolist()),
        token_row=tuple((tokens // 18).tolist()),
        token_column=tuple((tokens % 18).tolist()),
        weight=tuple(unpack_tokens(packed)["weight"].tolist()),
    )
    sizes = [
        os.path.getsize(commit(str(tmp_path / name), [row("a", kept_tokens=one)]))
        for name, one in (("without", None), ("with", kept))
    ]
    assert len(set(patches.tolist())) > 1_500
    assert 20_000 < sizes[1] - sizes[0] < max_bytes


def test_a_folder_of_results_is_one_dataset_for_pyarrow_and_pandas(tmp_path):
    commit(str(tmp_path), [row("a"), row("b", "failed")])
    commit(str(tmp_path), [row("c")])
    (tmp_path / "answers" / ".tmp-part-0.parquet-1").write_bytes(b"half")
    assert pq.read_table(tmp_path / "answers").num_rows == 3  # what pandas.read_parquet calls
    assert pyarrow.dataset.dataset(tmp_path / "answers").count_rows() == 3
