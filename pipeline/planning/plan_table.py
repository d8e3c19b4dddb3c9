"""A job's estimate for people: a short table, in which everything that was not read is marked."""

import math

from pipeline.counted import counted
from pipeline.planning.estimate import JobEstimate
from pipeline.results.fitted_rows import fit_rows

_PAYS = 1.5  # from which part on sampling at keyframes is offered


def format_plan(plan: JobEstimate, *, width: int | None = None) -> str:
    """Lines of a name, a figure and what it rests on; ``~`` stands before what is estimated."""
    mark = "~" if plan.num_estimated else ""
    unread = plan.num_without_transcript
    lacking = f"; {unread:,} will fail: no transcript can be read" if unread else ""
    rows = [
        ("questions to answer", f"{plan.num_questions:,}", f"about {counted(plan.num_videos, 'video')}{lacking}"),
        ("done earlier", f"{plan.num_skipped:,}", ""),
        (
            "to fail unasked",
            f"{plan.num_to_fail:,}",
            "missing videos, rejected rows" if plan.num_to_fail else "",
        ),
    ]
    if plan.questions.num_refused:
        rows.append(("cannot be asked", f"{plan.questions.num_refused:,}", _describe_refused(plan)))
    if plan.num_videos:
        rows += [("videos probed", f"{plan.num_probed:,}", _describe_probes(plan))]
        rows += [(name, f"{mark}{figure}", note) for name, figure, note in _work(plan)]
        rows += [(name, f"~{figure}", note) for name, figure, note in _costs(plan)]
    rows += _placement(plan)
    refused = [f"  {one.question_id}: {one.failure_class}: {one.message}" for one in plan.questions.named]
    num_unnamed = plan.questions.num_refused - len(refused)
    more = [f"  and {num_unnamed:,} more that cannot be asked"] if num_unnamed else []
    return "\n".join([*fit_rows(rows, numbers={1}, width=width), *refused, *more])


def _describe_refused(plan: JobEstimate) -> str:
    num_checked = plan.questions.num_checked
    checked = "" if num_checked == plan.num_questions else f"of the first {num_checked:,}; "
    return f"{checked}each fails alone, as said below"


def _describe_probes(plan: JobEstimate) -> str:
    parts = [f"{_bytes(plan.header_bytes)} read"]
    if plan.is_assumed:
        parts = ["no header could be used: each video is taken for an hour of 720p at 30 frames/s"]
    elif plan.num_estimated:
        parts.append(f"{plan.num_estimated:,} others are taken for their average (~)")
    if plan.probe_failures:
        classes = ", ".join(f"{count} {name}" for name, count in sorted(plan.probe_failures.items()))
        parts.append(f"will fail: {classes}")
    return "; ".join(parts)


def _work(plan: JobEstimate) -> list[tuple[str, str, str]]:
    most = "at most: a question may stop early" if plan.can_stop else ""
    return [
        ("video", f"{plan.duration_s / 3600:,.1f} h", ""),
        ("sampled frames", f"{plan.sampled_frames:,.0f}", ""),
        ("frames to decode", f"{plan.frames_to_decode:,.0f}", ""),
        ("decode passes", f"{plan.decode_passes:,.0f}", ""),
        ("groups", f"{plan.groups:,.0f}", most),
        ("scores", f"{plan.question_groups:,.0f}", "groups times questions of their video"),
        ("visual tokens", f"{plan.visual_tokens:,.0f}", "of all groups"),
        ("final tokens", f"{plan.final_tokens:,.0f}", "of all final passes"),
    ]


