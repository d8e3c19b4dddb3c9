"""Answers every method's questions video by video and scores them. Wiring only."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from jobs.wiring.cli import build_parser
from jobs.wiring.comparison_parts import ColumnPart, PartFolder, VideoPart, own_share
from jobs.wiring.configuration import resolve_config
from jobs.wiring.logs import LOG
from jobs.wiring.model_source import load_configured_model
from pipeline.evaluation.analysis.field import FieldEntry, analyse_field
from pipeline.evaluation.analysis.output import Analysis
from pipeline.evaluation.scoring.answers import answer_sets
from pipeline.evaluation.scoring.evaluation import evaluate
from pipeline.failures import Failure
from pipeline.manifest.questions import Question
from pipeline.manifest.reading import Manifest, read_manifest
from pipeline.manifest.time_range import TimeRange
from pipeline.method.selectors.registry import SELECTORS, get_selector
from pipeline.models.interface import VideoModel
from pipeline.models.loading import ModelIdentity, is_demo_model
from pipeline.passes.side_by_side import compare_on_video
from pipeline.passes.video_answer import VideoAnswer
from pipeline.settings.config import RunConfig
from pipeline.settings.presets import PRESETS
from pipeline.settings.reading import config_hash

Videos = dict[tuple[str, TimeRange | None], list[Question]]


@dataclass(kw_only=True, slots=True)
class _Column:
    """One method at one budget, and what became of it."""

    method: str
    setting: str
    config: RunConfig
    key: str
    reason: str = ""
    alone_s: float = 0.0
    rows: list[dict[str, object]] = field(default_factory=list)


def compare(options: argparse.Namespace, passed_on: Sequence[str]) -> Analysis | None:
    """Run all methods, one video after the other; what an earlier call into the same folder answered is kept.

    Returns:
        The comparison; None where only a share of the videos was to be answered.

    Raises:
        ValueError: A method or setting is unknown, or the manifest names no right answers.
        PipelineError: A video or the checkpoint cannot be used.
    """
    for method in options.methods:
        get_selector(method)
    first, identity = _config_of(options, passed_on)
    preset = options.preset or ("model" if is_demo_model(first.model.model) else "paper")
    columns = _columns(options, _sets(PRESETS.get(preset, {})) + list(passed_on), identity)
    manifest = read_manifest(options.manifest)
    if "expected" not in manifest.pass_through.column_names:
        raise ValueError(f"{options.manifest} has no column expected: there is nothing to score by")
    videos = _by_video(manifest)
    mine = own_share(videos, options.share)
    first = next(iter(columns.values())).config
    model = load_configured_model(first)
    asked = {label: column for label, column in columns.items() if not _refuse(column, model)}
    folder, together_s = PartFolder(options.output / "parts"), 0.0
    for number, ((video, time_range), questions) in enumerate(mine.items(), start=1):
        part = folder.read(video, questions)
        if missing := {label: column for label, column in asked.items() if column.key not in part.columns}:
            _answer(video, time_range, questions, missing, part, model)
            folder.write(video, questions, part)
        together_s += part.together_s
        LOG.warning("%d of %d videos, %.0f s", number, len(mine), together_s)
        for column in asked.values():
            _take(column, part.columns[column.key], questions, manifest)
    if len(mine) < len(videos):
        return None
    entries = [_entry(column) for column in columns.values()]
    return analyse_field(
        entries, settings=_describe(first, preset), together_s=together_s, chance=_chance(videos, manifest)
    )


def _by_video(manifest: Manifest) -> Videos:
    """In the manifest's order; each part of a video that is asked about is one by itself."""
    found: Videos = {}
    for question in manifest.questions.records(0, len(manifest.questions)):
        found.setdefault((question.video, question.time_range), []).append(question)
    return found


def _chance(videos: Videos, manifest: Manifest) -> float | None:
    """What blind guessing gets right on average; None where a question is open."""
    shares = list[float]()
    for questions in videos.values():
        known = manifest.pass_through_of(questions).to_pylist()
        for question, others in zip(questions, known, strict=True):
            if others["expected"] is None:
                continue
            if question.options is None:
                return None
            shares.append(1 / len(question.options))
    return sum(shares) / len(shares) if shares else None


