"""LVBench: JSON lines with a list of questions per video, or flat rows (Parquet of lmms-eval, flattened copies)."""

import re
from collections.abc import Iterable

from pipeline.evaluation.importers.annotations import AnnotationRow
from pipeline.evaluation.importers.layouts import Imported, Layout
from pipeline.evaluation.importers.options import (
    check_letter,
    check_question,
    describe_options,
    split_question,
    strip_letters,
)
from pipeline.evaluation.importers.records import BenchmarkQuestion, Reason

_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:\.\d+)?)")
_POINT_S = 1.0  # what a reference to one second covers


def parse_time_reference(text: str) -> tuple[float, float] | None:
    """Seconds ``[start, end)`` of ``MM:SS-MM:SS`` or ``H:MM:SS-…``; None when reversed or not two times.

    Minutes may have three digits. Two equal times mean that second: ``"00:07-00:07" -> (7.0, 8.0)``.
    """
    parts = [_CLOCK.fullmatch(part.strip()) for part in text.split("-")]
    if len(parts) != 2 or parts[0] is None or parts[1] is None:
        return None
    start_s, end_s = (int(part[1] or 0) * 3600 + int(part[2]) * 60 + float(part[3]) for part in parts if part)
    if end_s < start_s:
        return None
    return start_s, end_s if end_s > start_s else start_s + _POINT_S


def _convert_nested(row: AnnotationRow) -> Iterable[Imported]:
    """One video; downloads by the official tool are named by the line's place in the file."""
    key = row.text("key")
    numbered = f"00000/{row.index:08d}"
    minutes = row.row("video_info").optional_number("duration_minutes")
    for question in row.rows("qa"):
        yield _convert(
            question,
            key=key,
            names=(f"all_videos/{key}", f"videos/{key}", key, f"videos/{numbered}", numbered),
            video_type=row.optional_text("type"),
            duration_s=None if minutes is None else minutes * 60,
        )


def _convert_flat(row: AnnotationRow) -> Iterable[Imported]:
    path = row.optional_text("video_path") or row.optional_text("video")
    key = row.optional_text("key") or (path or "").rpartition("/")[2].rpartition(".")[0] or row.text("video_path")
    names = tuple(name for name in (path, f"all_videos/{key}", f"videos/{key}", key) if name)
    yield _convert(row, key=key, names=names, video_type=row.optional_text("type"), duration_s=None)


def _convert(
    row: AnnotationRow, *, key: str, names: tuple[str, ...], video_type: str | None, duration_s: float | None
) -> Imported:
    options, stem = strip_letters(row.texts("options")), row.text("question")
    if not options:
        parts = split_question(stem)
        stem, options = parts or (stem, ())
    answer = row.optional_text("answer")
    expected = check_letter(answer, options)
    if problem := check_question(row, options, expected, answer=answer, shown=stem):
        return problem
    reference = row.optional_text("time_reference")
    reference_s = None if reference is None else parse_time_reference(reference)
    reasons = describe_options(options, expected, answer=answer)
    if reference_s is None:
        is_empty = reference is None or set(reference.split("-")) == {"None"}
        reasons += ((Reason.NO_REFERENCE if is_empty else Reason.BAD_REFERENCE, reference or ""),)
    return BenchmarkQuestion(
        where=row.where,
        source_id=row.optional_text("uid"),
        video_id=key,
        video_names=names,
        question=stem,
        options=options,
        expected=expected,
        categories={"video_type": video_type},
        labels=row.texts("question_type"),
        time_reference=reference,
        reference_s=reference_s,
        duration_s=duration_s,
        reasons=reasons,
    )


LAYOUTS = (
    Layout(name="official JSON lines", fields=frozenset({"key", "qa"}), convert=_convert_nested),
    Layout(
        name="flat rows of lmms-eval",
        fields=frozenset({"video_path", "question", "answer"}),
        convert=_convert_flat,
    ),
    Layout(
        name="flat rows with key",
        fields=frozenset({"key", "question", "answer"}),
        convert=_convert_flat,
    ),
)
