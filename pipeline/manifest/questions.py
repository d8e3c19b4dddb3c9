"""Questions as records, and many of them as columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

import pyarrow as pa

from pipeline.manifest.record_table import IntArray, RecordTable


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question about one video.

    Attributes:
        video: Full URI, to open; pass it through ``uris.strip_secrets`` before showing it.
        options: Without letters; None for an open question.
        row_index: Row of the manifest, from 0.
    """

    question_id: str
    video: str
    text: str
    options: tuple[str, ...] | None
    row_index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedRow:
    """A manifest row that cannot be asked; ``question`` holds what of it is usable, else empty text."""

    question: Question
    message: str


class QuestionTable(RecordTable[Question]):
    """Questions in columns."""

    def __init__(self, *, texts: pa.Table, video_codes: IntArray, row_indices: IntArray, videos: Sequence[str]) -> None:
        """Take columns of equal length.

        Args:
            texts: columns ``question_id``, ``text`` and ``options``.
            video_codes: position of each question's video in ``videos``.
            row_indices: manifest rows.
            videos: each URI once.
        """
        self._texts, self._codes, self._rows, self._videos = texts, video_codes, row_indices, videos

    @property
    def video_codes(self) -> IntArray:
        """``(n,)`` position of each question's video in ``videos``."""
        return self._codes

    @property
    def row_indices(self) -> IntArray:
        """``(n,)`` manifest row of each question."""
        return self._rows

    @property
    def videos(self) -> Sequence[str]:
        """Every URI once, in first-seen order; some may have no question left here."""
        return self._videos

    def ids(self) -> pa.ChunkedArray:
        """The column ``question_id``."""
        return self._texts.column("question_id")

    def take(self, positions: IntArray) -> "QuestionTable":
        """See ``RecordTable``."""
        return QuestionTable(
            texts=self._texts.take(pa.array(positions)).combine_chunks(),
            video_codes=self._codes[positions],
            row_indices=self._rows[positions],
            videos=self._videos,
        )

    def __len__(self) -> int:
        return len(self._rows)

    def records(self, start: int, stop: int) -> list[Question]:
        """Questions ``[start, stop)`` as records; those of one video share its URI."""
        block = self._texts.slice(start, stop - start)
        ids, texts, options = (block.column(name).to_pylist() for name in ("question_id", "text", "options"))
        codes, rows = self._codes[start:stop].tolist(), self._rows[start:stop].tolist()
        return [
            Question(
                question_id=ids[i],
                video=self._videos[codes[i]],
                text=texts[i],
                options=None if options[i] is None else tuple(options[i]),
                row_index=rows[i],
            )
            for i in range(stop - start)
        ]


def option_letter(index: int) -> str:
    """``0 -> A``, ``1 -> B``, and so on."""
    return ascii_uppercase[index]
