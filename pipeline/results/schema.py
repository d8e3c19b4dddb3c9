"""The columns of the results: names, types, meaning. Columns are never renamed; some may be added at their place."""

import dataclasses
import itertools
from collections.abc import Sequence

import pyarrow as pa

from pipeline.results.portable_types import portable_type, to_portable
from pipeline.results.rows import KeptTokens, QuestionResult
from pipeline.uris import redact_text, strip_secrets

_INT, _LONG, _FLOAT, _TEXT = pa.int32(), pa.int64(), pa.float64(), pa.string()

EVIDENCE_TYPE = pa.struct([("start_s", _FLOAT), ("end_s", _FLOAT), ("weight", _FLOAT), ("num_tokens", _LONG)])
GROUP_TYPE = pa.struct(
    [
        ("group_index", _INT),
        ("entropy", _FLOAT),
        ("certainty", _FLOAT),
        ("response", _TEXT),
        ("num_tokens_offered", _LONG),
        ("num_tokens_bought", _LONG),
        ("num_tokens_kept", _LONG),
    ]
)

KEPT_TOKEN_TYPE = pa.struct(
    [
        ("start_s", _FLOAT),
        ("group_index", _INT),
        ("token_row", _INT),
        ("token_column", _INT),
        ("weight", pa.float32()),
    ]
)

_COLUMNS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("question_id", _TEXT, "id of the manifest row"),
    ("question_key", _TEXT, "hash of video fingerprint, question, options and config hash"),
    ("video", _TEXT, "URI without user info and query string"),
    ("question", _TEXT, "the question"),
    ("options", pa.list_(_TEXT), "answer options without letters; null for an open question"),
    ("asked_id", _TEXT, "the manifest's own id of a question asked of several videos; null where it names one video"),
    ("asked_start_s", _FLOAT, "start of the part of the video that was asked about, seconds; null for the whole video"),
    ("asked_end_s", _FLOAT, "end of that part, seconds; null where it is the video's"),
    ("status", _TEXT, "ok or failed"),
    ("error_class", _TEXT, "why it failed, from a closed list; null when ok"),
    ("error_message", _TEXT, "what failed and what to do; null when ok"),
    ("warnings", pa.list_(_TEXT), "what was unusual but did not prevent an answer"),
    ("attempts", _INT, "how often the work was tried; 1 means no retry"),
    ("num_runs", _INT, "runs that tried the question until now, this one included; null when unknown"),
    ("answer", _TEXT, "multiple choice: the most probable option's letter; open: the text"),
    ("answer_text", _TEXT, "raw text of the model"),
    ("option_probabilities", pa.list_(_FLOAT), "probability of each option at the first answer token, in [0, 1]"),
    ("answer_entropy", _FLOAT, "entropy of the answer, nats"),
    ("evidence", pa.list_(EVIDENCE_TYPE), "spans [start_s, end_s) of presentation time, seconds, by weight"),
    ("kept_tokens", pa.list_(KEPT_TOKEN_TYPE), "tokens of the final pass in temporal order, with their attention"),
    ("groups", pa.list_(GROUP_TYPE), "groups in visiting order; entropy and certainty in nats, counts in tokens"),
    ("num_groups", _INT, "groups planned; null when planning failed"),
    ("num_groups_scored", _INT, "groups that counted"),
    ("num_groups_wasted", _INT, "groups scored beyond the stop"),
    ("stop_reason", _TEXT, "why no further group was scored"),
    ("num_sampled_frames", _LONG, "frames sampled from the video"),
    ("num_tokens_offered", _LONG, "visual tokens of the groups that counted"),
    ("num_tokens_kept", _LONG, "visual tokens that reached the final pass"),
    ("num_token_rows", _INT, "rows of visual tokens in one temporal patch; null when planning failed"),
    ("num_token_columns", _INT, "columns of visual tokens in one temporal patch; null when planning failed"),
    ("duration_s", _FLOAT, "duration of the video, seconds of presentation time"),
    ("decoder", _TEXT, "library that decoded the frames"),
    ("sandbox", _TEXT, "layers that held the process which decoded them; off: none"),
    ("memory_rung", _INT, "how often batches were halved for lack of device memory, 0 normally; null when unknown"),
    ("video_num_frames_decoded", _LONG, "frames decoded for all questions of the video together"),
    ("video_num_decode_passes", _INT, "readings of the video for all its questions together"),
    ("video_num_groups_encoded", _INT, "groups encoded for all questions of the video together"),
    ("video_num_groups_prefilled", _INT, "groups prefilled for all questions of the video together"),
    ("decode_s", _FLOAT, "this question's share of decoding, seconds"),
    ("encode_s", _FLOAT, "this question's share of encoding, seconds"),
    ("prefill_s", _FLOAT, "this question's share of prefilling, seconds"),
    ("score_s", _FLOAT, "this question's share of scoring, seconds"),
    ("scorer_wait_s", _FLOAT, "this question's share of scorers waiting for frames, seconds"),
    ("answer_s", _FLOAT, "the final pass, seconds"),
    ("total_s", _FLOAT, "this question's share of all stages, seconds"),
    ("model", _TEXT, "model as named by the settings"),
    ("model_revision", _TEXT, "commit or content hash of the weights"),
    ("method", _TEXT, "name of the selector"),
    ("config_hash", _TEXT, "hash of all settings that change answers"),
    ("prompt_style", _TEXT, "how multiple choice was worded: plain, or a benchmark's own wording"),
    ("video_fingerprint", _TEXT, "hash of URI, size and version of the file; null when it could not be had"),
    ("schema_version", _INT, "goes up when a column's meaning changes, not when one is added"),
    ("run_id", _TEXT, "run that wrote the row"),
    ("finished_at", pa.timestamp("us", tz="UTC"), "when the row was finished, UTC"),
)

