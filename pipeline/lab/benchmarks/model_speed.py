"""How fast a model shape runs the method, by stage and end to end, against its arithmetic and the naive way.

In order: the matrix product peak, the naive baseline on the untouched stock model, then the same weights behind the
adapter, once for each number of questions.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.lab.benchmarks.model_figures import NaiveFigures, RunFigures, SpeedCase, SpeedFigures, StageFigures
from pipeline.lab.benchmarks.model_run import Clip, ProductRun, build_clip, build_questions, run_product
from pipeline.lab.benchmarks.model_shapes import SHAPES
from pipeline.lab.benchmarks.naive_baseline import NaiveScore, StockPixels, StockPrompt, lay_out_prompt, score_naively
from pipeline.lab.benchmarks.random_models import build_config, build_stock_model, count_parameters, family_tokenizer
from pipeline.lab.benchmarks.stage_clock import StageClock, measure_matmul_peak
from pipeline.manifest.questions import Question
from pipeline.models.devices.gpu_layers import fit_layers_to_gpu
from pipeline.models.interface import ModelLayout, VideoModel, ranking_layers
from pipeline.models.registry import FAMILIES
from pipeline.passes.group_pass import score_group
from pipeline.passes.records import GroupInput
from pipeline.planning.flop_floor import ENCODE, FINAL, PREFILL, SCORE, RunWork, count_flops
from pipeline.settings.config import RunConfig
from pipeline.settings.presets import preset_for

_WARM_UP_GROUPS = 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Setup:
    """What all parts of one measurement share."""

    case: SpeedCase
    tokenizer: Any
    checkpoint: Any
    layout: ModelLayout
    config: RunConfig
    clip: Clip
    questions: tuple[Question, ...]


def measure_speed(case: SpeedCase) -> SpeedFigures:
    """Measure one case; a warm-up precedes everything that is timed.

    Raises:
        ValueError: the shape is unknown, its weights exceed the device, or a question cannot be as short as wanted.
    """
    # 1. prepare (1 shape → frames in memory, stock model with random weights)
    setup = _prepare(case)
    family = FAMILIES[setup.checkpoint.model_type]
    stock = build_stock_model(setup.checkpoint, device=case.device, dtype=case.dtype)
    peak = measure_matmul_peak(case.device, case.dtype)
    # 2. naive baseline (some groups, 1 question), before anything changes the stock model
    naive = _measure_naive(stock, setup) if case.naive_groups else None
    # 3. this project (all groups, each number of questions)
    stock.set_attn_implementation(dict(family.attention))
    fit_layers_to_gpu(stock)
    model = family.build(stock, setup.tokenizer, name=case.shape, revision="random")
    runs = tuple(_measure_run(model, setup, count, naive) for count in case.question_counts)
    clip = setup.clip
    return SpeedFigures(
        case=case,
        num_groups=len(clip.frames),
        num_patches=clip.num_patches,
        visual_tokens=clip.num_patches * clip.plan.geometry.tokens_per_patch,
        token_budget=setup.config.budget.token_budget,
        question_batch=setup.config.scoring.question_batch,
        parameters=count_parameters(setup.checkpoint),
        size=(clip.plan.geometry.height, clip.plan.geometry.width),
        matmul_peak=peak,
        naive=naive,
        runs=runs,
    )


def _prepare(case: SpeedCase) -> _Setup:
    if case.shape not in SHAPES:
        raise ValueError(f"--model-shape must be one of {', '.join(SHAPES)}, got {case.shape!r}")
    family = SHAPES[case.shape].family
    tokenizer = family_tokenizer(family)
    checkpoint = build_config(SHAPES[case.shape], tokenizer)
    layout = FAMILIES[family].read_layout(checkpoint)
    config = _run_config(case, layout, family=family)
    count = max(case.question_counts)
    return _Setup(
        case=case,
        tokenizer=tokenizer,
        checkpoint=checkpoint,
        layout=layout,
        config=config,
        questions=build_questions(tokenizer, family, count, num_tokens=case.question_tokens),
        clip=build_clip(layout, num_frames=case.num_frames, height=case.height, width=case.width, config=config),
    )


def _run_config(case: SpeedCase, layout: ModelLayout, *, family: str) -> RunConfig:
    preset = preset_for(
        case.shape,
        num_layers=layout.num_layers,
        is_demo=False,
        family=family,
        ranking_layers=ranking_layers(layout),
    )
    geometry = layout.frame_geometry(case.height, case.width, min_pixels=1, max_pixels=case.height * case.width)
    per_group = case.frames_per_group // layout.frames_per_patch * geometry.tokens_per_patch
    scoring = replace(
        preset.scoring,
        question_batch=case.question_batch or preset.scoring.question_batch,
        encode_patches=case.encode_patches or preset.scoring.encode_patches,
    )
    return replace(
        preset,
        sampling=replace(preset.sampling, frames_per_group=case.frames_per_group),
        scoring=scoring,
        budget=replace(preset.budget, token_budget=case.token_budget or per_group),
        answering=replace(preset.answering, answer_tokens=case.answer_tokens),
    )


def _measure_run(model: VideoModel, setup: _Setup, num_questions: int, naive: NaiveFigures | None) -> RunFigures:
    questions, clip = setup.questions[:num_questions], setup.clip
    clock = StageClock(setup.case.device)
    run_product(model, clip.first(_WARM_UP_GROUPS), questions, setup.config, clock)
    timed = (run_product(model, clip, questions, setup.config, clock) for _ in range(setup.case.repeats))
    run = min(timed, key=lambda run: run.wall_s)
    work = _workload(setup, run)
    flops = count_flops(setup.checkpoint, clip.plan.geometry, work)
    tokens = {
        ENCODE: clip.num_patches * clip.plan.geometry.tokens_per_patch,
        PREFILL: sum(work.prefix_lengths),
        SCORE: num_questions * len(work.prefix_lengths) * work.suffix_length,
        FINAL: sum(work.final_lengths),
    }
    return RunFigures(
        num_questions=num_questions,
        wall_s=run.wall_s,
        stages={
            name: StageFigures(seconds=seconds, tokens=tokens.get(name, 0), flops=flops.get(name, 0))
            for name, seconds in run.seconds.items()
        },
        peak_bytes=run.peak_bytes,
        final_tokens=tuple(kept for kept, _ in run.shown),
        naive_difference=None if naive is None or naive.first is None else _compare(naive.first, model, setup),
    )


def _compare(naive: NaiveScore, model: VideoModel, setup: _Setup) -> float:
    """Largest difference of the first question's scores of the first group."""
    plan, first = setup.clip.plan, setup.clip.plan.groups[0]
    group = GroupInput(
        group_index=plan.group_indices[0],
        geometry=plan.geometry,
        patches=first,
        questions=setup.questions[:1],
        batches=((0,),),
        patch_centers_s=plan.centers_of(first),
    )
    scored = score_group(model, setup.clip.frames[0], group, setup.config)
    attention = np.abs(naive.attention_N - scored.candidates.scores[0]).max()
    return max(abs(naive.entropy - scored.scores[0].entropy), float(attention))