def _costs(plan: JobEstimate) -> list[tuple[str, str, str]]:
    unit = "GPU" if plan.model.on_gpu else "CPU scorer"
    gpus = max(1.0, plan.gpus_per_scorer) if plan.model.on_gpu else 1.0
    stages = ", ".join(f"{name} {_scaled(value, 'FLOP')}" for name, value in plan.flops.items())
    rate = f"{_scaled(plan.scorer_tflops * 1e12, 'FLOP/s')} per scorer: {plan.scorer_source}"
    scorers_s, decoders_s = plan.scorer_s / plan.num_scorers, plan.decode_core_s / plan.num_decoders
    slower = f"the slower of {plan.num_scorers} scorers and {plan.num_decoders} decoders, start not counted"
    if plan.by_gpu:
        decoders_s, slower = 0.0, f"of the arithmetic of {plan.num_scorers} scorers: start and decoding not counted"
    return [
        *_decoding(plan, unit),
        ("arithmetic", _scaled(sum(plan.flops.values()), "FLOP"), stages),
        ("scoring and answering", f"{plan.scorer_s * gpus:,.0f} {unit}-s", rate),
        ("wall time", f"{max(scorers_s, decoders_s):,.0f} s", slower),
    ]


def _decoding(plan: JobEstimate, unit: str) -> list[tuple[str, str, str]]:
    decoding = ("decoding", f"{plan.decode_core_s:,.0f} core-s", f"{plan.decode_source}; {_describe_machine(plan)}")
    if plan.by_gpu:
        by_gpu = "by PyAV; with sampling.decoder=nvdec each scorer's GPU decodes instead, which is not predicted"
        return [(*decoding[:2], by_gpu)]
    cores = ("decode cores", f"{plan.cores_per_gpu:,.1f} per {unit}", _describe_cores(plan))
    return [decoding, *_cheaper_decoding(plan), cores]


def _describe_machine(plan: JobEstimate) -> str:
    return f"{plan.decode_factor:.2f} times the seconds of the machine that was measured (docs/video.md)"


def _describe_cores(plan: JobEstimate) -> str:
    """What keeps GPUs waiting, if they do."""
    wanted = math.ceil(plan.cores_per_gpu * plan.num_scorers * max(1.0, plan.gpus_per_scorer))
    note = f"with which decoding takes as long as the arithmetic: execution.num_decoders={max(1, wanted)}"
    return note + ("; Lite decodes most of a video for few of its groups" if plan.can_stop else "")


def _cheaper_decoding(plan: JobEstimate) -> list[tuple[str, str, str]]:
    """What a frame store and sampling at keyframes would make of it."""
    size = f"about {_bytes(int(plan.store_bytes))}"
    set_it = "frame_store" if plan.frame_store else "--frame-store"
    note = f"with {set_it}, once frames are there: {size}, filling it takes {_seconds(plan.fill_core_s)} core-s more"
    rows = [("decoding from a store", f"{_seconds(plan.store_core_s)} core-s", note)]
    if plan.keyframe_core_s is not None and plan.keyframe_core_s * _PAYS < plan.decode_core_s:
        offer = "with sampling.seek=keyframe: times move to keyframes near by, so answers are others"
        rows.append(("decoding at keyframes", f"{plan.keyframe_core_s:,.0f} core-s", offer))
    return rows


def _placement(plan: JobEstimate) -> list[tuple[str, str, str]]:
    model = plan.model
    weights = (
        f"of which weights {_bytes(model.weight_bytes)}: {_scaled(model.num_parameters, ' parameters')}, {model.dtype}"
    )
    gpus = plan.num_scorers * plan.gpus_per_scorer
    asked = f"{plan.num_scorers} scorers, {plan.num_decoders} decoders"
    fits = f"does NOT fit: {model.problem}" if model.problem else "fits"
    return [
        ("memory per scorer", _bytes(model.scorer_bytes), weights),
        ("frame buffer", _bytes(plan.frame_buffer_bytes), "all videos together"),
        ("workers", f"{gpus:g} GPUs" if model.on_gpu else "no GPU", f"{asked}: {fits}"),
    ]


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _bytes(count: int) -> str:
    return f"{count / 1024**3:,.1f} GiB" if count >= 1024**3 else f"{count / 1024**2:,.1f} MiB"


def _scaled(value: float, unit: str) -> str:
    """``3.2e15, FLOP -> 3.2 PFLOP``."""
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= factor:
            return f"{value / factor:,.3g} {prefix}{unit}"
    return f"{value:,.3g} {unit}"
