"""Counted stages before and after, as seconds of a whole video and as Markdown. Seconds are predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.lab.cost.roofline import CAUTIOUS, GpuRates, KernelKind, add_up, by_kind
from pipeline.lab.cost.stages import ENCODE, FINAL, PREFILL, TOKEN, CountedStages, score_stage
from pipeline.planning.flop_floor import RunWork, count_flops

NUM_FRAMES = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoSeconds:
    """One video and its questions on one GPU.

    Attributes:
        seconds: predicted for encode, prefill, score and final passes, one after the other.
        floor_s: the method's matrix arithmetic at the rate of one large product.
    """

    num_questions: int
    seconds: float
    floor_s: float

    @property
    def share(self) -> float:
        """Of the floor."""
        return self.floor_s / self.seconds


def predict_video(
    counted: CountedStages, machine: GpuRates, *, num_questions: int, num_frames: int = NUM_FRAMES
) -> VideoSeconds:
    """Groups as the one that was counted, as many as the frames are; multiple choice."""
    groups = num_frames / counted.case.num_frames
    per_group = sum(
        machine.stage_seconds(counted.launches[stage]) for stage in (ENCODE, PREFILL, score_stage(num_questions))
    )
    final_s = machine.stage_seconds(counted.launches[FINAL])
    return VideoSeconds(
        num_questions=num_questions,
        seconds=groups * per_group + num_questions * final_s,
        floor_s=_count_floor(counted, num_questions, groups) / machine.matrix_flops_per_s,
    )


def format_table(before: CountedStages, after: CountedStages, machine: GpuRates) -> str:
    """One shape, unfused and fused."""
    geometry = before.geometry
    lines = [
        f"### {before.case.shape}",
        "",
        f"A group of {before.case.num_frames} frames of {geometry.height} x {geometry.width}, "
        f"{before.prefix_length:,} tokens before the question; final pass of {before.final_length:,} tokens. "
        "Before: `model.fusion=off`; after: `auto`.",
        "",
        "| stage | launches | GB | TFLOP | peak GB | predicted ms |",
        "|---|---|---|---|---|---|",
    ]
    for stage in before.launches:
        one, other = (
            add_up(counted.launches[stage], machine, peak_bytes=counted.peak_bytes[stage])
            for counted in (before, after)
        )
        size = f"{one.num_bytes / 1e9:.1f} → {other.num_bytes / 1e9:.1f}"
        peak = f"{one.peak_bytes / 1e9:.1f} → {other.peak_bytes / 1e9:.1f}"
        spent = f"{one.seconds * 1e3:.1f} → {other.seconds * 1e3:.1f}"
        launches = f"{one.launches:,} → {other.launches:,}"
        lines.append(f"| {stage} | {launches} | {size} | {other.flops / 1e12:.2f} | {peak} | {spent} |")
    return "\n".join([*lines, "", *_kind_lines(before, after, machine), "", *_video_lines(before, after, machine), ""])


def format_fp8_table(usual: CountedStages, narrow: CountedStages, machine: GpuRates) -> str:
    """One shape, fused, without and with ``model.quantization=fp8``; shares are of the floor in bfloat16."""
    weights = " → ".join(f"{counted.peak_bytes[TOKEN] / 1e9:.1f}" for counted in (usual, narrow))
    lines = [
        f"### {usual.case.shape}, fp8",
        "",
        f"Fused both times; while an open answer goes on, {weights} GB are held.",
        "",
        "| stage | launches | GB | predicted ms |",
        "|---|---|---|---|",
    ]
    for stage in usual.launches:
        one, other = (add_up(counted.launches[stage], machine) for counted in (usual, narrow))
        size = f"{one.num_bytes / 1e9:.1f} → {other.num_bytes / 1e9:.1f}"
        spent = f"{one.seconds * 1e3:.1f} → {other.seconds * 1e3:.1f}"
        lines.append(f"| {stage} | {one.launches:,} → {other.launches:,} | {size} | {spent} |")
    return "\n".join([*lines, "", *_video_lines(usual, narrow, machine), ""])


def describe_machine(machine: GpuRates) -> str:
    """What the prediction assumes."""
    product = f"{machine.matrix_share:.0%} of {machine.flops_per_s / 1e12:.0f} TFLOP/s"
    single = f"{machine.matrix_share:.0%} of {machine.single_flops_per_s / 1e12:.0f} TFLOP/s"
    tile = f"{machine.tile} x {machine.tile} tiles on {machine.num_processors} processors"
    return (
        f"{machine.name}: memory {machine.memory_share:.0%} of {machine.bytes_per_s / 1e12:.1f} TB/s; a large matrix "
        f"product {product}, one of depth k that times k / (k + {machine.depth}) and times how full its last wave of "
        f"{tile} is; attention {machine.attention_share:.0%} of the same; float32 products {single}; a kernel takes at "
        f"least {machine.kernel_s * 1e6:.0f} µs, and the host {machine.host_s * 1e6:.0f} µs to launch it."
    )


def _kind_lines(before: CountedStages, after: CountedStages, machine: GpuRates) -> Sequence[str]:
    """Encode and prefill, which are most of a video, by kind of kernel."""
    found = [
        {stage: by_kind(counted.launches[stage], machine) for stage in (ENCODE, PREFILL)} for counted in (before, after)
    ]
    lines = ["| encode, prefill by kind | GB before | after | TFLOP | ms before | after |", "|---|---|---|---|---|---|"]
    for stage in (ENCODE, PREFILL):
        one, other = found[0][stage], found[1][stage]
        for kind in KernelKind:
            costs = [costs.get(kind) for costs in (one, other)]
            if any(costs):
                size = [f"{cost.num_bytes / 1e9:.1f}" if cost else "" for cost in costs]
                spent = [f"{cost.seconds * 1e3:.1f}" if cost else "" for cost in costs]
                flops = max(cost.flops for cost in costs if cost)
                arithmetic = f"{flops / 1e12:.2f}" if flops else ""
                lines.append(
                    f"| {stage}: {kind.value} | {size[0]} | {size[1]} | {arithmetic} | {spent[0]} | {spent[1]} |"
                )
    return lines


def _video_lines(before: CountedStages, after: CountedStages, machine: GpuRates) -> Sequence[str]:
    """Predicted twice: as expected, and with everything but large products slower."""
    lines = [
        f"| {NUM_FRAMES:,} frames, questions | floor s | predicted s | share of the floor | cautious s | share |",
        "|---|---|---|---|---|---|",
    ]
    for count in before.case.question_counts:
        cells = []
        for assumed in (machine, CAUTIOUS):
            one, other = (predict_video(counted, assumed, num_questions=count) for counted in (before, after))
            cells += [f"{one.seconds:.1f} → {other.seconds:.1f}", f"{one.share:.0%} → {other.share:.0%}"]
        floor_s = predict_video(after, machine, num_questions=count).floor_s
        lines.append(f"| {count} | {floor_s:.1f} | {' | '.join(cells)} |")
    return lines


def _count_floor(counted: CountedStages, num_questions: int, groups: float) -> float:
    """FLOPs by ``planning.flop_floor``: one group's times the groups, and the final passes."""
    work = RunWork(
        num_patches=counted.case.num_frames // counted.frames_per_patch,
        prefix_lengths=(counted.prefix_length,),
        suffix_length=counted.case.question_tokens,
        num_questions=num_questions,
        final_lengths=(counted.final_length,) * num_questions,
        answer_tokens=2,
    )
    flops = count_flops(counted.config, counted.geometry, work)
    final = flops.pop("final pass")
    return groups * sum(flops.values()) + final
