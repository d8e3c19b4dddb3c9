"""The product's own code at a published shape on a fake GPU: what each stage of the method launches.

Encode and prefill of one group, scoring it for some questions, one final pass, and one more token of an open answer.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any
from unittest import mock

import numpy as np
import torch

from pipeline.lab.benchmarks.model_run import build_questions
from pipeline.lab.benchmarks.model_shapes import SHAPES
from pipeline.lab.benchmarks.random_models import build_config, family_tokenizer
from pipeline.lab.cost.fake_gpu import DEVICE, fake_gpu, place_module
from pipeline.lab.cost.recorder import Recorder
from pipeline.lab.cost.roofline import Launch
from pipeline.models.devices.fp8_linear import NarrowRows, narrow_linears
from pipeline.models.devices.gpu_layers import fit_layers_to_gpu
from pipeline.models.fusion.setup import use_uncompiled
from pipeline.models.interface import FinalTokens, FrameGeometry, QuestionPrompt
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import RunConfig

ENCODE, PREFILL, FINAL, TOKEN = "encode", "prefill", "final pass", "open answer, a token"
_OPEN_TOKENS = 9  # of the answer from which the cost of one is taken
_PATHS = "pipeline.models.fast_paths"


def score_stage(num_questions: int) -> str:
    """Name of scoring a group for so many questions."""
    return f"score, {num_questions} question{'s' if num_questions > 1 else ''}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CostCase:
    """What is counted.

    Attributes:
        shape: a key of ``SHAPES``.
        is_fused: with ``model.fusion=auto``, as where every region is exact; and with all other fast ways there are.
        is_fp8: with ``model.quantization=fp8``.
        height: of the frames as they come; ``width`` likewise.
    """

    shape: str
    is_fused: bool
    is_fp8: bool = False
    num_frames: int = 64
    height: int = 308
    width: int = 560
    question_counts: tuple[int, ...] = (1, 4, 16)
    question_tokens: int = 100
    token_budget: int = 7_040
    reference_layer: int = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class CountedStages:
    """Launches and memory by stage.

    Attributes:
        config: of the model, for its floor.
        prefix_length: tokens before the question.
        final_length: of the final pass up to the first token of the answer.
        peak_bytes: of tensors, weights included.
    """

    case: CostCase
    config: Any
    geometry: FrameGeometry
    frames_per_patch: int
    prefix_length: int
    final_length: int
    launches: Mapping[str, Sequence[Launch]]
    peak_bytes: Mapping[str, int]


def count_stages(case: CostCase) -> CountedStages:
    """Run every stage once."""
    with fake_gpu() as mode, torch.inference_mode():
        recorder = Recorder(mode)
        with ExitStack() as stack:
            stack.enter_context(recorder.counting_regions())
            model, tokenizer, config = _build(case, recorder)
            stack.enter_context(recorder)
            return _run_stages(case, recorder, model, tokenizer, config)


def _build(case: CostCase, recorder: Recorder) -> tuple[Any, Any, Any]:
    shape = SHAPES[case.shape]
    tokenizer, family = family_tokenizer(shape.family), FAMILIES[shape.family]
    config = build_config(shape, tokenizer)
    with torch.device("meta"):
        stock = family.architecture._from_config(config, dtype=torch.bfloat16, attn_implementation="eager")
    place_module(stock, recorder.mode)
    stock.eval().requires_grad_(False)
    stock.set_attn_implementation(dict(family.attention))
    with recorder.mode:
        fit_layers_to_gpu(stock)
    for tensor in (*stock.parameters(), *stock.buffers()):
        recorder.track(tensor)
    model = family.build(stock, tokenizer, name=case.shape, revision="0")
    if case.is_fused:
        use_uncompiled(stock)
    if case.is_fp8:
        with recorder.mode:
            narrow_linears(stock, NarrowRows(is_compiled=False))
        for buffer in stock.buffers():
            recorder.track(buffer)
    if case.is_fused:
        with recorder:
            _use_fast_paths(model, recorder)
    return model, tokenizer, config


def _run_stages(case: CostCase, recorder: Recorder, model: Any, tokenizer: Any, config: Any) -> CountedStages:
    geometry = model.frame_geometry(case.height, case.width, min_pixels=1, max_pixels=case.height * case.width)
    frames = torch.empty((case.num_frames, geometry.height, geometry.width, 3), dtype=torch.uint8, device=DEVICE)
    patches = case.num_frames // model.frames_per_patch
    settings = RunConfig().scoring
    layer = min(case.reference_layer, model.num_layers - 1)
    settings = replace(settings, reference_layer=layer)
    batch, centers_s = settings.question_batch, np.arange(patches) + 0.25
    prompts = _build_prompts(case, model, tokenizer)

    # the first group of a video: plans and masks that are kept are among it
    recorder.stage = ENCODE
    features = model.encode(frames, geometry, batch_patches=settings.encode_patches)
    recorder.stage = PREFILL
    prefix = model.prefill(features, geometry, patch_s=1.0, center_s_P=centers_s)
    for count in case.question_counts:
        recorder.stage = score_stage(count)
        batches = [prompts[start : min(start + batch, count)] for start in range(0, count, batch)]
        for pending in [model.launch(prefix, asked, settings) for asked in batches]:
            pending.read()
    for name, most in (("captured", _OPEN_TOKENS), (f"{TOKEN}, 1", 1), (f"{TOKEN}, {_OPEN_TOKENS}", _OPEN_TOKENS)):
        recorder.stage = name
        prompt = replace(prompts[0], option_ids=None, max_tokens=most)
        model.launch(prefix, [prompt], settings).read()
    recorder.stage = FINAL
    final_length = _run_final(case, model, features, geometry, prompts[0], settings)
    stages = (ENCODE, PREFILL, *(score_stage(count) for count in case.question_counts), FINAL)
    launches: dict[str, Sequence[Launch]] = {stage: recorder.of(stage) for stage in stages}
    longer = recorder.of(f"{TOKEN}, {_OPEN_TOKENS}")[len(recorder.of(f"{TOKEN}, 1")) :]
    launches[TOKEN] = longer[-(len(longer) // (_OPEN_TOKENS - 1)) :]
    return CountedStages(
        case=case,
        config=config,
        geometry=geometry,
        frames_per_patch=model.frames_per_patch,
        prefix_length=prefix.length,
        final_length=final_length,
        launches=launches,
        peak_bytes=dict(recorder.peak_bytes) | {TOKEN: recorder.peak_bytes[f"{TOKEN}, {_OPEN_TOKENS}"]},
    )


def _build_prompts(case: CostCase, model: Any, tokenizer: Any) -> list[QuestionPrompt]:
    most = max(case.question_counts)
    questions = build_questions(tokenizer, SHAPES[case.shape].family, most, num_tokens=case.question_tokens)
    return [model.build_question(question.text, question.options, response_tokens=64) for question in questions]


def _run_final(
    case: CostCase, model: Any, features: Any, geometry: FrameGeometry, prompt: QuestionPrompt, settings: Any
) -> int:
    """A final pass over tokens from all over a video; a letter and the end."""
    count = min(case.token_budget, len(features))
    kept = np.sort(np.random.default_rng(0).permutation(len(features))[:count])
    patch, place = np.divmod(kept, geometry.tokens_per_patch)
    tokens = FinalTokens(
        features_KD=torch.empty((count, features.shape[1]), dtype=torch.bfloat16, device=DEVICE),
        patch_K=patch,
        time_s_K=patch * 1.0,
        row_K=place // geometry.token_columns,
        column_K=place % geometry.token_columns,
        geometry=geometry,
    )
    model.answer(tokens, prompt, positions="compact", patch_s=1.0, max_tokens=2, config=settings)
    sequence = model.show_kept(tokens, positions="compact", patch_s=1.0)
    return len(sequence.ids_T) + len(prompt.suffix_ids)


def _use_fast_paths(model: Any, recorder: Recorder) -> None:
    """Attention by parts and captured steps, where this checkout has them; playing a step costs the host one launch."""
    if find_spec(_PATHS) is None:
        return

    def capture_on(device: torch.device) -> Callable[[Callable[[], None]], Callable[[], None]]:
        return lambda step: lambda: _play(step, recorder)

    taken: dict[str, Any] = {
        "_is_taken": lambda *_: True,
        "capture_on": capture_on,
    }  # numbers, which would be compared, there are none
    with mock.patch.multiple(_PATHS, measure_cascade=mock.DEFAULT, measure_slots=mock.DEFAULT, **taken):
        model.use_fast_paths()


def _play(step: Callable[[], None], recorder: Recorder) -> None:
    first, recorder.is_replayed = len(recorder.launches), True
    try:
        step()
    finally:
        recorder.is_replayed = False
    if first < len(recorder.launches):
        recorder.launches[first] = replace(recorder.launches[first], is_replayed=False)
