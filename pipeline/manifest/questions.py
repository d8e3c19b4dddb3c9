"""Questions as records, and many of them as columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np
import pyarrow as pa

from pipeline.manifest.record_table import IntArray, RecordTable
from pipeline.manifest.time_range import TimeRange
from pipeline.manifest.transcripts import Transcript

BLANK_OPTION = "\u200b"
"""An option without text, as a manifest holds it: benchmarks have some, and ask them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question about one video.

    Attributes:
        video: Full URI, to open; pass it through ``uris.strip_secrets`` before showing it.
        options: Without letters; None for an open question.
        row_index: Row of the manifest, from 0.
        asked_id: The manifest's own id where it asks this of several videos; ``question_id`` is this video's.
        time_range: The part of the video that is asked about; None: all of it.
        transcript: What is said in the video.
    """

    question_id: str
    video: str
    text: str
    options: tuple[str, ...] | None
    row_index: int
    asked_id: str | None = None
    time_range: TimeRange | None = None
    transcript: Transcript | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedRow:
    """A manifest row that cannot be asked; ``question`` holds what of it is usable, else empty text."""

    question: Question
    message: str


class QuestionTable(RecordTable[Question]):
    """Questions in columns."""

    def __init__(
        self,
        *,
        texts: pa.Table,
        video_codes: IntArray,
        row_indices: IntArray,
        videos: Sequence[str],
        ranges: Sequence[TimeRange | None] | None = None,
        transcript_codes: IntArray | None = None,
        transcripts: Sequence[Transcript | None] = (None,),
    ) -> None:
        """Take columns of equal length.

        Args:
            texts: columns ``question_id``, ``asked_id``, ``text`` and ``options``.
            video_codes: position of each question's video and range in ``videos`` and ``ranges``.
            row_indices: manifest rows.
            videos: URIs; each stands once with each of its ranges.
            ranges: parts of these; None: all are whole.
            transcript_codes: position of each question's transcript in ``transcripts``; None: all at the first.
            transcripts: each once.
        """
        self._texts, self._codes, self._rows, self._videos = texts, video_codes, row_indices, videos
        self._ranges = (None,) * len(videos) if ranges is None else ranges
        self._transcript_codes = np.zeros_like(video_codes) if transcript_codes is None else transcript_codes
        self._transcripts = transcripts

    @property
    def video_codes(self) -> IntArray:
        """``(n,)`` position of each question's video and range in ``videos`` and ``ranges``."""
        return self._codes

    @property
    def row_indices(self) -> IntArray:
        """``(n,)`` manifest row of each question."""
        return self._rows

    @property
    def videos(self) -> Sequence[str]:
        """Every URI once with each of its ranges, in first-seen order; some may have no question left here."""
        return self._videos

    @property
    def ranges(self) -> Sequence[TimeRange | None]:
        """The part of each of ``videos``."""
        return self._ranges

    @property
    def transcripts(self) -> Sequence[Transcript | None]:
        """Every transcript once."""
        return self._transcripts

    def with_transcripts(self, transcripts: Sequence[Transcript | None]) -> "QuestionTable":
        """The same questions; ``transcripts`` stand at the places of those that are there."""
        return self._with(self._texts, self._codes, self._rows, self._transcript_codes, transcripts)

    def num_without_transcript(self) -> int:
        """Questions whose transcript cannot be used."""
        are_bad = np.array([one is not None and one.failure is not None for one in self._transcripts], bool)
        return int(are_bad[self._transcript_codes].sum())

    def _with(
        self,
        texts: pa.Table,
        codes: IntArray,
        rows: IntArray,
        transcript_codes: IntArray,
        transcripts: Sequence[Transcript | None],
    ) -> "QuestionTable":
        return QuestionTable(
            texts=texts,
            video_codes=codes,
            row_indices=rows,
            videos=self._videos,
            ranges=self._ranges,
            transcript_codes=transcript_codes,
            transcripts=transcripts,
        )

    @classmethod
    def joined(cls, tables: "Sequence[QuestionTable]", *, first_rows: Sequence[int]) -> "QuestionTable":
        """Several manifests as one, one behind the other.

        Args:
            tables: at least one.
            first_rows: added to the manifest rows of each.
        """
        code_of: dict[tuple[str, TimeRange | None], int] = {}
        transcript_code_of: dict[Transcript | None, int] = {}
        codes, transcript_codes = list[IntArray](), list[IntArray]()
        for table in tables:
            pairs = zip(table.videos, table.ranges, strict=True)
            own = np.array([code_of.setdefault(pair, len(code_of)) for pair in pairs], np.int64)
            codes.append(own[table.video_codes])
            said = [transcript_code_of.setdefault(one, len(transcript_code_of)) for one in table.transcripts]
            transcript_codes.append(np.array(said, np.int64)[table._transcript_codes])
        return cls(
            texts=pa.concat_tables([table._texts for table in tables]).combine_chunks(),
            video_codes=np.concatenate(codes),
            row_indices=np.concatenate([t.row_indices + first for t, first in zip(tables, first_rows, strict=True)]),
            videos=tuple(uri for uri, _ in code_of),
            ranges=tuple(part for _, part in code_of),
            transcript_codes=np.concatenate(transcript_codes),
            transcripts=tuple(transcript_code_of),
        )

    def ids(self) -> pa.ChunkedArray:
        """The column ``question_id``."""
        return self._texts.column("question_id")

    def take(self, positions: IntArray) -> "QuestionTable":
        """See ``RecordTable``."""
        return self._with(
            self._texts.take(pa.array(positions)).combine_chunks(),
            self._codes[positions],
            self._rows[positions],
            self._transcript_codes[positions],
            self._transcripts,
        )

    def __len__(self) -> int:
        return len(self._rows)

    def records(self, start: int, stop: int) -> list[Question]:
        """Questions ``[start, stop)`` as records; those of one video share its URI."""
        block = self._texts.slice(start, stop - start)
        columns = (block.column(name).to_pylist() for name in ("question_id", "asked_id", "text", "options"))
        ids, asked_ids, texts, options = columns
        codes, rows = self._codes[start:stop].tolist(), self._rows[start:stop].tolist()
        transcript_codes = self._transcript_codes[start:stop].tolist()
        return [
            Question(
                question_id=ids[i],
                video=self._videos[codes[i]],
                text=texts[i],
                options=None if options[i] is None else tuple(options[i]),
                row_index=rows[i],
                asked_id=asked_ids[i],
                time_range=self._ranges[codes[i]],
                transcript=self._transcripts[transcript_codes[i]],
            )
            for i in range(stop - start)
        ]


def option_letter(index: int) -> str:
    """``0 -> A``, ``1 -> B``, and so on."""
    return ascii_uppercase[index]
