"""What a job will take, as numbers: sums over sampled videos, scaled to all. Pure; headers are read elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from pipeline.method.selectors.registry import get_selector
from pipeline.planning.decode_cost import decode_seconds, store_bytes, store_seconds
from pipeline.planning.job_plan import JobPlan
from pipeline.planning.model_cost import ModelCost, ScorerSpeed, count_video_flops
from pipeline.planning.question_sample import QuestionSample
from pipeline.planning.video_sample import VideoCost, VideoSample
from pipeline.settings.config import RunConfig

DECODE_SOURCE = "from codec, pixels and bit rate"


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoTotals:
    """Sums over all videos of a job; with videos that were not probed these are estimates.

    Attributes:
        question_groups: groups times the questions of their video: at most so many scores.
        final_tokens: visual tokens in final passes, all questions together.
        decode_core_s: seconds of one CPU core, on a machine of ``decode_factor``.
        keyframe_core_s: the same with ``sampling.seek=keyframe``; None where that is set or not possible.
        store_core_s: the same where all frames come from a frame store.
        fill_core_s: what putting them there takes beside decoding.
        store_bytes: what they take there.
        flops: matrix arithmetic by stage.
    """

    duration_s: float
    sampled_frames: float
    frames_to_decode: float
    groups: float
    decode_passes: float
    visual_tokens: float
    question_groups: float
    final_tokens: float
    decode_core_s: float
    keyframe_core_s: float | None
    store_core_s: float
    fill_core_s: float
    store_bytes: float
    flops: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEstimate(VideoTotals):
    """A job's figures.

    Attributes:
        num_to_fail: questions that fail without being asked, such as those about a missing video.
        num_without_transcript: of ``num_questions`` those that will fail because their transcript cannot be read.
        is_assumed: whether no header could be read.
        probe_failures: class -> videos that will fail, as their headers say.
        scorer_s: seconds of the arithmetic on one scorer that does ``scorer_tflops``.
        can_stop: whether a question may stop before its last group.
        decode_factor: core seconds of decoding here by those on the machine the costs were measured on.
        cores_per_gpu: decoders with which decoding takes as long as one GPU's (or one CPU scorer's) arithmetic.
        frame_store: whether one is set.
        by_gpu: whether scorers decode on their GPUs (``nvdec``), which nothing here predicts.
        questions: of those to answer, which cannot be asked.
    """

    num_videos: int
    num_questions: int
    num_skipped: int
    num_to_fail: int
    num_without_transcript: int
    num_probed: int
    num_estimated: int
    is_assumed: bool
    probe_failures: Mapping[str, int]
    header_bytes: int
    decode_source: str
    decode_factor: float
    cores_per_gpu: float
    frame_store: bool
    by_gpu: bool
    scorer_tflops: float
    scorer_source: str
    scorer_s: float
    can_stop: bool
    num_scorers: int
    num_decoders: int
    gpus_per_scorer: float
    frame_buffer_bytes: int
    model: ModelCost
    questions: QuestionSample


def estimate_job(
    plan: JobPlan,
    sample: VideoSample,
    *,
    checkpoint: Any,
    model: ModelCost,
    config: RunConfig,
    speed: ScorerSpeed,
    questions: QuestionSample,
    decode_factor: float = 1.0,
) -> JobEstimate:
    """Scale the sampled videos up to all that are left to do.

    Args:
        plan: what is left.
        sample: what the headers said.
        checkpoint: the model's configuration.
        model: whether it fits.
        config: the run's settings.
        speed: of one scorer.
        decode_factor: what decoding takes on the machines meant, by what it took where it was measured.
        questions: which cannot be asked.
    """
    totals = sum_videos(plan, sample, checkpoint=checkpoint, config=config, decode_factor=decode_factor)
    scorer_s = sum(totals.flops.values()) / (speed.tflops * 1e12)
    num_probed = 0 if sample.is_assumed else len(sample.costs)
    num_probed += sum(sample.failures.values())
    execution = config.execution
    return JobEstimate(
        **{field.name: getattr(totals, field.name) for field in fields(totals)},
        num_videos=len(plan.tasks),
        num_questions=plan.tasks.num_questions,
        num_skipped=plan.num_skipped,
        num_to_fail=plan.num_failed,
        num_without_transcript=plan.num_without_transcript,
        num_probed=num_probed,
        num_estimated=len(plan.tasks) - num_probed,
        is_assumed=sample.is_assumed,
        probe_failures=sample.failures,
        header_bytes=sample.bytes_read,
        decode_source=DECODE_SOURCE,
        decode_factor=decode_factor,
        cores_per_gpu=totals.decode_core_s / (scorer_s * max(1.0, config.execution.gpus)) if scorer_s else 0.0,
        frame_store=config.frame_store.uri is not None,
        by_gpu=config.sampling.decoder == "nvdec",
        scorer_tflops=speed.tflops,
        scorer_source=speed.source,
        scorer_s=scorer_s,
        can_stop=get_selector(config.method).can_stop,
        num_scorers=execution.scorers,
        num_decoders=execution.decoders,
        gpus_per_scorer=execution.gpus,
        frame_buffer_bytes=execution.frame_room_bytes,
        model=model,
        questions=questions,
    )


def sum_videos(
    plan: JobPlan, sample: VideoSample, *, checkpoint: Any, config: RunConfig, decode_factor: float = 1.0
) -> VideoTotals:
    """Every video that was not sampled counts as the average of those that were; those that will fail cost nothing."""
    num_videos, selector = len(plan.tasks), get_selector(config.method)
    num_sampled = len(sample.costs) + (0 if sample.is_assumed else sum(sample.failures.values()))
    scale, per_video = num_videos / num_sampled, plan.tasks.num_questions / max(1, num_videos)
    budget = selector.final_budget(config.budget)
    num_finals, quality = per_video * selector.needs_final_pass, config.frame_store.quality

    def total(amount: Callable[[VideoCost], float]) -> float:
        return scale * sum(amount(video) for video in sample.costs)

    flops: dict[str, float] = {}
    for video in sample.costs:
        counted = count_video_flops(checkpoint, video, num_questions=per_video, config=config)
        flops |= {stage: flops.get(stage, 0.0) + scale * value for stage, value in counted.items()}
    num_groups = total(lambda video: len(video.group_patches))
    return VideoTotals(
        duration_s=total(lambda video: video.duration_s),
        sampled_frames=total(lambda video: video.num_sampled_frames),
        frames_to_decode=total(lambda video: video.num_frames_to_decode),
        groups=num_groups,
        decode_passes=total(lambda video: video.num_passes),
        visual_tokens=total(lambda video: video.num_tokens),
        question_groups=num_groups * per_video if selector.needs_scores else 0.0,
        final_tokens=num_finals * total(lambda video: min(budget or video.num_tokens, video.num_tokens)),
        decode_core_s=decode_factor * total(lambda video: decode_seconds(video.decoding)),
        keyframe_core_s=(
            decode_factor * total(_keyframe_seconds)
            if all(video.num_keyframes_decoded is not None for video in sample.costs)
            else None
        ),
        store_core_s=decode_factor * total(lambda video: store_seconds(video.decoding, quality)[1]),
        fill_core_s=decode_factor * total(lambda video: store_seconds(video.decoding, quality)[0]),
        store_bytes=total(lambda video: store_bytes(video.decoding, quality)),
        flops=flops,
    )


def _keyframe_seconds(video: VideoCost) -> float:
    num_decoded = video.num_keyframes_decoded
    assert num_decoded is not None, "asked only where it is known"
    return decode_seconds(replace(video.decoding, num_decoded=num_decoded))
