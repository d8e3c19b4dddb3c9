"""Folders below ``answers`` named by a column of the manifest, as Hive, Spark and Athena name them: ``day=2026-01-31``.

The column also stays in the files, with its own type: pandas and pyarrow read such a folder with ``partitioning=None``.
"""

from collections.abc import Sequence
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.manifest.reading import Manifest
from pipeline.results.portable_types import to_portable
from pipeline.results.schema import ANSWERS_SCHEMA, results_schema
from pipeline.uris import strip_secrets

_NOTHING = "__HIVE_DEFAULT_PARTITION__"
_MAX_CHARS = 200
_REMEDY = "choose a column of few values, such as a date, that is the same for all questions of a video"


class Partitions:
    """The folder of each manifest row; checked for the whole manifest at once, before any work."""

    def __init__(self, manifest: Manifest, column: str | None) -> None:
        """Check the column.

        Args:
            manifest: Of the run.
            column: One of its columns besides the known ones; None for no folders.

        Raises:
            ValueError: There is no such column, its type names no folder, or it differs between questions of a video.
        """
        self._names: list[str] = [""]
        self._codes = np.zeros(manifest.pass_through.num_rows, np.int64)
        if column is None:
            return
        names = manifest.pass_through.column_names
        if column not in names:
            raise ValueError(f"cannot partition by {column!r}: {_REMEDY}; the manifest has {names}")
        values = to_portable(manifest.pass_through.column(column))
        texts = _to_texts(values, column).combine_chunks().dictionary_encode()
        shown_as = [name for name in results_schema(manifest.pass_through.schema).names if name not in _AGREED]
        prefix = quote(shown_as[names.index(column)], safe="")
        self._names = [f"{prefix}={quote(text, safe='')}" for text in texts.dictionary.to_pylist()]
        self._codes = texts.indices.to_numpy().astype(np.int64)
        longest = max(self._names, key=len, default="")
        if len(longest) > _MAX_CHARS:
            raise ValueError(f"cannot partition by {column!r}: {longest[:60]!r}… is too long for a folder; {_REMEDY}")
        self._check_videos(manifest, column)

    def subfolder(self, row_indices: Sequence[int]) -> str:
        """Folder below ``answers`` of one commit's manifest rows; empty without partitions."""
        codes = {int(self._codes[row]) for row in row_indices} if len(self._codes) else {0}
        if len(codes) != 1:
            raise ValueError(f"rows {list(row_indices)} of one commit lie in {len(codes)} folders: {_REMEDY}")
        return self._names[codes.pop()]

    def _check_videos(self, manifest: Manifest, column: str) -> None:
        videos, codes = manifest.questions.video_codes, self._codes[manifest.questions.row_indices]
        order = np.lexsort((codes, videos))
        videos, codes = videos[order], codes[order]
        differs = np.flatnonzero((videos[1:] == videos[:-1]) & (codes[1:] != codes[:-1]))
        if len(differs):
            first = int(differs[0])
            found = [self._names[int(code)] for code in codes[first : first + 2]]
            video = strip_secrets(manifest.questions.videos[int(videos[first])])
            raise ValueError(f"cannot partition by {column!r}: questions about {video} have {found}; {_REMEDY}")


_AGREED = frozenset(ANSWERS_SCHEMA.names)


def _to_texts(values: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    kinds = (pa.types.is_string, pa.types.is_integer, pa.types.is_boolean, pa.types.is_date)
    if not any(is_kind(values.type) for is_kind in kinds):
        raise ValueError(f"cannot partition by {column!r} of type {values.type}: {_REMEDY}")
    texts = values.cast(pa.string()).fill_null("")
    return pc.if_else(pc.equal(texts, ""), _NOTHING, texts)