def _columns(options: argparse.Namespace, passed_on: Sequence[str], identity: ModelIdentity) -> dict[str, _Column]:
    budgets = options.budgets or [_config_of(options, passed_on, identity)[0].budget.token_budget]
    columns = {}
    for budget in budgets:
        for method in options.methods:
            thins = "budget.keep_ratio" in SELECTORS[method].settings
            for setting in ("as published", "dense") if thins and options.dense else ("as published",):
                extra = ["--method", method, "--set", f"budget.token_budget={budget}"]
                extra += ["--set", "budget.keep_ratio=null"] if setting == "dense" else []
                config, _ = _config_of(options, [*passed_on, *extra], identity)
                key = config_hash(config, model_revision=identity.revision)
                shown = setting if thins else "all frames"
                columns[f"{method}@{budget} {shown}"] = _Column(method=method, setting=shown, config=config, key=key)
    return columns


def _config_of(
    options: argparse.Namespace, passed_on: Sequence[str], identity: ModelIdentity | None = None
) -> tuple[RunConfig, ModelIdentity]:
    arguments = ["--manifest", options.manifest, "--output", "unused", *passed_on]
    return resolve_config(build_parser().parse_args(arguments), check_method=False, identity=identity)


def _sets(settings: Mapping[str, object]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def _refuse(column: _Column, model: VideoModel) -> bool:
    """A family that does not tell what a rule wants to see."""
    ranker = SELECTORS[column.method].ranker
    wanted = set() if ranker is None else {n for n in ("saliency", "tower", "question") if getattr(ranker.inputs, n)}
    missing = sorted(wanted - model.offers)
    if missing:
        column.reason = f"this model's family does not tell {', '.join(missing)}"
    return bool(missing)


def _answer(
    video: str,
    time_range: TimeRange | None,
    questions: Sequence[Question],
    columns: Mapping[str, _Column],
    part: VideoPart,
    model: VideoModel,
) -> None:
    """What the part lacks goes into it."""
    configs = {label: column.config for label, column in columns.items()}
    found = compare_on_video(video, questions, model=model, configs=configs, time_range=time_range)
    part.together_s += found.together_s
    for label, outcome in found.methods.items():
        column, answers = columns[label], outcome.answers
        refused = answers.message if isinstance(answers, Failure) else ""
        rows = [
            _row(column, question, answer, model=model, duration_s=found.duration_s)
            for question, answer in zip(questions, () if isinstance(answers, Failure) else answers, strict=not refused)
        ]
        part.columns[column.key] = ColumnPart(alone_s=outcome.alone_s, reason=refused, rows=rows)


def _take(column: _Column, part: ColumnPart, questions: Sequence[Question], manifest: Manifest) -> None:
    column.alone_s += part.alone_s
    column.reason = part.reason or column.reason
    known = manifest.pass_through_of(questions).to_pylist()
    for question, row, others in zip(questions, part.rows, known, strict=not part.reason):
        asked = {"video": question.video, "finished_at": datetime.now(UTC)}
        column.rows.append(others | row | asked)


def _row(
    column: _Column, question: Question, answer: VideoAnswer, *, model: VideoModel, duration_s: float
) -> dict[str, object]:
    """What a scorer reads of a row."""
    final = answer.final
    assert final is not None
    needs_scores = SELECTORS[column.method].needs_scores
    return {
        "question_id": question.question_id,
        "question": question.text,
        "options": None if question.options is None else list(question.options),
        "status": "ok",
        "answer": final.answer,
        "answer_text": final.answer_text,
        "evidence": [{"start_s": float(span.start_s), "end_s": float(span.end_s)} for span in final.evidence],
        "duration_s": duration_s,
        "num_groups": answer.num_groups,
        "num_groups_scored": len(answer.scores) if needs_scores else 0,
        "num_tokens_kept": sum(final.kept.values()),
        "total_s": None,
        "model": model.name,
        "method": column.method,
        "config_hash": column.key,
        "prompt_style": column.config.scoring.prompt_style,
    }


def _entry(column: _Column) -> FieldEntry:
    evaluation = None
    if column.rows:
        (answers, *_) = answer_sets(pa.Table.from_pylist(column.rows), label=column.method)
        evaluation = evaluate(answers)
    return FieldEntry(
        method=column.method,
        budget=column.config.budget.token_budget,
        setting=column.setting,
        evaluation=evaluation,
        alone_s=column.alone_s,
        label=SELECTORS[column.method].label,
        reason=column.reason,
    )


def _describe(config: RunConfig, preset: str) -> str:
    sampling, budget = config.sampling, config.budget
    return (
        f"{config.model.model}, preset {preset}: τ {budget.tau:g}, {budget.over_select:g} times as many tokens bought "
        f"as kept, {sampling.frames_per_group} frames per group, {sampling.sample_fps:g} fps, at most "
        f"{sampling.max_frames:,} frames, wording {config.scoring.prompt_style!r}"
    )
