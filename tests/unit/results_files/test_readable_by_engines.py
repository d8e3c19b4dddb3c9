"""What is in the files, as Parquet says it: only what Spark's and Athena's readers have a type for."""

import datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from tests.unit.results_files.answer_rows import commit, row

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


def test_a_folder_of_results_is_one_dataset_for_pyarrow_and_pandas(tmp_path):
    commit(str(tmp_path), [row("a"), row("b", "failed")])
    commit(str(tmp_path), [row("c")])
    (tmp_path / "answers" / ".tmp-part-0.parquet-1").write_bytes(b"half")
    assert pq.read_table(tmp_path / "answers").num_rows == 3  # what pandas.read_parquet calls
    assert pyarrow.dataset.dataset(tmp_path / "answers").count_rows() == 3
