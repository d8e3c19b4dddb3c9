"""What a checkpoint's configuration says of its memory and arithmetic; no weights are read."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig

from pipeline.method.selectors.registry import get_selector
from pipeline.models.checkpoints.source import find_checkpoint
from pipeline.models.devices.map import plan_gpus
from pipeline.models.devices.memory import free_bytes
from pipeline.models.devices.memory_plan import MemoryNeed, ModelSize, measure_model, plan_need
from pipeline.models.interface import ModelLayout
from pipeline.models.loading import choose_dtype
from pipeline.models.registry import get_family
from pipeline.planning.flop_floor import FINAL, PREFILL, SCORE, RunWork, count_flops
from pipeline.planning.video_sample import VideoCost
from pipeline.settings.config import RunConfig
from pipeline.uris import StorageOptions

GPU_TFLOPS = 300.0
GPU_SOURCE = "assumed: 30 % of an H100's 989 (bf16, dense); see --plan-tflops"
CPU_SHARE = 0.65
CPU_SOURCE = "65 % (docs/results.md) of a large matrix product timed now; tiny models take several times as long"
QUESTION_TOKENS = 100  # with options and chat template, as docs/results.md measures with
_TEXT_TOKENS = 32  # of a prompt before the video
_PRODUCT_SIZE = 1_024


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCost:
    """One scorer.

    Attributes:
        gpus_needed: of ``gpu_gib``; None on the CPU, and where no number of them is enough.
        problem: why what was asked for does not fit; empty if it does.
    """

    num_parameters: int
    dtype: str
    weight_bytes: int
    scorer_bytes: int
    on_gpu: bool
    gpus_needed: int | None
    problem: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ScorerSpeed:
    """TFLOP/s that one scorer sustains, and where the figure is from."""

    tflops: float
    source: str


def read_checkpoint_config(config: RunConfig, storage_options: StorageOptions) -> Any:
    """The transformers configuration of the run's model, which has been described before."""
    with find_checkpoint(config.model, storage_options=storage_options).planning_files() as folder:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def judge_memory(
    checkpoint: Any, *, config: RunConfig, layout: ModelLayout, gpu_gib: float, size: ModelSize | None = None
) -> ModelCost:
    """Whether a scorer fits where the settings put it; ``size`` is as the model's files say, where they were read."""
    gpus, num_scorers = config.execution.gpus, config.execution.scorers
    dtype = choose_dtype(config.model, "cuda" if gpus else "cpu")
    size = size or measure_model(get_family(checkpoint.model_type).architecture, checkpoint)
    need = plan_need(size, config.model, config, layout, element_bytes=dtype.itemsize, is_gpu=gpus > 0)
    needed, problem = _judge_gpus(need, gpus, gpu_gib) if gpus else (None, _judge_machine(need, num_scorers))
    return ModelCost(
        num_parameters=size.num_parameters,
        dtype=str(dtype).removeprefix("torch."),
        weight_bytes=need.weight_bytes,
        scorer_bytes=need.total_bytes,
        on_gpu=gpus > 0,
        gpus_needed=needed,
        problem=problem,
    )


def _judge_gpus(need: MemoryNeed, gpus_per_scorer: float, gpu_gib: float) -> tuple[int | None, str]:
    share = min(1.0, gpus_per_scorer)
    try:
        needed = len(plan_gpus(need, gpu_bytes=int(gpu_gib * share * 1024**3)).device_bytes)
    except ValueError as error:
        return None, str(error)
    if needed > max(1.0, gpus_per_scorer):
        return needed, f"execution.gpus_per_scorer must be at least {needed} with {gpu_gib:g} GiB each"
    return needed, ""


def _judge_machine(need: MemoryNeed, num_scorers: int) -> str:
    free = free_bytes("cpu")
    if free is None or need.total_bytes * num_scorers <= free:
        return ""
    return f"{num_scorers} scorers do not fit into the {free / 1024**3:.1f} GiB that are free on this machine"


def count_video_flops(
    checkpoint: Any, video: VideoCost, *, num_questions: float, config: RunConfig
) -> Mapping[str, float]:
    """Matrix arithmetic of one video by stage, for an average number of questions.

    Multiple choice is assumed; a selector that stops early is counted as if it never did.
    """
    selector = get_selector(config.method)
    budget = selector.final_budget(config.budget)
    kept = video.num_tokens if budget is None else min(budget, video.num_tokens)
    tokens_per_patch = video.geometry.tokens_per_patch
    one = count_flops(
        checkpoint,
        video.geometry,
        RunWork(
            num_patches=sum(video.group_patches),
            prefix_lengths=[patches * tokens_per_patch + _TEXT_TOKENS for patches in video.group_patches],
            suffix_length=QUESTION_TOKENS,
            num_questions=1,
            final_lengths=[kept + QUESTION_TOKENS + _TEXT_TOKENS],
            answer_tokens=2,
        ),
    )
    scored = {PREFILL: 1.0, SCORE: num_questions} if selector.needs_scores else {PREFILL: 0.0, SCORE: 0.0}
    factors = {FINAL: num_questions * selector.needs_final_pass} | scored
    return {stage: flops * factors.get(stage, 1.0) for stage, flops in one.items()}


def scorer_speed(config: RunConfig, tflops: float | None) -> ScorerSpeed:
    """As given, else assumed for a GPU, else measured on this CPU."""
    if tflops is not None:
        return ScorerSpeed(tflops=tflops, source="as given")
    if config.execution.gpus:
        num_gpus = max(1.0, config.execution.gpus)
        return ScorerSpeed(tflops=GPU_TFLOPS * num_gpus, source=GPU_SOURCE)
    return ScorerSpeed(tflops=_measure_product() * CPU_SHARE, source=CPU_SOURCE)


def _measure_product() -> float:
    """TFLOP/s of one float32 product on this machine's CPU, the best of three."""
    matrix = torch.ones(_PRODUCT_SIZE, _PRODUCT_SIZE)
    seconds: list[float] = []
    for _ in range(3):
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        seconds.append(time.perf_counter() - started)
    return 2 * _PRODUCT_SIZE**3 / min(seconds) / 1e12
