import dataclasses
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest

from pipeline.failures import Failure, FailureClass
from pipeline.manifest.questions import Question
from pipeline.results.rows import VOLATILE_COLUMNS, KeptTokens, QuestionResult, RunStamp, failed_result
from pipeline.results.schema import (
    ANSWERS_SCHEMA,
    EVIDENCE_TYPE,
    GROUP_TYPE,
    KEPT_TOKEN_TYPE,
    results_schema,
    results_table,
)

# The agreed columns in their agreed order: never renamed.
AGREED = [
    *(
        "question_id",
        "question_key",
        "video",
        "question",
        "options",
        "asked_id",
        "asked_start_s",
        "asked_end_s",
        "status",
        "error_class",
        "error_message",
    ),
    *("warnings", "attempts", "num_runs", "answer", "answer_text", "option_probabilities", "answer_entropy"),
    *("evidence", "kept_tokens", "groups", "num_groups", "num_groups_scored", "num_groups_wasted", "stop_reason"),
    *("num_sampled_frames", "num_tokens_offered", "num_tokens_kept", "num_token_rows", "num_token_columns"),
    *("duration_s", "decoder", "sandbox", "memory_rung", "video_num_frames_decoded"),
    *("video_num_decode_passes", "video_num_groups_encoded", "video_num_groups_prefilled", "decode_s", "encode_s"),
    *("prefill_s", "score_s", "scorer_wait_s", "answer_s", "total_s", "model", "model_revision", "method"),
    *("config_hash", "prompt_style", "video_fingerprint", "schema_version", "run_id", "finished_at"),
]
PLACES = {"duration_s", "asked_start_s", "asked_end_s"}
NOTHING = pa.table({})
STAMP = RunStamp(run_id="r", method="uniform", model="demo", model_revision=None, config_hash="c")
QUESTION = Question(question_id="q", video="s3://k:secret@b/v.mp4", text="Why?", options=None, row_index=0)
FAILURE = Failure(failure_class=FailureClass.TRANSFER, message="cannot read s3://k:secret@b/v.mp4 today")


def leaf_types(column_type):
    if pa.types.is_list(column_type):
        return leaf_types(column_type.value_type)
    if pa.types.is_struct(column_type):
        return set().union(*(leaf_types(field.type) for field in column_type))
    return {column_type}


def test_the_columns_are_the_agreed_ones_and_those_of_the_record():
    assert ANSWERS_SCHEMA.names == AGREED
    assert [field.name for field in dataclasses.fields(QuestionResult)] == AGREED
    assert [field.name for field in EVIDENCE_TYPE] == ["start_s", "end_s", "weight", "num_tokens"]
    kept_token_names = ["start_s", "group_index", "token_row", "token_column", "weight"]
    assert [field.name for field in KEPT_TOKEN_TYPE] == kept_token_names
    assert [field.name for field in dataclasses.fields(KeptTokens)] == kept_token_names
    assert [field.name for field in GROUP_TYPE] == [
        *("group_index", "entropy", "certainty", "response"),
        *("num_tokens_offered", "num_tokens_bought", "num_tokens_kept"),
    ]


