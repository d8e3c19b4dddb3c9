"""What a comparison has answered so far: a file per video, so that one that was interrupted goes on."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pipeline.failures import PipelineError
from pipeline.manifest.questions import Question
from pipeline.results.atomic_files import write_bytes_atomic
from pipeline.results.keys import video_fingerprint

_VERSION = 1
K = TypeVar("K")
V = TypeVar("V")


@dataclass(kw_only=True, slots=True)
class ColumnPart:
    """One method's answers about one video.

    Attributes:
        rows: of its questions, in their order; none where it was refused, and ``reason`` says why.
        alone_s: as in ``MethodOutcome``.
    """

    alone_s: float
    reason: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class VideoPart:
    """All that is known about one video: by configuration, and the seconds that all of them took together."""

    columns: dict[str, ColumnPart] = field(default_factory=dict)
    together_s: float = 0.0


class PartFolder:
    """Reads and writes parts; several processes may share it, each with videos of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, video: str, questions: Sequence[Question]) -> VideoPart:
        """What an earlier call found out; nothing where the video, a question or this file's layout has changed.

        Raises:
            PipelineError: There is no such video.
        """
        try:
            found = json.loads(self._path(video, questions).read_text())
        except FileNotFoundError:
            return VideoPart()
        columns = {key: ColumnPart(**column) for key, column in found["columns"].items()}
        return VideoPart(columns=columns, together_s=found["together_s"])

    def write(self, video: str, questions: Sequence[Question], part: VideoPart) -> None:
        """In whole or not at all."""
        content = json.dumps({"video": video, **asdict(part)}, ensure_ascii=False, indent=1)
        write_bytes_atomic(str(self._path(video, questions)), content.encode())

    def _path(self, video: str, questions: Sequence[Question]) -> Path:
        asked = [_identity(question) for question in questions]
        told = json.dumps([_VERSION, _fingerprint(video), asked], ensure_ascii=False)
        return self._folder / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.json"


def own_share(videos: Mapping[K, V], share: str | None) -> dict[K, V]:
    """Those of one of several processes: ``"2/3"`` takes the second, fifth, … video; all where it is None.

    Raises:
        ValueError: It is no such pair of numbers.
    """
    if share is None:
        return dict(videos)
    number, _, total = share.partition("/")
    if not (number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total)):
        raise ValueError(f"--share must be like 1/2, the first of two processes, got {share!r}")
    return dict(list(videos.items())[int(number) - 1 :: int(total)])


def _identity(question: Question) -> list[object]:
    """What a row depends on; where it stood in the manifest is not of it."""
    told = asdict(question)
    del told["video"], told["row_index"]
    return [repr(item) for item in sorted(told.items())]


def _fingerprint(video: str) -> str:
    try:
        return video_fingerprint(os.path.abspath(video))
    except PipelineError as error:
        raise PipelineError(error.failure_class, f"{video}: {error}") from error
