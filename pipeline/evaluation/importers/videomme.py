"""VideoMME: flat rows (its Parquet, which lmms-eval reads too), or its JSON with a list of questions per video."""

from collections.abc import Iterable

from pipeline.evaluation.importers.annotations import AnnotationRow
from pipeline.evaluation.importers.layouts import Imported, Layout
from pipeline.evaluation.importers.options import check_letter, check_question, describe_options, strip_letters
from pipeline.evaluation.importers.records import BenchmarkQuestion, SubtitleTrack


def _convert_flat(row: AnnotationRow) -> Iterable[Imported]:
    yield _convert(row, video=row, video_id=row.text("videoID"))


def _convert_nested(row: AnnotationRow) -> Iterable[Imported]:
    """One video with its questions; files are named after the video's number here, unless the YouTube id is given."""
    for question in row.rows("questions"):
        yield _convert(question, video=row, video_id=row.optional_text("videoID") or row.text("video_id"))


def _convert(row: AnnotationRow, *, video: AnnotationRow, video_id: str) -> Imported:
    options = strip_letters(row.texts("options"))
    answer = row.optional_text("answer")
    expected = check_letter(answer, options)
    if problem := check_question(row, options, expected, answer=answer, shown=str(options)):
        return problem
    return BenchmarkQuestion(
        where=row.where,
        source_id=row.text("question_id"),
        video_id=video_id,
        video_names=(f"data/{video_id}", f"video/{video_id}", video_id),
        question=row.text("question"),
        options=options,
        expected=expected,
        categories={
            "duration_group": video.optional_text("duration"),
            "domain": video.optional_text("domain"),
            "sub_category": video.optional_text("sub_category"),
            "task_type": row.optional_text("task_type"),
        },
        subtitles=SubtitleTrack(names=(f"{video_id}.srt", f"subtitle/{video_id}.srt")),
        reasons=describe_options(options, expected, answer=answer),
    )


LAYOUTS = (
    Layout(
        name="official Parquet (lmms-eval's too)",
        fields=frozenset({"videoID", "question_id", "question", "options", "answer", "duration", "task_type"}),
        convert=_convert_flat,
    ),
    Layout(
        name="official JSON, by video",
        fields=frozenset({"video_id", "duration", "domain", "sub_category", "questions"}),
        convert=_convert_nested,
    ),
)