def _workload(setup: _Setup, run: ProductRun) -> RunWork:
    """Lengths as the model saw them. In a final pass only patches that kept a token have text around them."""
    clip, case = setup.clip, setup.case
    per_patch = clip.plan.geometry.tokens_per_patch
    text_of = {count: _text_length(setup, count) for count in {len(patches) for patches in clip.plan.groups}}
    finals = []
    for kept, num_patches in run.shown:
        num_shown = -(-kept // per_patch) if setup.checkpoint.model_type == "internvl" else num_patches
        finals.append(kept + _text_length(setup, num_shown) + case.question_tokens)
    return RunWork(
        num_patches=clip.num_patches,
        prefix_lengths=[len(patches) * per_patch + text_of[len(patches)] for patches in clip.plan.groups],
        suffix_length=case.question_tokens,
        num_questions=len(run.shown),
        final_lengths=finals,
        answer_tokens=case.answer_tokens,
    )


def _text_length(setup: _Setup, num_patches: int) -> int:
    """Text tokens before a question, around so many temporal patches."""
    prompt = _lay_out(setup, setup.clip.plan.patch_centers_s[:num_patches], setup.questions[0])
    return prompt.ids_1T.shape[1] - len(prompt.visual_N) - prompt.num_text


def _lay_out(setup: _Setup, center_s_P: npt.NDArray[np.float64], question: Question) -> StockPrompt:
    return lay_out_prompt(
        setup.tokenizer,
        setup.checkpoint,
        setup.clip.plan.geometry,
        center_s_P=center_s_P,
        patch_s=setup.layout.frames_per_patch / setup.config.sampling.sample_fps,
        question=question.text,
        options=question.options,
    )


def _measure_naive(stock: Any, setup: _Setup) -> NaiveFigures:
    """The first groups, one question, everything again for each; the first pass warms up."""
    source = StockPixels(setup.checkpoint)
    clip, clock = setup.clip, StageClock(setup.case.device)
    seconds: list[float] = []
    scores: list[NaiveScore] = []
    problem = ""
    clock.start()
    try:
        for position in [0, *range(min(setup.case.naive_groups, len(clip.frames)))]:
            started = time.perf_counter()
            prompt = _lay_out(setup, clip.plan.patch_centers_s[clip.plan.groups[position]], setup.questions[0])
            pixels = source.prepare(clip.frames[position], clip.plan.geometry)
            layer = setup.config.scoring.reference_layer
            scores.append(score_naively(stock, pixels, prompt, layer=layer))  # waits for its scores
            seconds.append(time.perf_counter() - started)
    except torch.OutOfMemoryError as error:
        problem = str(error)
    peak_bytes = clock.peak_bytes()
    if setup.case.device.startswith("cuda"):
        torch.cuda.empty_cache()
    timed = [] if problem else seconds[1:]
    return NaiveFigures(
        pass_s=min(timed, default=None),
        num_timed=len(timed),
        preprocessing=source.source,
        peak_bytes=peak_bytes,
        first=scores[0] if scores else None,
        problem=problem,
    )
