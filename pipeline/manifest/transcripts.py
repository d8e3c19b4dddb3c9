"""What is said in a video: the column ``transcript``, text itself or the address of an SRT or WebVTT file."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.failures import Failure
from pipeline.manifest.problems import CellProblem, text_problem
from pipeline.uris import resolve_uri, strip_secrets

TRANSCRIPT_SUFFIXES = (".srt", ".vtt")


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """A transcript on its way: an address until it is read, then text or why there is none.

    Attributes:
        uri: where it lies; None where the cell held the text.
        digest: of the text, or of the address where it could not be read: it identifies what is asked.
    """

    uri: str | None = None
    text: str | None = None
    failure: Failure | None = None
    digest: str = ""


def transcript_of(text: str, *, uri: str | None = None) -> Transcript:
    """One that is there."""
    return Transcript(uri=uri, text=text, digest=hashlib.sha256(text.encode()).hexdigest()[:32])


def is_address(cell: str) -> bool:
    """Whether a cell names a file: one line that ends, a query string aside, in ``.srt`` or ``.vtt``."""
    name = cell.strip()
    return "\n" not in name and strip_secrets(name).lower().endswith(TRANSCRIPT_SUFFIXES)


def transcript_of_cell(cell: str, folder: str) -> Transcript:
    """What a cell holds: an address relative to ``folder``, or the text itself."""
    return Transcript(uri=resolve_uri(cell.strip(), folder)) if is_address(cell) else transcript_of(cell)


def check_transcripts(values: Sequence[object]) -> tuple[list[str | None], list[CellProblem]]:
    """Text or null; empty text is null."""
    texts: list[str | None] = []
    problems: list[CellProblem] = []
    for row_index, value in enumerate(values):
        is_empty = value is None or (isinstance(value, str) and not value.strip())
        message = None if is_empty else text_problem(value)
        if message is not None:
            problems.append(CellProblem(row_index=row_index, column="transcript", message=message))
        texts.append(value if isinstance(value, str) and not is_empty and message is None else None)
    return texts, problems