def test_every_column_is_described_and_of_a_type_that_spark_and_athena_read():
    readable = {pa.string(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.timestamp("us", tz="UTC")}
    for field in ANSWERS_SCHEMA:
        assert field.metadata[b"description"]
        assert leaf_types(field.type) <= readable
        if field.name.endswith("_s"):
            assert b"seconds" in field.metadata[b"description"]


def test_the_volatile_columns_are_the_agreed_ones():
    seconds = {name for name in AGREED if name.endswith("_s") and name not in PLACES}
    counters = {name for name in AGREED if name.startswith("video_num_")} | {"num_groups_wasted"}
    assert seconds | counters | {"run_id", "finished_at", "attempts", "num_runs"} == VOLATILE_COLUMNS


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"answer": None}, "an 'ok' row needs an answer"),
        ({"error_class": FailureClass.MODEL}, "no error_class"),
        ({"status": "failed", "error_class": None}, "needs error_class and error_message"),
        ({"status": "failed", "error_class": FailureClass.MODEL}, "needs error_class and error_message"),
        ({"status": "done"}, "status must be 'ok' or 'failed', got 'done'"),
        ({"finished_at": datetime(2026, 1, 1)}, "finished_at needs a time zone"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(make_result, columns, message):
    with pytest.raises(ValueError, match=message):
        make_result(**columns)


def test_a_failed_row_says_what_failed_and_for_which_question():
    result = failed_result(
        QUESTION, FAILURE, question_key="k", stamp=STAMP, finished_at=datetime(2026, 1, 1, tzinfo=UTC), attempts=3
    )
    (row,) = results_table([result], NOTHING).to_pylist()
    told = {name: value for name, value in row.items() if value not in (None, 0, 0.0, [])}
    assert told == {
        "question_id": "q",
        "question_key": "k",
        "video": "s3://b/v.mp4",
        "question": "Why?",
        "status": "failed",
        "error_class": "transfer",
        "error_message": "cannot read s3://b/v.mp4 today",
        "attempts": 3,
        "num_runs": 1,
        "model": "demo",
        "method": "uniform",
        "config_hash": "c",
        "prompt_style": "plain",
        "schema_version": 1,
        "run_id": "r",
        "finished_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    assert (row["options"], row["groups"], row["num_groups"]) == (None, [], None)


def test_a_table_holds_what_the_records_hold(make_result):
    cet = timezone(timedelta(hours=1))
    results = [make_result(), make_result(options=None, finished_at=datetime(2026, 1, 31, 13, tzinfo=cet))]
    table = results_table(results, NOTHING)
    assert table.schema.equals(ANSWERS_SCHEMA, check_metadata=True)
    first, second = table.to_pylist()
    assert first["evidence"] == [{"start_s": 1.0, "end_s": 2.5, "weight": 0.75, "num_tokens": 12}]
    assert first["groups"][0]["certainty"] == -0.1
    assert first["options"] == ["red", "blue"]
    assert second["options"] is None
    assert second["finished_at"] == first["finished_at"] == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_kept_tokens_become_one_record_each_and_rows_without_them_are_null(make_result):
    tokens = KeptTokens(
        start_s=(1.0, 1.0, 2.5),
        group_index=(7, 7, 0),
        token_row=(0, 1, 1),
        token_column=(3, 0, 2),
        weight=(0.5, 0.25, 0.0),
    )
    one = dataclasses.replace(
        tokens, start_s=(9.0,), group_index=(1,), token_row=(2,), token_column=(2,), weight=(1.0,)
    )
    rows = [make_result(), make_result(kept_tokens=tokens), make_result(), make_result(kept_tokens=one), make_result()]
    table = results_table(rows, NOTHING)
    table.validate(full=True)
    first = {"start_s": 1.0, "group_index": 7, "token_row": 0, "token_column": 3, "weight": 0.5}
    assert table.column("kept_tokens").to_pylist() == [
        None,
        [
            first,
            first | {"token_row": 1, "token_column": 0, "weight": 0.25},
            {"start_s": 2.5, "group_index": 0, "token_row": 1, "token_column": 2, "weight": 0.0},
        ],
        None,
        [{"start_s": 9.0, "group_index": 1, "token_row": 2, "token_column": 2, "weight": 1.0}],
        None,
    ]


def test_warnings_lose_credentials(make_result):
    table = results_table([make_result(warnings=("slow: https://u:p@h/a?sig=s",))], NOTHING)
    assert table.column("warnings").to_pylist() == [["slow: https://h/a"]]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["topic", "Level"], ["topic", "Level"]),
        (["answer", "topic"], ["manifest_answer", "topic"]),
        (["Status"], ["manifest_Status"]),  # SQL engines ignore case
        (["answer", "manifest_answer"], ["manifest_manifest_answer", "manifest_answer"]),
        (["manifest_answer", "answer"], ["manifest_answer", "manifest_manifest_answer"]),
        ([], []),
    ],
)
def test_manifest_columns_stand_after_options_and_give_way_on_collision(names, expected):
    schema = results_schema(pa.schema([(name, pa.string()) for name in names]))
    assert schema.names == [*AGREED[:5], *expected, *AGREED[5:]]


@pytest.mark.parametrize(
    ("column", "expected_type", "expected"),
    [
        (pa.array([255], pa.uint8()), pa.int16(), 255),
        (pa.array([2**32 - 1], pa.uint32()), pa.int64(), 2**32 - 1),
        (pa.array([2**64 - 1], pa.uint64()), pa.decimal128(20, 0), Decimal(2**64 - 1)),
        (pa.array([1.5], pa.float16()), pa.float32(), 1.5),
        (pa.nulls(1), pa.string(), None),
        (pa.array(["x"]).dictionary_encode(), pa.string(), "x"),
        (pa.array(["x"], pa.large_string()), pa.string(), "x"),
        (pa.array([time(1, 2, 3)]), pa.string(), "01:02:03.000000"),
        (pa.array([timedelta(seconds=2)]), pa.int64(), 2_000_000),
        (pa.array([b"ab"], pa.binary(2)), pa.binary(), b"ab"),
        (pa.array([date(2026, 1, 31)], pa.date64()), pa.date32(), date(2026, 1, 31)),
        (pa.array([Decimal("1.50")], pa.decimal256(20, 2)), pa.decimal128(20, 2), Decimal("1.50")),
        (pa.array([Decimal("1.50")], pa.decimal256(40, 2)), pa.string(), "1.50"),
        (pa.array([[("n", 7)]], pa.map_(pa.string(), pa.uint8())), pa.map_(pa.string(), pa.int16()), [("n", 7)]),
        (pa.array([b"0" * 16], pa.uuid()), pa.string(), "30303030-3030-3030-3030-303030303030"),
        (pa.array([[7]], pa.large_list(pa.uint16())), pa.list_(pa.int32()), [7]),
        (pa.array([{"n": 7}], pa.struct([("n", pa.uint8())])), pa.struct([("n", pa.int16())]), {"n": 7}),
        (pa.array([1_001], pa.timestamp("ns", tz="UTC")), pa.timestamp("us", tz="UTC"), None),
        (pa.array([True]), pa.bool_(), True),
    ],
)
def test_manifest_columns_keep_values_in_a_type_that_all_engines_read(make_result, column, expected_type, expected):
    table = results_table([make_result()], pa.table({"extra": column}))
    assert table.schema.field("extra").type == expected_type
    if pa.types.is_timestamp(expected_type):  # 1001 ns are 1 us
        assert table.column("extra").cast(pa.int64()).to_pylist() == [1]
    else:
        assert table.column("extra").to_pylist() == [expected]


def test_results_and_manifest_columns_must_have_as_many_rows(make_result):
    with pytest.raises(ValueError, match="1 results need as many pass-through rows, got 2"):
        results_table([make_result()], pa.table({"x": [1, 2]}))
