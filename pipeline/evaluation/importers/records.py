"""What an importer makes of annotation rows: questions, and remarks on every odd row. Nothing is dropped unsaid."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Reason(StrEnum):
    """Why a row is remarked upon; whether it stays in the manifest is part of the rule."""

    NO_TRUTH = "no ground truth"
    REPEATED_QUESTION = "asked twice about the same video"
    REPEATED_OPTIONS = "two options have the same text"
    ANSWER_REPEATED = "the right answer stands among the options twice; of a text the last counts, as officially"
    NO_REFERENCE = "the time reference is empty"
    BAD_REFERENCE = "the time reference is reversed or unreadable"
    NO_SUBTITLES = "no subtitle file"
    SKIPPED = "left out by --split or --skip"
    GENERATION_TASK = "a generation task without options"
    ANSWER_NOT_OFFERED = "the right answer is not among the options"
    UNREADABLE_OPTIONS = "the options cannot be read"
    UNREADABLE_ROW = "a field is missing or of the wrong kind"
    BLANK_OPTION = "an option has no text; it is asked as it is, as officially"
    MISSING_VIDEO = "there is no video file"
    AMBIGUOUS_VIDEO = "several video files have this name"
    UNREADABLE_VIDEO = "the video file cannot be read"

    @property
    def is_kept(self) -> bool:
        """Whether the row is in the manifest all the same."""
        return self in _KEPT


_KEPT = frozenset(
    {
        *(Reason.NO_TRUTH, Reason.REPEATED_QUESTION, Reason.REPEATED_OPTIONS, Reason.ANSWER_REPEATED),
        *(Reason.NO_REFERENCE, Reason.BAD_REFERENCE, Reason.NO_SUBTITLES, Reason.BLANK_OPTION),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """One odd row: where it stands, what is odd, and the value that is."""

    where: str
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubtitleTrack:
    """Which subtitle file belongs to a question.

    Attributes:
        names: paths that it may have below the subtitle folder, the likeliest first.
        starting_s: time of the track at which the video begins; the track may be that of a longer video.
    """

    names: tuple[str, ...]
    starting_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkQuestion:
    """One question as the benchmark states it.

    Attributes:
        where: file and row, for messages.
        question_id: unique; set once all questions are known.
        source_id: the benchmark's own id; None where it has none.
        video_id: the benchmark's own name of the video.
        video_names: paths, with or without suffix, that the file may have below the video folder, the likeliest first.
        question: the stem, without options.
        options: without letters.
        expected: letter of the right option; None where the benchmark keeps it secret.
        categories: of `Benchmark.categories`.
        labels: of `Benchmark.labels`.
        reference_s: seconds ``[start, end)`` that the benchmark says the answer is in.
        reasons: what is odd about a row that is kept.
    """

    where: str
    question_id: str = ""
    source_id: str | None
    video_id: str
    video_names: tuple[str, ...]
    question: str
    options: tuple[str, ...]
    expected: str | None
    categories: Mapping[str, str | None]
    labels: tuple[str, ...] = ()
    time_reference: str | None = None
    reference_s: tuple[float, float] | None = None
    duration_s: float | None = None
    subtitles: SubtitleTrack | None = None
    reasons: tuple[tuple[Reason, str], ...] = field(default=())

    def remarks(self) -> list[Remark]:
        """One per reason."""
        return [Remark(where=self.where, reason=reason, detail=detail) for reason, detail in self.reasons]
