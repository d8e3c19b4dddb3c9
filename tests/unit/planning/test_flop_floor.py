"""FLOPs from the configuration alone, against torch's own counter on tiny models, and the figures of the 7B shape."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache

from pipeline.lab.benchmarks.model_shapes import SHAPES
from pipeline.lab.benchmarks.random_models import build_config, build_stock_model, count_parameters, family_tokenizer
from pipeline.method.grouping import plan_groups
from pipeline.models.registry import FAMILIES
from pipeline.models.text_model import cache_argument
from pipeline.planning.flop_floor import (
    ENCODE,
    FINAL,
    PREFILL,
    SCORE,
    LanguageFlops,
    RunWork,
    count_flops,
    count_vision_flops,
)
from tests.unit.models.tiny_models import BUILDERS

ISSUE_RESOLUTION = (308, 560)


def config_of(shape):
    tokenizer = family_tokenizer(SHAPES[shape].family)
    return build_config(SHAPES[shape], tokenizer)


def geometry_of(config, height, width):
    layout = FAMILIES[config.model_type].read_layout(config)
    return layout.frame_geometry(height, width, min_pixels=1, max_pixels=height * width)


def count(call):
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        call()
    return counter.get_total_flops()


# 6 x 5 tokens: windows of 4 x 4, 2 x 4, 4 x 1 and 2 x 1 tokens
CASES = {
    "tiny": (168, 140),
    "qwen3_vl": (128, 96),
    "qwen3_vl_moe": (96, 64),
    "qwen3_5": (128, 96),
    "qwen3_5_moe": (96, 64),
    "internvl": (100, 200),
    "glm4v": (84, 56),
    "glm4v_moe": (140, 84),
    "llava_onevision": (100, 200),
}


@pytest.fixture(scope="module", params=sorted(CASES))
def tiny(request):
    torch.set_num_threads(1)
    if request.param == "tiny":
        model = build_stock_model(config_of("tiny"), device="cpu", dtype=torch.float32)
    else:
        model, _ = BUILDERS[request.param]()
    model.set_attn_implementation("eager")
    if "moe" in request.param:
        model.set_experts_implementation("eager")  # what torch counts
    return model, geometry_of(model.config, *CASES[request.param])


def test_the_vision_tower_costs_what_torch_counts(tiny):
    model, geometry = tiny
    num_patches = 2
    if model.config.model_type == "internvl":
        pixels = torch.zeros(num_patches, 3, geometry.height, geometry.width)
        counted = count(lambda: model.model.get_image_features(pixel_values=pixels))
    elif model.config.model_type == "llava_onevision":
        pixels = torch.zeros(1, num_patches, 3, geometry.height, geometry.width)
        counted = count(lambda: model.model.get_video_features(pixels))
    else:
        vision = model.config.vision_config
        rows, columns = geometry.height // vision.patch_size, geometry.width // vision.patch_size
        pixels = torch.zeros(num_patches * rows * columns, 3 * 2 * vision.patch_size**2)
        grid = torch.tensor([[num_patches, rows, columns]])
        counted = count(lambda: model.model.get_video_features(pixels, grid))
    assert num_patches * count_vision_flops(model.config, geometry) == pytest.approx(counted, rel=0.02)


def test_the_language_model_costs_what_torch_counts_with_and_without_a_cache(tiny):
    model, _ = tiny
    language = LanguageFlops.from_config(model.config)
    cache = DynamicCache(config=model.config)

    def run(num_tokens, position):
        ids = torch.ones(1, num_tokens, dtype=torch.long)
        positions = torch.arange(position, position + num_tokens)[None]
        if model.config.model_type not in ("internvl", "llava_onevision"):
            positions = positions.expand(3, 1, -1)
        mask = torch.ones(1, position + num_tokens, dtype=torch.long)
        model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            logits_to_keep=1,
            **{cache_argument(model): cache},
        )

    prefix, suffix = 90, 23
    expected = language.forward(prefix, is_dense=True) + language.per_logits + beyond_the_floor(model.config, prefix)
    assert expected == pytest.approx(count(lambda: run(prefix, 0)), rel=0.02)
    expected = language.forward(suffix, before=prefix, is_dense=True) + language.per_logits
    expected += beyond_the_floor(model.config, suffix)
    assert expected == pytest.approx(count(lambda: run(suffix, prefix)), rel=0.02)


def beyond_the_floor(config, tokens, chunk=64):
    """What stock code's gated delta rule does besides: whole chunks, and products of the tokens within each."""
    text = config.text_config
    if "linear_attention" not in (getattr(text, "layer_types", None) or ()):
        return 0
    key, value, padded = text.linear_key_head_dim, text.linear_value_head_dim, -(-tokens // chunk) * chunk
    state, within = 3 * key * value, chunk * (2 * key + value)
    heads = text.layer_types.count("linear_attention") * text.linear_num_value_heads
    return 2 * heads * (padded * (state + within) - tokens * state)


@settings(deadline=None)
@given(positions=st.integers(1, 60), before=st.integers(0, 60), split=st.integers(1, 60))
def test_a_causal_pass_costs_the_same_in_one_piece_or_in_two(positions, before, split):
    flops = LanguageFlops(per_position=1_000, per_pair=7, per_logits=0)
    whole = flops.forward(positions + split, before=before)
    assert whole == flops.forward(positions, before=before) + flops.forward(split, before=before + positions)
    assert flops.forward(1, before=before) == 1_000 + 7 * (before + 1)
    assert flops.forward(positions, before=before, is_dense=True) == positions * (1_000 + 7 * (before + positions))


def work_of(config, geometry, *, num_frames, num_questions):
    num_patches = num_frames // 2
    groups = plan_groups(num_patches, num_groups=-(-num_frames // 64), grouping="interleaved")
    lengths = [len(group) * geometry.tokens_per_patch for group in groups]
    return RunWork(
        num_patches=num_patches,
        prefix_lengths=lengths,
        suffix_length=100,
        num_questions=num_questions,
        final_lengths=[7_140] * num_questions,
        answer_tokens=1,
    )


# Work that the issue names: everything before the questions.
@pytest.mark.parametrize(
    ("num_frames", "language", "vision", "total"), [(4_096, 6.5, 2.35, 8.9), (10_000, 15.9, 5.75, 21.7)]
)
def test_the_7b_shape_needs_the_arithmetic_that_the_task_names(num_frames, language, vision, total):
    config = config_of("qwen2.5-vl-7b")
    geometry = geometry_of(config, *ISSUE_RESOLUTION)
    assert geometry.tokens_per_patch == 220
    flops = count_flops(config, geometry, work_of(config, geometry, num_frames=num_frames, num_questions=1))
    assert flops[PREFILL] / 1e15 == pytest.approx(language, abs=0.05)
    assert flops[ENCODE] / 1e15 == pytest.approx(vision, abs=0.05)
    assert (flops[PREFILL] + flops[ENCODE]) / 1e15 == pytest.approx(total, abs=0.05)


def test_sixteen_questions_need_a_third_more_than_one():
    config = config_of("qwen2.5-vl-7b")
    geometry = geometry_of(config, *ISSUE_RESOLUTION)
    one, sixteen = (
        count_flops(config, geometry, work_of(config, geometry, num_frames=4_096, num_questions=n)) for n in (1, 16)
    )
    assert sum(sixteen.values()) / sum(one.values()) == pytest.approx(1.34, abs=0.01)
    assert (sixteen[ENCODE], sixteen[PREFILL]) == (one[ENCODE], one[PREFILL])
    assert (sixteen[SCORE], sixteen[FINAL]) == (16 * one[SCORE], 16 * one[FINAL])


def test_answer_tokens_after_the_first_cost_a_pass_over_one_position_each():
    config = config_of("tiny")
    geometry, language = geometry_of(config, 112, 112), LanguageFlops.from_config(config)
    work = {"num_patches": 1, "prefix_lengths": [], "suffix_length": 1, "num_questions": 1, "final_lengths": [50]}
    final = count_flops(config, geometry, RunWork(**work, answer_tokens=3))[FINAL]
    steps = language.forward(50) + language.forward(1, before=50) + language.forward(1, before=51)
    assert final == steps + 3 * language.per_logits


# Billions of parameters, as the checkpoints' published safetensors hold them.
@pytest.mark.parametrize(
    ("shape", "billions"),
    [
        ("qwen2.5-vl-3b", 3.75),
        ("qwen2.5-vl-7b", 8.29),
        ("qwen2.5-vl-72b", 73.41),
        ("qwen3-vl-8b", 8.77),
        ("internvl3-8b", 7.94),
    ],
)
def test_a_shape_has_as_many_parameters_as_the_published_checkpoint(shape, billions):
    assert count_parameters(config_of(shape)) / 1e9 == pytest.approx(billions, abs=0.005)
