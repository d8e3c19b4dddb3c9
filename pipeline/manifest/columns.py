"""Whole columns judged at once: most manifests hold nothing odd, and a million cells need not become Python objects.

Every function answers None where some cell needs the closer look of ``manifest_rows``.
"""

import pyarrow as pa
import pyarrow.compute as pc

FEWEST_OPTIONS, MOST_OPTIONS = 2, 26
_LETTERED = r"^\s*\(?[A-Z][.):]\s"  # every option that may carry a letter, and some that do not


def clean_ids(column: pa.ChunkedArray) -> pa.Array | None:
    """Question ids as they are, integers as text."""
    is_number = pa.types.is_integer(column.type)
    return clean_texts(column.cast(pa.string()) if is_number else column)


def clean_texts(column: pa.ChunkedArray) -> pa.Array | None:
    """Texts of which each says something and none holds a NUL."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)) or column.null_count:
        return None
    texts = column.cast(pa.string()).combine_chunks()
    is_odd = pc.or_(pc.equal(pc.utf8_trim_whitespace(texts), ""), pc.match_substring(texts, "\0"))
    return None if pc.any(is_odd, min_count=0).as_py() else texts


def clean_options(column: pa.ChunkedArray) -> pa.Array | None:
    """Lists of options without letters; null for an open question."""
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.list_(pa.string()))
    if not pa.types.is_list(column.type) or not pa.types.is_string(column.type.value_type):
        return None
    options = column.combine_chunks()
    lengths = pc.list_value_length(options)
    is_odd = pc.or_(pc.less(lengths, FEWEST_OPTIONS), pc.greater(lengths, MOST_OPTIONS))
    if pc.any(is_odd, min_count=0).as_py():
        return None
    texts = pc.list_flatten(options)
    if clean_texts(pa.chunked_array([texts])) is None or pc.any(pc.match_substring_regex(texts, _LETTERED)).as_py():
        return None
    return options.cast(pa.list_(pa.string()))