ANSWERS_SCHEMA = pa.schema(
    [pa.field(name, column_type, metadata={"description": meaning}) for name, column_type, meaning in _COLUMNS]
)
_NUM_LEADING = ANSWERS_SCHEMA.names.index("options") + 1

ADDED_COLUMNS = frozenset(
    {
        *("memory_rung", "kept_tokens", "num_token_rows", "num_token_columns", "num_runs"),
        *("asked_id", "asked_start_s", "asked_end_s", "prompt_style"),
    }
)
"""Columns that files of schema version 1 may lack, because they were written before; null in those files' rows."""


def results_schema(pass_through: pa.Schema) -> pa.Schema:
    """`ANSWERS_SCHEMA` with the manifest's other columns after ``options``.

    A column whose name is taken (SQL engines ignore case) gets ``manifest_`` before it; a type that Spark or Athena
    cannot read becomes the nearest one that they can.
    """
    taken = {name.lower() for name in ANSWERS_SCHEMA.names}
    free = {name.lower() for name in pass_through.names} - taken
    fields: list[pa.Field] = []
    for field in pass_through:
        name = field.name
        while name.lower() in taken or (name != field.name and name.lower() in free):
            name = f"manifest_{name}"
        taken.add(name.lower())
        fields.append(pa.field(name, portable_type(field.type)))
    columns = list(ANSWERS_SCHEMA)
    return pa.schema([*columns[:_NUM_LEADING], *fields, *columns[_NUM_LEADING:]])


def agreed_order(names: Sequence[str]) -> list[str]:
    """Column names of a results file in the order of `results_schema`; not all columns need be there."""
    agreed = [name for name in ANSWERS_SCHEMA.names if name in names]
    extra = [name for name in names if name not in ANSWERS_SCHEMA.names]
    num_leading = sum(name in ANSWERS_SCHEMA.names[:_NUM_LEADING] for name in agreed)
    return [*agreed[:num_leading], *extra, *agreed[num_leading:]]


def results_table(results: Sequence[QuestionResult], pass_through: pa.Table) -> pa.Table:
    """Rows for one file; credentials are removed from addresses here, so that none reaches a file.

    Args:
        results: In any order.
        pass_through: The manifest's other columns, one row per result in the same order (or no columns).

    Raises:
        ValueError: The two do not have the same number of rows.
    """
    if pass_through.num_columns and pass_through.num_rows != len(results):
        raise ValueError(f"{len(results)} results need as many pass-through rows, got {pass_through.num_rows}")
    schema = results_schema(pass_through.schema)
    records = [_to_record(result) for result in results]
    columns = {field.name: pa.array([record[field.name] for record in records], field.type) for field in ANSWERS_SCHEMA}
    columns["kept_tokens"] = _token_lists([result.kept_tokens for result in results])
    last = _NUM_LEADING + pass_through.num_columns
    for field, column in zip(list(schema)[_NUM_LEADING:last], pass_through.columns, strict=True):
        columns[field.name] = to_portable(column)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _token_lists(tokens: Sequence[KeptTokens | None]) -> pa.Array:
    """Built column by column: as records, thousands of tokens would cost more than the rest of the row."""
    lengths = [0 if kept is None else len(kept.weight) for kept in tokens]
    offsets = [0, *itertools.accumulate(lengths)]
    fields = list(KEPT_TOKEN_TYPE)
    columns = [
        pa.array(itertools.chain.from_iterable(getattr(kept, field.name) for kept in tokens if kept), field.type)
        for field in fields
    ]
    starts = [None if kept is None else start for kept, start in zip(tokens, offsets, strict=False)]
    structs = pa.StructArray.from_arrays(columns, fields=fields)
    return pa.ListArray.from_arrays(pa.array([*starts, offsets[-1]], pa.int32()), structs)


def _to_record(result: QuestionResult) -> dict[str, object]:
    record = dataclasses.asdict(dataclasses.replace(result, kept_tokens=None))
    message = result.error_message
    return record | {
        "video": strip_secrets(result.video),
        "error_message": None if message is None else redact_text(message),
        "warnings": [redact_text(warning) for warning in result.warnings],
    }
