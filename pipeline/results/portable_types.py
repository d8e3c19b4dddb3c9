"""The nearest type that Spark and Athena read, for each type that a manifest column may have."""

import pyarrow as pa

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


def portable_type(column_type: pa.DataType) -> pa.DataType:
    """The type in which values of ``column_type`` are written; times of day become text, durations integers."""
    if isinstance(column_type, pa.BaseExtensionType):
        return portable_type(column_type.storage_type)
    if pa.types.is_dictionary(column_type):
        return portable_type(column_type.value_type)
    if pa.types.is_timestamp(column_type):
        return pa.timestamp("us", tz=column_type.tz)
    if pa.types.is_time(column_type):
        return pa.string()
    if pa.types.is_duration(column_type):
        return pa.int64()
    if pa.types.is_fixed_size_binary(column_type):
        return pa.binary()
    if pa.types.is_decimal(column_type):
        return _portable_decimal(column_type)
    return _portable_nested(column_type) or _PORTABLE.get(column_type, column_type)


def to_portable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values in `portable_type`."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    # Unsafe only in that nanoseconds are cut to microseconds: every other portable type is wider.
    return column.cast(portable_type(column.type), safe=False)


def _portable_nested(column_type: pa.DataType) -> pa.DataType | None:
    if pa.types.is_struct(column_type):
        return pa.struct([pa.field(field.name, portable_type(field.type)) for field in column_type])
    if pa.types.is_map(column_type):
        return pa.map_(portable_type(column_type.key_type), portable_type(column_type.item_type))
    if any(is_kind(column_type) for is_kind in _LISTS):
        return pa.list_(portable_type(column_type.value_type))
    return None


def _portable_decimal(column_type: pa.DataType) -> pa.DataType:
    if column_type.precision > _MAX_DECIMAL_DIGITS:
        return pa.string()
    return pa.decimal128(column_type.precision, column_type.scale)
