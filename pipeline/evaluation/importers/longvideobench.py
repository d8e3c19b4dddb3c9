"""LongVideoBench: its JSON with ``candidates``, or the Parquet whose options are columns padded with "N/A"."""

from collections.abc import Iterable, Sequence
from string import ascii_uppercase

from pipeline.evaluation.importers.annotations import AnnotationError, AnnotationRow
from pipeline.evaluation.importers.layouts import Imported, Layout
from pipeline.evaluation.importers.options import check_question, describe_options
from pipeline.evaluation.importers.records import BenchmarkQuestion, SubtitleTrack

_OPTION_COLUMNS = ("option0", "option1", "option2", "option3", "option4")
_NO_OPTION = "N/A"


def _convert_json(row: AnnotationRow) -> Iterable[Imported]:
    yield _convert(row, [candidate.strip() for candidate in row.texts("candidates")])


def _convert_parquet(row: AnnotationRow) -> Iterable[Imported]:
    """Padding stands behind the options; lmms-eval counts up to the first."""
    texts = [row.optional_text(name) or _NO_OPTION for name in _OPTION_COLUMNS]
    end = texts.index(_NO_OPTION) if _NO_OPTION in texts else len(texts)
    yield _convert(row, texts[:end])


def _convert(row: AnnotationRow, options: Sequence[str]) -> Imported:
    choice = row.optional_number("correct_choice")
    answer = None if choice is None or choice < 0 else f"choice {choice:g} of {len(options)}"
    expected = next((letter for place, letter in enumerate(ascii_uppercase[: len(options)]) if place == choice), None)
    if problem := check_question(row, options, expected, answer=answer, shown=str(options)):
        return problem
    path, subtitle_path = row.text("video_path"), row.optional_text("subtitle_path")
    return BenchmarkQuestion(
        where=row.where,
        source_id=row.text("id"),
        video_id=row.optional_text("video_id") or path,
        video_names=(f"videos/{path}", path),
        question=row.text("question"),
        options=tuple(options),
        expected=expected,
        categories={
            "duration_group": _whole_number(row, "duration_group"),
            "question_category": row.optional_text("question_category"),
            "level": row.optional_text("level"),
            "topic_category": row.optional_text("topic_category"),
        },
        duration_s=row.optional_number("duration"),
        subtitles=None
        if subtitle_path is None
        else SubtitleTrack(
            names=(subtitle_path, f"subtitles/{subtitle_path}"),
            starting_s=row.optional_number("starting_timestamp_for_subtitles") or 0.0,
        ),
        reasons=describe_options(options, expected, answer=answer),
    )


def _whole_number(row: AnnotationRow, name: str) -> str | None:
    """``15.0 -> "15"``: groups are named alike whichever file they come from."""
    try:
        number = row.optional_number(name)
    except AnnotationError:
        return row.optional_text(name)
    return None if number is None else f"{number:g}"


LAYOUTS = (
    Layout(
        name="official JSON",
        fields=frozenset({"id", "video_path", "question", "candidates"}),
        convert=_convert_json,
    ),
    Layout(
        name="Parquet of lmms-eval",
        fields=frozenset({"id", "video_path", "question", *_OPTION_COLUMNS}),
        convert=_convert_parquet,
    ),
)
