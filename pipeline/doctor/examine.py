"""The examination of one checkpoint on one machine, check by check, from what is installed to what it costs."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pipeline.doctor.checks import Examination
from pipeline.doctor.comparison import compare_final_pass, compare_group_pass
from pipeline.doctor.environment import list_decoders, list_devices, list_kernels, list_versions, wrong_versions
from pipeline.doctor.needle_probe import NeedleFindings, probe_needles
from pipeline.failures import PipelineError
from pipeline.manifest.questions import Question
from pipeline.models.adapter import Adapter
from pipeline.models.devices.fp8_setup import fp8_layers_of
from pipeline.models.devices.map import place_layers
from pipeline.models.devices.memory_plan import plan_need
from pipeline.models.fusion.setup import fusion_of
from pipeline.models.interface import ranking_layers
from pipeline.models.loading import ModelIdentity, check_reference_layer, describe_model, is_demo_model, load_model
from pipeline.passes.group_pass import ScoredGroup, score_group
from pipeline.passes.records import GroupInput
from pipeline.settings.config import ModelConfig, RunConfig
from pipeline.settings.presets import preset_for
from pipeline.settings.reading import load_config

_GIB = 1024**3
_HEIGHT, _WIDTH = 1_080, 1_920
_PLAN_SLACK = 1.02  # of the allocator's rounding
_FINDS_NEEDLES = 1.5  # times chance
_PARTS = ("text_config", "vision_config")
_SEND = "answers would differ from the published model's: send this card to the developers before a long run"


def examine(name: str, *, device: str | None = None, sets: Sequence[str] = ()) -> Examination:
    """Run all checks; whatever fails is one of them, and what depends on it is left out.

    Args:
        name: checkpoint, as ``--model`` takes it.
        device: ``cpu`` or ``cuda``; None is CUDA where there is any.
        sets: ``key=value`` settings over the model's preset.

    Raises:
        ValueError: A setting is unknown or out of range.
    """
    found = Examination(model=name)
    # 1. the machine (→ devices, versions)
    is_cuda = _check_machine(found, device)
    # 2. the checkpoint without its weights (→ family, shapes, settings, planned memory)
    identity: ModelIdentity | None = None
    with found.step("checkpoint"):
        identity = describe_model(ModelConfig(model=name))
    if identity is None or is_cuda is None:
        return found
    config = _settings(identity, sets)
    _note_identity(found, identity, config)
    # 3. the weights (→ a model that has been compared with stock, timed and probed)
    with found.step("load"):
        adapter = _load(found, config, is_cuda=is_cuda)
        _check_passes(found, adapter, config)
        _check_time_and_memory(found, adapter, config, identity)
        with found.step("needles"):
            _note_needles(found, probe_needles(adapter, config), config)
        is_single = adapter.stock.dtype == torch.float32
        del adapter
        # 4. the same in float32, where rounding explains nothing
        if not is_single:
            _check_in_float32(found, config, is_cuda=is_cuda)
    return found


def _check_machine(found: Examination, device: str | None) -> bool | None:
    """Whether to use CUDA; None where it is wanted and not there."""
    num_gpus, devices = torch.cuda.device_count(), list_devices()
    found.facts["Devices"], found.facts["Versions"] = devices, list_versions()
    is_cuda = device == "cuda" or (device is None and num_gpus > 0)
    is_there = num_gpus > 0 or not is_cuda
    found.add(
        "devices",
        is_ok=is_there,
        found=f"{num_gpus} GPUs; " + "; ".join(f"{name}: {what}" for name, what in devices[1:] or devices),
        remedy="install a torch built for this machine's CUDA driver, or give --device cpu",
    )
    wrong = list(wrong_versions())
    found.add(
        "versions",
        is_ok=not wrong,
        found="; ".join(wrong) or f"torch {torch.__version__}, within the tested bounds",
        remedy="pip install -e . in the clone brings the tested ones",
    )
    decoders = list_decoders()
    found.add("decoders", is_ok="av" in decoders, found=", ".join(decoders) or "none", remedy="pip install av")
    return is_cuda if is_there else None


def _settings(identity: ModelIdentity, sets: Sequence[str]) -> RunConfig:
    name, num_layers = identity.name, identity.layout.num_layers
    preset = preset_for(
        name,
        num_layers=num_layers,
        is_demo=is_demo_model(name),
        family=identity.family,
        ranking_layers=ranking_layers(identity.layout),
    )
    config = load_config(preset, sets=list(sets))
    check_reference_layer(identity.layout, config.scoring.reference_layer)
    return replace(config, model=replace(config.model, revision=identity.revision))


def _note_identity(found: Examination, identity: ModelIdentity, config: RunConfig) -> None:
    layout, size = identity.layout, identity.size
    parameters = f"{size.num_parameters:,}" if size else "unknown"
    found.add(
        "checkpoint", is_ok=True, found=f"{identity.family}, revision {identity.revision}, {layout.num_layers} layers"
    )
    found.facts["Checkpoint"] = [
        ("family", identity.family),
        ("revision", identity.revision),
        ("parameters", parameters),
        ("decoder layers", str(layout.num_layers)),
        ("trained context", f"{layout.max_positions:,} positions"),
        ("reference layer of the preset", str(config.scoring.reference_layer)),
        ("frames per group", str(config.sampling.frames_per_group)),
    ]


def _load(found: Examination, config: RunConfig, *, is_cuda: bool) -> Adapter[Any]:
    start = time.perf_counter()
    model = load_model(config.model, device=None if is_cuda else "cpu", run=config)
    assert isinstance(model, Adapter)
    seconds, dtype = time.perf_counter() - start, str(model.stock.dtype).removeprefix("torch.")
    found.add("load", is_ok=True, found=f"{dtype} on {model.device}, {seconds:.1f} s")
    attention = {part: getattr(model.stock.config, part)._attn_implementation for part in _PARTS}
    has_linear = len(model.ranking_layers) < model.num_layers
    found.facts["Attention"] = list_kernels(attention, has_linear=has_linear)
    _note_fusion(found, model)
    _note_paths(found, model)
    return model


def _note_fusion(found: Examination, adapter: Adapter[Any]) -> None:
    """What was checked while loading; a region that is not exact is not used, so no answer is in doubt."""
    fusion = fusion_of(adapter.stock)
    if fusion is None:
        found.add("fusion", is_ok=None, found="nothing is fused: model.fusion=off, or no GPU")
        return
    found.add("fusion", is_ok=True if fusion.is_whole else None, found=str(fusion))
    found.facts["Fusion"] = [
        (str(check.need), f"{'taken' if check.is_exact else 'not taken'}: {check.found}") for check in fusion.checks
    ]


def _note_paths(found: Examination, adapter: Adapter[Any]) -> None:
    """Likewise; and linear layers in 8 bits, which are only there where the settings ask for them and they pass."""
    ways, narrow = adapter.ways, fp8_layers_of(adapter.stock)
    taken = f"questions over a prefix: {ways['questions']}; open answers: {ways['open_answers']}"
    is_fast = ways["questions"] == "by parts"
    found.add("fast paths", is_ok=True if is_fast else None, found=taken)
    found.facts["Ways"] = list(ways.items())
    if narrow is not None:
        found.add("quantization", is_ok=True, found=str(narrow))
        found.facts["Linear layers in 8 bits"] = [
            (f"{check.shape[1]} to {check.shape[0]}", str(check).partition(": ")[2]) for check in narrow.checks
        ]


def _check_passes(found: Examination, adapter: Adapter[Any], config: RunConfig) -> None:
    """Both passes against stock eager attention, in the type the weights have."""
    dtype = adapter.stock.dtype
    label = str(dtype).removeprefix("torch.")
    for name, compare in (("group pass", compare_group_pass), ("final pass", compare_final_pass)):
        with found.step(f"{name}, {label}"):
            difference = compare(adapter, config)
            found.add(f"{name}, {label}", is_ok=difference.is_small(dtype), found=str(difference), remedy=_SEND)


def _check_in_float32(found: Examination, config: RunConfig, *, is_cuda: bool) -> None:
    if is_cuda:
        torch.cuda.empty_cache()
    single = replace(config, model=replace(config.model, dtype="float32", quantization="off"))
    try:
        adapter = load_model(single.model, device=None if is_cuda else "cpu", run=single)
    except PipelineError as error:
        found.add("passes, float32", is_ok=None, found=f"not compared: {error.message}")
        return
    assert isinstance(adapter, Adapter)
    _check_passes(found, adapter, single)


def _check_time_and_memory(
    found: Examination, adapter: Adapter[Any], config: RunConfig, identity: ModelIdentity
) -> None:
    """One group as large as in a run: the second of two is timed, and the peak compared with the plan."""
    with found.step("group time"):
        group, frames = _whole_group(adapter, config)
        is_cuda = adapter.device.type == "cuda"
        score_group(adapter, frames, group, config)
        if is_cuda:
            for index in range(torch.cuda.device_count()):
                torch.cuda.reset_peak_memory_stats(index)
        start = time.perf_counter()
        scored: ScoredGroup = score_group(adapter, frames, group, config)
        seconds = time.perf_counter() - start
        tokens = len(group.patches) * group.geometry.tokens_per_patch
        parts = f"encode {scored.encode_s:.3f} s, prefill {scored.prefill_s:.3f} s, score {scored.score_s:.3f} s"
        found.add(
            "group time",
            is_ok=True,
            found=f"{len(frames)} frames, {tokens:,} visual tokens, {len(group.questions)} questions: {seconds:.3f} s "
            f"({parts}), {tokens / seconds:,.0f} tokens/s",
        )
        _check_memory_plan(found, adapter, config, identity, is_cuda=is_cuda)


def _check_memory_plan(
    found: Examination, adapter: Adapter[Any], config: RunConfig, identity: ModelIdentity, *, is_cuda: bool
) -> None:
    if identity.size is None:
        return
    element_bytes = adapter.stock.dtype.itemsize
    need = plan_need(identity.size, config.model, config, identity.layout, element_bytes=element_bytes, is_gpu=is_cuda)
    if not is_cuda:
        planned = f"{need.total_bytes / _GIB:.2f} GiB planned, of which weights {need.weight_bytes / _GIB:.2f} GiB"
        found.add("memory plan", is_ok=None, found=f"{planned}; a peak is measured on GPUs only")
        return
    used = [index for index in range(torch.cuda.device_count()) if torch.cuda.max_memory_allocated(index)]
    planned_bytes = place_layers(need, len(used)).device_bytes
    peaks = [torch.cuda.max_memory_allocated(index) for index in used]
    lines = [
        f"cuda:{index} {peak / _GIB:.2f} of {plan / _GIB:.2f} GiB planned"
        for index, peak, plan in zip(used, peaks, planned_bytes, strict=True)
    ]
    found.add(
        "memory plan",
        is_ok=all(peak <= _PLAN_SLACK * plan for peak, plan in zip(peaks, planned_bytes, strict=True)),
        found="peak of a group: " + ", ".join(lines),
        remedy="lower scoring.question_batch or scoring.encode_patches for now, and send this card to the developers",
    )


def _whole_group(adapter: Adapter[Any], config: RunConfig) -> tuple[GroupInput, Any]:
    sampling = config.sampling
    geometry = adapter.frame_geometry(_HEIGHT, _WIDTH, min_pixels=sampling.min_pixels, max_pixels=sampling.max_pixels)
    num_patches = max(1, sampling.frames_per_group // adapter.frames_per_patch)
    shape = (num_patches * adapter.frames_per_patch, geometry.height, geometry.width, 3)
    frames = np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)
    options = ("yes", "no")
    questions = tuple(
        Question(question_id=str(number), video="doctor", text="Is it?", options=options, row_index=number)
        for number in range(config.scoring.question_batch)
    )
    group = GroupInput(
        group_index=0,
        geometry=geometry,
        patches=np.arange(num_patches),
        questions=questions,
        batches=(tuple(range(len(questions))),),
        patch_centers_s=(np.arange(num_patches, dtype=np.float64) + 0.5)
        * adapter.frames_per_patch
        / sampling.sample_fps,
    )
    return group, frames


def _note_needles(found: Examination, needles: NeedleFindings, config: RunConfig) -> None:
    """A proposal, not a verdict: few pictures, and coloured shapes are easy."""
    best, preset = needles.best_layer, config.scoring.reference_layer
    rate = needles.hit_rate_L[best]
    at_preset = f"the preset's layer {preset} {needles.hit_rate_L[preset]:.0%}"
    layers = f"layer {best} finds {rate:.0%} of a needle's tokens, {at_preset}"
    about = f"chance {needles.chance:.0%}; {needles.num_right} of {needles.num_needles} colours right"
    stop = needles.stop_entropy
    is_found = rate >= _FINDS_NEEDLES * needles.chance
    proposal = [f"scoring.reference_layer={best}"] if is_found else []
    proposal += [f"stopping.stop_entropy={stop:.2g}"] if stop is not None else []
    text = " ".join(f"--set {setting}" for setting in proposal) or "nothing: no layer is better than chance"
    found.add("needles", is_ok=True if is_found else None, found=f"{layers} ({about}); proposed: {text}")
    found.facts["Needles"] = [
        ("chance", f"{needles.chance:.1%}"),
        *((f"layer {layer}", f"{value:.1%}") for layer, value in enumerate(needles.hit_rate_L) if value == value),
        ("median entropy with the needle", f"{np.median(needles.seen_entropies):.3f}"),
        ("median entropy without it", f"{np.median(needles.unseen_entropies):.3f}"),
    ]
