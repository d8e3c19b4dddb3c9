"""From annotation rows to the questions that will be asked: with ids of their own, chosen, with their video files."""

import posixpath
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.evaluation.benchmarks import Benchmark
from pipeline.evaluation.importers.annotations import AnnotationError, AnnotationRow
from pipeline.evaluation.importers.files import FileIndex
from pipeline.evaluation.importers.layouts import Layout, detect_layout
from pipeline.evaluation.importers.records import BenchmarkQuestion, Reason, Remark
from pipeline.evaluation.importers.registry import layouts_of


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedQuestion:
    """A question and the address of its video."""

    video: str
    question: BenchmarkQuestion


def convert_files(
    files: Sequence[Sequence[AnnotationRow]], benchmark: str
) -> tuple[str, list[BenchmarkQuestion | Remark]]:
    """The layout's name, and all rows converted.

    Raises:
        AnnotationError: There is no row, a file has an unknown layout, or the files have different ones.
    """
    if not files:
        raise AnnotationError("the annotations hold no row: name the annotation file of this benchmark")
    layouts = [detect_layout(rows, layouts_of(benchmark)) for rows in files]
    if len({layout.name for layout in layouts}) > 1:
        found = "; ".join(f"{rows[0].file_name}: {layout.name}" for rows, layout in zip(files, layouts, strict=True))
        raise AnnotationError(f"the folder holds several layouts ({found}): name one file")
    converted = [item for rows in files for row in rows for item in _convert(row, layouts[0])]
    if not any(isinstance(item, BenchmarkQuestion) for item in converted):
        unreadable = [item for item in converted if isinstance(item, Remark) and item.reason is Reason.UNREADABLE_ROW]
        if unreadable:  # not one odd row: another file
            raise AnnotationError(unreadable[0].detail)
    return layouts[0].name, converted


def _convert(row: AnnotationRow, layout: Layout) -> list[BenchmarkQuestion | Remark]:
    """One row, which is listed where it cannot be read."""
    converted: list[BenchmarkQuestion | Remark] = []
    try:
        for item in layout.convert(row):
            converted.append(item)
    except AnnotationError as error:
        converted.append(Remark(where=row.where, reason=Reason.UNREADABLE_ROW, detail=str(error)))
    return converted


def keep_chosen(
    questions: Sequence[BenchmarkQuestion], benchmark: Benchmark, *, splits: Collection[str], skips: Collection[str]
) -> Iterator[BenchmarkQuestion | Remark]:
    """Apply ``--split`` (values of the split category) and ``--skip`` (ids, videos, or values of any category).

    Raises:
        ValueError: A value occurs nowhere.
    """
    known = {str(question.categories.get(benchmark.split_category)) for question in questions}
    _refuse_unknown("split", splits, known)
    _refuse_unknown("skip", skips, {name for question in questions for name in _names_of(question)})
    for question in questions:
        in_split = not splits or question.categories.get(benchmark.split_category) in splits
        skipped = sorted(_names_of(question) & set(skips))
        if in_split and not skipped:
            yield question
        else:
            yield Remark(where=question.where, reason=Reason.SKIPPED, detail=", ".join(skipped) or "other split")


def place_questions(
    questions: Sequence[BenchmarkQuestion], videos: FileIndex
) -> tuple[list[PlacedQuestion], list[Remark]]:
    """Find every video, once; the second list says what could not be placed."""
    placed: list[PlacedQuestion] = []
    remarks: list[Remark] = []
    found = {names: videos.find(names) for names in dict.fromkeys(question.video_names for question in questions)}
    for question in questions:
        video = found[question.video_names]
        if video.uri is None:
            reason = Reason.AMBIGUOUS_VIDEO if video.candidates else Reason.MISSING_VIDEO
            detail = ", ".join(video.candidates) or question.video_id
            remarks.append(Remark(where=question.where, reason=reason, detail=detail))
        else:
            placed.append(PlacedQuestion(video=video.uri, question=question))
    return placed, remarks


def identify_questions(questions: Sequence[BenchmarkQuestion], benchmark: str) -> list[BenchmarkQuestion]:
    """Give every question an id, and mark those that were asked about the same video before.

    ``videomme:001-1``; without an id of the benchmark's own the task, the video and a number make one:
    ``mlvu-dev:ego:ego_35:2``. The same id twice becomes ``…``, ``…#2``.
    """
    used: Counter[str] = Counter()
    numbered: Counter[str] = Counter()
    seen: dict[tuple[str, str], str] = {}
    identified: list[BenchmarkQuestion] = []
    for question in questions:
        own = question.source_id
        if own is None:
            stem = posixpath.splitext(posixpath.basename(question.video_id))[0]
            base = ":".join(part for part in (question.categories.get("task_type"), stem) if part)
            numbered[base] += 1
            own = f"{base}:{numbered[base]}"
        used[own] += 1
        question_id = f"{benchmark}:{own}" + (f"#{used[own]}" if used[own] > 1 else "")
        first = seen.setdefault((question.video_id, question.question), question_id)
        is_repeat = first != question_id
        reasons = (*question.reasons, (Reason.REPEATED_QUESTION, f"as {first}")) if is_repeat else question.reasons
        identified.append(replace(question, question_id=question_id, reasons=reasons))
    return identified


def _names_of(question: BenchmarkQuestion) -> set[str]:
    values = (
        question.question_id,
        question.source_id,
        question.video_id,
        *question.categories.values(),
        *question.labels,
    )
    return {value for value in values if value is not None}


def _refuse_unknown(option: str, values: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        some = ", ".join(sorted(known)[:20])
        raise ValueError(f"--{option} {', '.join(unknown)} occurs nowhere; there are {some}{' …' * (len(known) > 20)}")
