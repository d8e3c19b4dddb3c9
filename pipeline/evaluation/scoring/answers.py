"""Rows of a run as records that a scorer needs, one list per benchmark and configuration."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import pyarrow as pa

from pipeline.evaluation.benchmarks import Benchmark, find_benchmark
from pipeline.evaluation.scoring.readings import RawAnswer
from pipeline.manifest.questions import option_letter

_COLUMNS = (
    *("question_id", "video", "question", "options", "status", "answer", "answer_text", "evidence", "duration_s"),
    *(
        "num_groups",
        "num_groups_scored",
        "num_tokens_kept",
        "total_s",
        "model",
        "method",
        "config_hash",
        "prompt_style",
    ),
    *("finished_at", "expected", "benchmark", "source_id", "video_id", "question_stem", "num_subtitles"),
    *("time_reference", "reference_start_s", "reference_end_s", "needle_start_s", "needle_end_s"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One row of a run, with the truth about it.

    Attributes:
        expected: letter, or for an open question a word of the right answer; None where nobody knows.
        categories: value by category; missing ones are not in it.
        evidence: spans ``(start_s, end_s)``, the weightiest first.
        references: spans in which the answer is to be seen; None where the benchmark gives none at all, empty where
            what it gives cannot be used.
        is_answered: False for a failed row, and for a question of the manifest that has no row.
    """

    question_id: str
    video: str
    question: str
    options: tuple[str, ...] | None
    expected: str | None
    benchmark: str
    categories: Mapping[str, str]
    labels: tuple[str, ...]
    is_answered: bool
    has_row: bool
    answer: str
    answer_text: str
    evidence: tuple[tuple[float, float], ...]
    references: tuple[tuple[float, float], ...] | None
    duration_s: float | None
    groups: tuple[int, int] | None
    num_tokens_kept: int | None
    total_s: float | None
    num_subtitles: int | None
    source_id: str
    video_id: str

    @property
    def response(self) -> RawAnswer:
        """What a scorer reads."""
        return RawAnswer(
            question_id=self.question_id,
            text=self.answer_text,
            options=self.options or (),
            choice=self.answer or None,
            benchmark=self.benchmark,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerSet:
    """The answers of one configuration to the questions of one benchmark."""

    label: str
    benchmark: Benchmark
    model: str
    method: str
    config_hash: str
    answers: tuple[Answer, ...]
    num_superseded: int
    prompt_style: str = "plain"


def answer_sets(table: pa.Table, *, label: str, manifest: pa.Table | None = None) -> list[AnswerSet]:
    """Part the rows of a run by benchmark and configuration.

    Args:
        table: as ``read_answers`` gives it.
        label: of the run; a configuration is told apart by its method where there are several.
        manifest: asks for its questions only, adds those without a row, and its columns count instead of the rows'.

    Raises:
        ValueError: A benchmark is unknown, or no row is left.
    """
    truth = None if manifest is None else {str(row["question_id"]): row for row in _records(manifest)}
    newest: dict[tuple[str, str], _Record] = {}
    superseded: dict[str, int] = {}
    for row in _records(table):
        question_id = str(row["question_id"])
        if truth is not None and question_id not in truth:
            continue
        key = (str(row["config_hash"]), question_id)
        older = newest.get(key)
        if older is not None:
            superseded[key[0]] = superseded.get(key[0], 0) + 1
        if older is None or _finished(older) <= _finished(row):
            newest[key] = row if truth is None else {**row, **_of_manifest(truth[question_id])}
    if not newest:
        raise ValueError(f"{label} holds no answers to these questions: name the --output of run.py")
    groups: dict[tuple[str, str], list[_Record]] = {}
    for (config_hash, _), row in newest.items():
        groups.setdefault((config_hash, str(row.get("benchmark") or "")), []).append(row)
    configs = {config for config, _ in groups}
    return [
        _answer_set(rows, truth, label=label, is_only=len(configs) == 1, num_superseded=superseded.get(config, 0))
        for (config, _), rows in groups.items()
    ]


_Record = Mapping[str, object]


def _records(table: pa.Table) -> list[_Record]:
    """Rows with the columns that exist; the others would only cost memory."""
    wanted_columns = _category_columns(table).union(_COLUMNS)
    wanted = [name for name in table.column_names if name in wanted_columns]
    return cast(list[_Record], table.select(wanted).to_pylist())


def _category_columns(table: pa.Table) -> set[str]:
    names = table.column("benchmark").unique().to_pylist() if "benchmark" in table.column_names else [None]
    found = [find_benchmark(name) for name in names]
    return {column for benchmark in found for column in (*benchmark.categories, benchmark.labels or "")}


def _of_manifest(row: _Record) -> _Record:
    """What a manifest knows better than a run; never the address of the video, which a run writes without secrets."""
    return {name: value for name, value in row.items() if name not in ("question_id", "video", "options")}


def _finished(row: _Record) -> str:
    return str(row.get("finished_at") or "")


def _answer_set(
    rows: Sequence[_Record], truth: Mapping[str, _Record] | None, *, label: str, is_only: bool, num_superseded: int
) -> AnswerSet:
    first = rows[0]
    name = str(first.get("benchmark") or "")
    benchmark, method, config_hash = find_benchmark(name), str(first["method"]), str(first["config_hash"])
    answered = {str(row["question_id"]) for row in rows}
    missing = [
        row
        for question_id, row in (truth or {}).items()
        if question_id not in answered and str(row.get("benchmark") or "") == name
    ]
    return AnswerSet(
        label=label if is_only else f"{label} {method} {config_hash[:6]}",
        benchmark=benchmark,
        model=str(first["model"]),
        method=method,
        config_hash=config_hash,
        prompt_style=str(first.get("prompt_style") or "plain"),
        answers=tuple(read_answer(row, benchmark) for row in (*rows, *missing)),
        num_superseded=num_superseded,
    )


def read_answer(row: _Record, benchmark: Benchmark) -> Answer:
    """One row, of a run or of a manifest, as a record."""
    options = row.get("options")
    labels = row.get(benchmark.labels) if benchmark.labels else None
    planned, scored = row.get("num_groups"), row.get("num_groups_scored")
    has_groups = isinstance(planned, int) and isinstance(scored, int)
    return Answer(
        question_id=str(row["question_id"]),
        video=str(row["video"]),
        question=str(row.get("question_stem") or row.get("question") or ""),
        options=tuple(str(option) for option in options) if isinstance(options, list) else None,
        expected=expected_of(row),
        benchmark=benchmark.name,
        categories={name: str(row[name]) for name in benchmark.categories if row.get(name) is not None},
        labels=tuple(str(label) for label in labels) if isinstance(labels, list) else (),
        is_answered=row.get("status") == "ok",
        has_row="status" in row,
        answer=_text(row, "answer"),
        answer_text=_text(row, "answer_text"),
        evidence=_evidence(row.get("evidence")),
        references=references_of(row),
        duration_s=_number(row.get("duration_s")),
        groups=(cast(int, scored), cast(int, planned)) if has_groups else None,
        num_tokens_kept=cast("int | None", row.get("num_tokens_kept")),
        total_s=_number(row.get("total_s")),
        num_subtitles=cast("int | None", row.get("num_subtitles")),
        source_id=_text(row, "source_id") or str(row["question_id"]),
        video_id=_text(row, "video_id") or str(row["video"]),
    )


def expected_of(row: Mapping[str, object]) -> str | None:
    """The right answer: of a choice its letter, also where the manifest has the option's own words; None: unknown.

    Example: ``{"expected": "red", "options": ["blue", "red"]} -> "B"``.
    """
    expected, options = _text(row, "expected"), row.get("options")
    words = [str(option) for option in options] if isinstance(options, list) else []
    letters = [option_letter(index) for index in range(len(words))]
    if expected in words and expected not in letters:
        return letters[words.index(expected)]
    return expected or None


def references_of(row: _Record) -> tuple[tuple[float, float], ...] | None:
    """Where the answer is to be seen: a benchmark's reference, or an archive's needles, one or a list of them."""
    is_benchmarks = row.get("time_reference") is not None or row.get("reference_start_s") is not None
    names = ("reference_start_s", "reference_end_s") if is_benchmarks else ("needle_start_s", "needle_end_s")
    starts, ends = (_as_list(row.get(name)) for name in names)
    if not is_benchmarks and not any(start is not None for start in starts):
        return None
    if len(starts) != len(ends):
        return ()
    pairs = [(_number(start), _number(end)) for start, end in zip(starts, ends, strict=True)]
    return tuple((start, end) for start, end in pairs if start is not None and end is not None and start < end)


def _as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [value]


def _evidence(spans: object) -> tuple[tuple[float, float], ...]:
    if not isinstance(spans, list):
        return ()
    return tuple((float(span["start_s"]), float(span["end_s"])) for span in spans)


def _text(row: _Record, name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]
