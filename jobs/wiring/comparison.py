"""Answers every method's questions video by video and scores them. Wiring only."""

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from jobs.wiring.cli import build_parser
from jobs.wiring.configuration import resolve_config
from jobs.wiring.model_source import load_configured_model
from pipeline.evaluation.analysis.field import FieldEntry, analyse_field
from pipeline.evaluation.analysis.output import Analysis
from pipeline.evaluation.scoring.answers import answer_sets
from pipeline.evaluation.scoring.evaluation import evaluate
from pipeline.failures import Failure
from pipeline.manifest.questions import Question
from pipeline.manifest.reading import Manifest, read_manifest
from pipeline.method.selectors.registry import SELECTORS, get_selector
from pipeline.models.interface import VideoModel
from pipeline.models.loading import is_demo_model
from pipeline.passes.side_by_side import MethodOutcome, compare_on_video
from pipeline.passes.video_answer import VideoAnswer
from pipeline.settings.config import RunConfig
from pipeline.settings.presets import PRESETS
from pipeline.settings.reading import config_hash

LOG = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class _Column:
    """One method at one budget, and what became of it."""

    method: str
    setting: str
    config: RunConfig
    reason: str = ""
    alone_s: float = 0.0
    rows: list[dict[str, object]] = field(default_factory=list)


def compare(options: argparse.Namespace, passed_on: Sequence[str]) -> Analysis:
    """Run all methods, one video after the other.

    Raises:
        ValueError: A method or setting is unknown, or the manifest names no right answers.
        PipelineError: A video or the checkpoint cannot be used.
    """
    for method in options.methods:
        get_selector(method)
    preset = options.preset or ("model" if is_demo_model(_config_of(options, passed_on).model.model) else "paper")
    columns = _columns(options, _sets(PRESETS.get(preset, {})) + list(passed_on))
    manifest = read_manifest(options.manifest)
    if "expected" not in manifest.pass_through.column_names:
        raise ValueError(f"{options.manifest} has no column expected: there is nothing to score by")
    first = next(iter(columns.values())).config
    model = load_configured_model(first)
    asked = {label: column for label, column in columns.items() if not _refuse(column, model)}
    by_video: dict[str, list[Question]] = {}
    for question in manifest.questions.records(0, len(manifest.questions)):
        by_video.setdefault(question.video, []).append(question)
    together_s = 0.0
    for number, (video, questions) in enumerate(by_video.items(), start=1):
        found = compare_on_video(
            video, questions, model=model, configs={label: column.config for label, column in asked.items()}
        )
        together_s += found.together_s
        for label, outcome in found.methods.items():
            _take(asked[label], outcome, questions, manifest, model=model, duration_s=found.duration_s)
        LOG.info("%d of %d videos, %.0f s", number, len(by_video), together_s)
    entries = [_entry(column) for column in columns.values()]
    return analyse_field(entries, settings=_describe(first, preset), together_s=together_s)


def _columns(options: argparse.Namespace, passed_on: Sequence[str]) -> dict[str, _Column]:
    budgets = options.budgets or [_config_of(options, passed_on).budget.token_budget]
    columns = {}
    for budget in budgets:
        for method in options.methods:
            thins = "budget.keep_ratio" in SELECTORS[method].settings
            for setting in ("as published", "dense") if thins and options.dense else ("as published",):
                extra = ["--method", method, "--set", f"budget.token_budget={budget}"]
                extra += ["--set", "budget.keep_ratio=null"] if setting == "dense" else []
                config = _config_of(options, [*passed_on, *extra])
                shown = setting if thins else "all frames"
                columns[f"{method}@{budget} {shown}"] = _Column(method=method, setting=shown, config=config)
    return columns


def _config_of(options: argparse.Namespace, passed_on: Sequence[str]) -> RunConfig:
    arguments = ["--manifest", options.manifest, "--output", "unused", *passed_on]
    return resolve_config(build_parser().parse_args(arguments), check_method=False)[0]


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


def _take(
    column: _Column,
    outcome: MethodOutcome,
    questions: Sequence[Question],
    manifest: Manifest,
    *,
    model: VideoModel,
    duration_s: float,
) -> None:
    column.alone_s += outcome.alone_s
    if isinstance(outcome.answers, Failure):
        column.reason = outcome.answers.message
        return
    known = manifest.pass_through_of(questions).to_pylist()
    for question, answer, others in zip(questions, outcome.answers, known, strict=True):
        column.rows.append(others | _row(column, question, answer, model=model, duration_s=duration_s))


def _row(
    column: _Column, question: Question, answer: VideoAnswer, *, model: VideoModel, duration_s: float
) -> dict[str, object]:
    """What a scorer reads of a row."""
    final = answer.final
    assert final is not None
    needs_scores = SELECTORS[column.method].needs_scores
    return {
        "question_id": question.question_id,
        "video": question.video,
        "question": question.text,
        "options": None if question.options is None else list(question.options),
        "status": "ok",
        "answer": final.answer,
        "answer_text": final.answer_text,
        "evidence": [{"start_s": span.start_s, "end_s": span.end_s} for span in final.evidence],
        "duration_s": duration_s,
        "num_groups": answer.num_groups,
        "num_groups_scored": len(answer.scores) if needs_scores else 0,
        "num_tokens_kept": sum(final.kept.values()),
        "total_s": None,
        "model": model.name,
        "method": column.method,
        "config_hash": config_hash(column.config, model_revision=model.revision),
        "prompt_style": column.config.scoring.prompt_style,
        "finished_at": datetime.now(UTC),
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
