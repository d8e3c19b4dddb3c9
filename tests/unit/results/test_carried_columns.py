"""Columns of manifests that others wrote: what is read is written, and read again by every reader; else it is named."""

import json
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.manifest.reading import read_manifest
from pipeline.results.carried_columns import carry_columns
from pipeline.results.committer import AnswerCommitter
from pipeline.results.finished import read_answers
from pipeline.results.views import open_database
from tests.unit.results.answer_rows import row

ID = uuid.UUID("12345678-1234-5678-1234-567812345678")
FAR = datetime(9999, 12, 31)
KNOWN = {"question_id": ["id-a", "id-b"], "video": ["/v.mp4"] * 2, "question": ["?"] * 2}
IDS = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([ID.bytes, None], pa.binary(16)))


def carried(path, tmp_path):
    """The column ``x`` of a manifest behind a commit, as pyarrow reads it; all other readers can read it, too."""
    manifest = read_manifest(str(path))
    pass_through, _ = carry_columns(manifest.pass_through)
    output = tmp_path / "out"
    committer = AnswerCommitter(replace(manifest, pass_through=pass_through), output_uri=str(output))
    committer.commit([row("a"), row("b")])
    assert len(pandas.read_parquet(output / "answers")) == 2
    assert len(polars.read_parquet(output / "answers/**/*.parquet")) == 2
    assert len(duckdb.sql(f"FROM '{output}/answers/**/*.parquet'").fetchall()) == 2
    assert len(open_database(str(output)).execute("SELECT x FROM answers").fetchall()) == 2
    return read_answers(str(output)).column("x").to_pylist()


