"""MLVU: its JSON with candidates and the answer as text, or lmms-eval's Parquet: options in the question, a letter.

The development and the test set differ in the names of their tasks and the number of options only.
"""

from collections.abc import Iterable, Sequence

from pipeline.evaluation.importers.annotations import AnnotationRow
from pipeline.evaluation.importers.layouts import Imported, Layout
from pipeline.evaluation.importers.options import (
    check_letter,
    check_question,
    describe_options,
    letter_of_text,
    split_question,
    strip_letters,
)
from pipeline.evaluation.importers.records import BenchmarkQuestion, Reason, Remark

_GENERATION_TASKS = frozenset({"subPlot", "sub_scene", "summary", "8_sub_scene", "9_summary"})
_TASK_NAMES = {"findNeedle": "needle"}  # one name for one task, whichever file it comes from
_TASK_FOLDERS = {
    "plotQA": "1_plotQA",
    "needle": "2_needle",
    "ego": "3_ego",
    "count": "4_count",
    "order": "5_order",
    "anomaly_reco": "6_anomaly_reco",
    "topic_reasoning": "7_topic_reasoning",
}


def _convert_official(row: AnnotationRow) -> Iterable[Imported]:
    task, candidates = row.text("question_type"), [text.strip() for text in row.texts("candidates")]
    if task in _GENERATION_TASKS or not candidates:
        yield Remark(where=row.where, reason=Reason.GENERATION_TASK, detail=task)
        return
    answer = row.optional_text("answer")
    expected = None if answer is None else letter_of_text(answer, candidates)
    yield _finish(
        row,
        video=row.text("video"),
        task=task,
        stem=row.text("question"),
        options=candidates,
        answer=answer,
        expected=expected,
    )


def _convert_flat(row: AnnotationRow) -> Iterable[Imported]:
    """The letter counts; a test set's answer may also be given as text."""
    task, text = row.text("task_type"), row.text("question")
    stem, options = split_question(text) or (text, strip_letters(row.texts("candidates")))
    if task in _GENERATION_TASKS:
        yield Remark(where=row.where, reason=Reason.GENERATION_TASK, detail=task)
        return
    answer = row.optional_text("answer")
    expected = check_letter(answer, options) or (letter_of_text(answer, options) if answer and options else None)
    yield _finish(
        row,
        video=row.text("video_name"),
        task=task,
        stem=stem,
        options=options,
        answer=answer,
        expected=expected,
    )


def _finish(
    row: AnnotationRow,
    *,
    video: str,
    task: str,
    stem: str,
    options: Sequence[str],
    answer: str | None,
    expected: str | None,
) -> Imported:
    told = None if answer is None else f"{video}: {answer}"[:120]
    if problem := check_question(row, options, expected, answer=told, shown=stem):
        return problem
    name = _TASK_NAMES.get(task, task)
    folder = _TASK_FOLDERS.get(name)
    return BenchmarkQuestion(
        where=row.where,
        source_id=row.optional_text("question_id"),
        video_id=video,
        video_names=(*([f"{folder}/{video}"] if folder else []), video),
        question=stem,
        options=tuple(options),
        expected=expected,
        categories={"task_type": name},
        duration_s=row.optional_number("duration"),
        reasons=describe_options(options, expected, answer=answer),
    )


LAYOUTS = (
    Layout(
        name="official JSON",
        fields=frozenset({"video", "question", "question_type"}),
        convert=_convert_official,
    ),
    Layout(
        name="Parquet of lmms-eval",
        fields=frozenset({"video_name", "question", "task_type"}),
        convert=_convert_flat,
    ),
)
