"""The nearest type that Spark and Athena read, for each type that a manifest column may have.

What Parquet has no type for, or what some reader of Parquet cannot read, is carried as JSON text.
"""

import json
import math
import uuid
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

_MAX_DECIMAL_DIGITS = 38

_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
_PORTABLE = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.null(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_string(): pa.string(),
    pa.binary_view(): pa.binary(),
    pa.large_binary(): pa.binary(),
    pa.date64(): pa.date32(),
}
_LIST_VIEWS = (pa.types.is_list_view, pa.types.is_large_list_view)
_NO_PARQUET_TYPE = (pa.types.is_union, pa.types.is_interval, pa.types.is_run_end_encoded, *_LIST_VIEWS)


def portable_type(column_type: pa.DataType) -> pa.DataType:
    """The type in which values of ``column_type`` are written; times of day become text, durations integers.

    Times with a zone become UTC: the same moments, under a name that every reader knows.
    """
    return pa.string() if is_json_text(column_type) or _is_uuid(column_type) else _portable(column_type)


def _portable(column_type: pa.DataType) -> pa.DataType:
    if isinstance(column_type, pa.BaseExtensionType):
        return _portable(column_type.storage_type)
    if pa.types.is_dictionary(column_type):
        return _portable(column_type.value_type)
    if pa.types.is_timestamp(column_type):
        return pa.timestamp("us", tz=column_type.tz and "UTC")
    if pa.types.is_time(column_type):
        return pa.string()
    if pa.types.is_duration(column_type):
        return pa.int64()
    if pa.types.is_fixed_size_binary(column_type):
        return pa.binary()
    if pa.types.is_decimal(column_type):
        return _portable_decimal(column_type)
    return _portable_nested(column_type) or _PORTABLE.get(column_type, column_type)


def is_json_text(column_type: pa.DataType) -> bool:
    """Whether values of this type are carried as JSON text; a list view of what can be written is not: it is a list."""
    if any(is_view(column_type) for is_view in _LIST_VIEWS):
        return not all(map(_is_writable, _inner_types(column_type)))
    return not _is_writable(column_type)


def to_portable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values in `portable_type`; nanoseconds are cut to microseconds.

    Raises:
        pa.ArrowException: A value does not fit, such as a year beyond what microseconds reach.
        ValueError: There is no JSON for a value.
    """
    target = portable_type(column.type)
    if column.type == target:
        return column
    if is_json_text(column.type):
        return pa.chunked_array([pa.array(_to_json(chunk), target) for chunk in column.chunks], target)
    if _is_uuid(column.type):
        ids = [
            [value and str(uuid.UUID(bytes=value)) for value in chunk.storage.to_pylist()] for chunk in column.chunks
        ]
        return pa.chunked_array([pa.array(chunk, target) for chunk in ids], target)
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if any(is_view(column.type) for is_view in _LIST_VIEWS):
        column = _without_view(column)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    # Unsafe only in that nanoseconds are cut to microseconds: every other portable type is wider.
    return pc.cast(column, options=pc.CastOptions(target_type=target, allow_time_truncate=True))


def _is_uuid(column_type: pa.DataType) -> bool:
    return isinstance(column_type, pa.BaseExtensionType) and column_type.extension_name == "arrow.uuid"


def _is_writable(column_type: pa.DataType) -> bool:
    if any(is_kind(column_type) for is_kind in _NO_PARQUET_TYPE):
        return False
    if pa.types.is_struct(column_type) and not column_type.num_fields:
        return False
    if pa.types.is_decimal(column_type) and not 0 <= column_type.scale <= column_type.precision:
        return False
    return all(map(_is_writable, _inner_types(column_type)))


def _inner_types(column_type: pa.DataType) -> Iterator[pa.DataType]:
    if isinstance(column_type, pa.BaseExtensionType):
        yield column_type.storage_type
    elif pa.types.is_dictionary(column_type):
        yield column_type.value_type
    elif pa.types.is_nested(column_type):
        yield from (column_type.field(index).type for index in range(column_type.num_fields))


def _without_view(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """As an ordinary list; Arrow's own cast of some views fails, and of some ends the process."""
    target = pa.list_(column.type.value_type)
    chunks = []
    for chunk in column.chunks:
        lengths = pc.list_value_length(chunk).cast(pa.int32())
        starts = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths.fill_null(0))])
        chunks.append(pa.ListArray.from_arrays(starts, chunk.flatten(), mask=chunk.is_null()))
    return pa.chunked_array(chunks, target)


def _to_json(values: pa.Array) -> list[str | None]:
    return [
        None if value is None else json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)
        for value in values.to_pylist()
    ]


def _plain(value: object) -> object:
    """What JSON has a word for; all else as text, bytes as hexadecimal digits."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, bytes):
        return value.hex()
    is_plain = (
        value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
    )
    return value if is_plain else str(value)


def _portable_nested(column_type: pa.DataType) -> pa.DataType | None:
    if pa.types.is_struct(column_type):
        return pa.struct([pa.field(field.name, _portable(field.type)) for field in column_type])
    if pa.types.is_map(column_type):
        return pa.map_(_portable(column_type.key_type), _portable(column_type.item_type))
    if any(is_kind(column_type) for is_kind in _LISTS):
        return pa.list_(_portable(column_type.value_type))
    return None


def _portable_decimal(column_type: pa.DataType) -> pa.DataType:
    if column_type.precision > _MAX_DECIMAL_DIGITS:
        return pa.string()
    return pa.decimal128(column_type.precision, column_type.scale)