ODD = {
    "list_view": (pa.array([[1], None], pa.list_view(pa.int64())), [[1], None]),
    "large_list_view": (pa.array([[1, 2], [3]], pa.large_list_view(pa.int8())), [[1, 2], [3]]),
    "view of times": (pa.array([[time(1)], []], pa.list_view(pa.time64("us"))), [["01:00:00.000000"], []]),
    "list of views": (pa.array([[[1]], []], pa.list_(pa.list_view(pa.int64()))), ["[[1]]", "[]"]),
    "uuid": (IDS, [str(ID), None]),
    "uuids in a struct": (pa.StructArray.from_arrays([IDS], ["id"]), [{"id": ID.bytes}, {"id": None}]),
    "a place's time": (
        pa.array([0, 1], pa.timestamp("ns", tz="Mars/Phobos")),
        [datetime(1970, 1, 1, tzinfo=UTC)] * 2,
    ),
    "an offset": (pa.array([0, None], pa.timestamp("s", tz="+05:30")), [datetime(1970, 1, 1, tzinfo=UTC), None]),
    "dictionary": (pa.array(["a", None]).dictionary_encode(), ["a", None]),
    "decimals": (pa.array([Decimal("1.50"), None], pa.decimal256(60, 2)), ["1.50", None]),
    "maps": (
        pa.array([[("a", [("b", 1)])], []], pa.map_(pa.string(), pa.map_(pa.string(), pa.uint8()))),
        [[("a", [("b", 1)])], []],
    ),
    "nothing in lists": (pa.array([[None], []], pa.list_(pa.null())), [[None], []]),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_types_of_pyarrow_are_carried(tmp_path, name):
    column, expected = ODD[name]
    pq.write_table(pa.table(KNOWN | {"x": column}), tmp_path / "manifest.parquet")
    assert carried(tmp_path / "manifest.parquet", tmp_path) == expected


def test_int96_keeps_dates_beyond_what_nanoseconds_can_say(tmp_path):
    table = pa.table(KNOWN | {"x": pa.array([FAR, None], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "manifest.parquet", use_deprecated_int96_timestamps=True)
    assert carried(tmp_path / "manifest.parquet", tmp_path) == [FAR, None]


@pytest.mark.parametrize(
    ("value", "expected"),
    [({}, ["{}", None]), ([{}], ["[{}]", None]), ({"a": {}, "ä": [0.5, None]}, ['{"a": {}, "ä": [0.5, null]}', None])],
)
def test_an_empty_object_of_json_is_carried_as_text(tmp_path, value, expected):
    rows = [dict(zip(KNOWN, cells, strict=True)) for cells in zip(*KNOWN.values(), strict=True)]
    rows[0]["x"] = value
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert carried(tmp_path / "manifest.jsonl", tmp_path) == expected


@pytest.mark.parametrize(
    "value", [{}, [None], ID, Decimal("1.5"), time(1), timedelta(1), date(2026, 1, 31), b"\xff", 2**63]
)
def test_what_pandas_writes_is_carried(tmp_path, value):
    frame = pandas.DataFrame(KNOWN | {"x": [value, value]})
    try:
        frame.to_parquet(tmp_path / "manifest.parquet")
    except (pa.ArrowException, ValueError):
        frame["x"] = frame["x"].map(str).astype("category")
        frame.to_parquet(tmp_path / "manifest.parquet")
    assert None not in carried(tmp_path / "manifest.parquet", tmp_path)


@pytest.mark.parametrize(
    "column",
    [
        polars.Series(["a", "b"], dtype=polars.Categorical),
        polars.Series(["a", "b"], dtype=polars.Enum(["a", "b"])),
        polars.Series([[1, 2], [3, 4]], dtype=polars.Array(polars.Int64, 2)),
        polars.Series([{"a": 1}, {"a": 2}]),
        polars.Series([time(1), time(2)]),
        polars.Series([timedelta(1), timedelta(2)]),
        polars.Series([FAR, FAR], dtype=polars.Datetime("ms", "Asia/Tokyo")),
        polars.Series([Decimal("1.5")] * 2, dtype=polars.Decimal(38, 10)),
        polars.Series([b"\xff", b""]),
    ],
    ids=lambda series: str(series.dtype),
)
def test_what_polars_writes_is_carried(tmp_path, column):
    polars.DataFrame(KNOWN | {"x": column}).write_parquet(tmp_path / "manifest.parquet")
    assert None not in carried(tmp_path / "manifest.parquet", tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        "uuid()",
        "'1 day'::INTERVAL",
        "'a'::ENUM('a', 'b')",
        "170141183460469231731687303715884105727::HUGEINT",
        "18446744073709551615::UBIGINT",
        "'1.5'::DECIMAL(38, 10)",
        "MAP {'a': MAP {'b': 1}}",
        "union_value(num := 1)",
        "'101'::BIT",
        "TIMESTAMPTZ '9999-12-31 00:00:00+00'",
        "TIMESTAMP_NS '2026-01-31 00:00:00.123456789'",
        "TIME '01:00:00'",
        "TIMETZ '01:00:00+02'",
        "[[NULL]]",
        "[1, 2]::INTEGER[2]",
        "{'a': [{'b': NULL}]}",
    ],
)
def test_what_duckdb_writes_is_carried(tmp_path, value):
    path = tmp_path / "manifest.parquet"
    known = "unnest(['id-a', 'id-b']) AS question_id, '/v.mp4' AS video, '?' AS question"
    duckdb.sql(f"COPY (SELECT {known}, {value} AS x) TO '{path}'")
    assert None not in carried(path, tmp_path)


def test_a_moment_is_the_same_whatever_zone_wrote_it(tmp_path):
    noon = datetime(2026, 1, 31, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    pandas.DataFrame(KNOWN | {"x": [noon, noon]}).to_parquet(tmp_path / "manifest.parquet")
    assert carried(tmp_path / "manifest.parquet", tmp_path) == [noon, noon]


def test_json_text_is_said_and_what_cannot_be_written_is_named_with_a_remedy():
    table = pa.table({"meta": pa.array([{}], pa.struct([])), "fine": [1]})
    carried, warnings = carry_columns(table)
    assert carried.to_pylist() == [{"meta": "{}", "fine": 1}]
    assert warnings == ["column 'meta' of type struct<> is carried as JSON text: Parquet has no such type"]
    far, twice = pa.array([2**62], pa.timestamp("s")), pa.StructArray.from_arrays([pa.array([1])] * 2, ["a", "a"])
    with pytest.raises(ValueError, match="manifest cannot be used") as caught:
        carry_columns(pa.table({"far": far, "twice": twice, "fine": [1]}))
    assert "column 'far' of type timestamp[s] cannot be carried" in str(caught.value)
    assert "column 'twice' holds two fields 'a' side by side: rename one" in str(caught.value)
    assert "fine" not in str(caught.value)


def test_a_manifest_without_further_columns_keeps_none():
    manifest_table = pa.table({"a": [1, 2]}).select([])
    assert carry_columns(manifest_table)[0].num_columns == 0
