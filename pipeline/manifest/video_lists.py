"""A cell ``video`` that is a list: one question asked of each of several videos, one row per video.

A row of these has the id ``ID#1f3a9c02``: the manifest's own id, and a hash of the video's address as it is written,
so that it stays when videos are added, taken out or moved about. The row's ``asked_id`` is the manifest's own.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.manifest.columns import clean_texts
from pipeline.manifest.problems import CellProblem, shown, text_problem
from pipeline.uris import strip_secrets

_ID_DIGITS = 8


def clean_videos(column: pa.ChunkedArray) -> pa.Array | None:
    """Plain addresses, one per cell; None where a cell may be a list or is odd."""
    texts = clean_texts(column)
    if texts is None or pc.any(pc.match_substring_regex(texts, r"^\s*\["), min_count=0).as_py():
        return None
    return texts


def check_videos(values: Sequence[object]) -> tuple[list[str], dict[int, tuple[str, ...]], list[CellProblem]]:
    """Addresses, or lists of them (in text as JSON).

    Returns:
        A text for each cell (of a list: its JSON, without secrets; of a bad cell: nothing), the lists by position, and
        problems.
    """
    texts: list[str] = []
    lists: dict[int, tuple[str, ...]] = {}
    problems: list[CellProblem] = []
    for row_index, value in enumerate(values):
        items = _as_list(value)
        message = text_problem(value) if items is None else _list_problem(items)
        if message is not None:
            problems.append(CellProblem(row_index=row_index, column="video", message=message))
            texts.append("")
        elif items is None:
            texts.append(str(value))
        else:
            lists[row_index] = tuple(map(str, items))
            texts.append(json.dumps([strip_secrets(str(item)) for item in items]))
    return texts, lists, problems


def spread_ids(ids: Sequence[str], videos: Sequence[str]) -> list[str]:
    """Ids of the rows of lists; ``ids`` are the manifest's own, one per video."""
    hashes = (hashlib.sha256(strip_secrets(video).encode()).hexdigest()[:_ID_DIGITS] for video in videos)
    return [f"{question_id}#{digits}" for question_id, digits in zip(ids, hashes, strict=True)]


def spread_rows(num_rows: int, lists: Mapping[int, Sequence[str]]) -> npt.NDArray[np.int64]:
    """For each question the row that it comes from: ``num_rows=2, lists={1: (a, b)} -> 0 1 1``."""
    sizes = [len(lists[row]) if row in lists else 1 for row in range(num_rows)]
    return np.repeat(np.arange(num_rows, dtype=np.int64), sizes)


def _as_list(value: object) -> list[object] | None:
    """The items of a list, or of a JSON list as text; a text that only looks like one is an address."""
    if isinstance(value, list):
        return value
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            items = json.loads(value)
        except (ValueError, RecursionError):
            return None
        return items if isinstance(items, list) else None
    return None


def _list_problem(items: Sequence[object]) -> str | None:
    if not items:
        return "the list of videos is empty: name at least one"
    for number, item in enumerate(items, start=1):
        message = text_problem(item)
        if message is not None:
            return f"video {number} of the list {message}"
    shortened = [strip_secrets(str(item)) for item in items]
    repeated = next((item for item in shortened if shortened.count(item) > 1), None)
    return None if repeated is None else f"the list names {shown(repeated)} more than once: name it once"
