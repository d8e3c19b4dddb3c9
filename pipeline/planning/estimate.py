"""What a job will take, as numbers: sums over sampled videos, scaled to all. Pure; headers are read elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pipeline.method.selectors.registry import get_selector
from pipeline.planning.job_plan import JobPlan
from pipeline.planning.model_cost import ModelCost, ScorerSpeed, count_video_flops
from pipeline.planning.question_sample import QuestionSample
from pipeline.planning.video_sample import VideoCost, VideoSample
from pipeline.settings.config import RunConfig

DECODE_PIXELS_PER_S, DELIVER_PIXELS_PER_S = 2.0e8, 1.2e8
DECODE_SOURCE = "PyAV, one core: 200 Mpixel/s decoded, 120 Mpixel/s handed on (docs/results.md, H.264)"


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoTotals:
    """Sums over all videos of a job; with videos that were not probed these are estimates.

    Attributes:
        question_groups: groups times the questions of their video: at most so many scores.
        final_tokens: visual tokens in final passes, all questions together.
        decode_core_s: seconds of one CPU core.
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
    flops: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEstimate(VideoTotals):
    """A job's figures.

    Attributes:
        num_to_fail: questions that fail without being asked, such as those about a missing video.
        is_assumed: whether no header could be read.
        probe_failures: class -> videos that will fail, as their headers say.
        scorer_s: seconds of the arithmetic on one scorer that does ``scorer_tflops``.
        can_stop: whether a question may stop before its last group.
        questions: of those to answer, which cannot be asked.
    """

    num_videos: int
    num_questions: int
    num_skipped: int
    num_to_fail: int
    num_probed: int
    num_estimated: int
    is_assumed: bool
    probe_failures: Mapping[str, int]
    header_bytes: int
    decode_source: str
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
) -> JobEstimate:
    """Scale the sampled videos up to all that are left to do.

    Args:
        plan: what is left.
        sample: what the headers said.
        checkpoint: the model's configuration.
        model: whether it fits.
        config: the run's settings.
        speed: of one scorer.
        questions: which cannot be asked.
    """
    totals = sum_videos(plan, sample, checkpoint=checkpoint, config=config)
    num_probed = 0 if sample.is_assumed else len(sample.costs)
    num_probed += sum(sample.failures.values())
    execution = config.execution
    return JobEstimate(
        **{field.name: getattr(totals, field.name) for field in fields(totals)},
        num_videos=len(plan.tasks),
        num_questions=plan.tasks.num_questions,
        num_skipped=plan.num_skipped,
        num_to_fail=plan.num_failed,
        num_probed=num_probed,
        num_estimated=len(plan.tasks) - num_probed,
        is_assumed=sample.is_assumed,
        probe_failures=sample.failures,
        header_bytes=sample.bytes_read,
        decode_source=DECODE_SOURCE,
        scorer_tflops=speed.tflops,
        scorer_source=speed.source,
        scorer_s=sum(totals.flops.values()) / (speed.tflops * 1e12),
        can_stop=get_selector(config.method).can_stop,
        num_scorers=execution.scorers,
        num_decoders=execution.num_decoders,
        gpus_per_scorer=execution.gpus,
        frame_buffer_bytes=execution.frame_buffer_bytes,
        model=model,
        questions=questions,
    )


def sum_videos(plan: JobPlan, sample: VideoSample, *, checkpoint: Any, config: RunConfig) -> VideoTotals:
    """Every video that was not sampled counts as the average of those that were; those that will fail cost nothing."""
    num_videos, selector = len(plan.tasks), get_selector(config.method)
    num_sampled = len(sample.costs) + (0 if sample.is_assumed else sum(sample.failures.values()))
    scale, per_video = num_videos / num_sampled, plan.tasks.num_questions / max(1, num_videos)
    budget = selector.final_budget(config.budget)
    num_finals = per_video * selector.needs_final_pass

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
        decode_core_s=total(_decode_seconds),
        flops=flops,
    )


def _decode_seconds(video: VideoCost) -> float:
    """Seconds of one core: every decoded frame, and the copy that is scaled and handed on of every wanted one."""
    decoded = video.num_frames_to_decode * video.frame_pixels / DECODE_PIXELS_PER_S
    return decoded + video.num_sampled_frames * video.frame_pixels / DELIVER_PIXELS_PER_S
