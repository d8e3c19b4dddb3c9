"""Parameters against a formula of this file's own, working memory against sums written out."""

import dataclasses
import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlavaOnevisionForConditionalGeneration, Qwen2_5_VLForConditionalGeneration

from pipeline.models.devices.map import place_layers
from pipeline.models.devices.memory_plan import PeakShapes, estimate_need, measure_model, plan_need, plan_workload
from pipeline.models.llava.layout import LlavaLayout
from pipeline.models.qwen.layout import QwenLayout
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import ExecutionConfig, ModelConfig, RunConfig, SamplingConfig, ScoringConfig
from tests.unit.models.devices.published_shapes import (
    glm_4_1v_9b,
    glm_4_5v,
    llava_onevision_7b,
    qwen2_5_vl_7b,
    qwen2_5_vl_72b,
)
from tests.unit.models.tiny_models import BUILDERS

WORK = PeakShapes(
    prefix_tokens=1_000,
    prefix_copies=3,
    question_batch=2,
    question_tokens=100,
    vision_tokens=440,
    candidate_tokens=500,
)


def count_by_formula(config):
    """Parameters of Qwen2.5-VL, term by term: vision tower, embedding and head, decoder layers, last norm."""
    text, vision = config.text_config, config.vision_config
    wide, narrow, inner = text.hidden_size, vision.hidden_size, vision.intermediate_size
    keys = wide // text.num_attention_heads * text.num_key_value_heads
    block = (4 * narrow**2 + 4 * narrow) + (3 * narrow * inner + 2 * inner + narrow) + 2 * narrow
    merged = 4 * narrow
    merger = narrow + merged**2 + merged + merged * wide + wide
    tower = 3 * 2 * 14 * 14 * narrow + vision.depth * block + merger
    attention = 2 * wide**2 + 2 * wide * keys + wide + 2 * keys
    layer = attention + 3 * wide * text.intermediate_size + 2 * wide
    return tower, 2 * text.vocab_size * wide, layer, wide


@pytest.mark.parametrize(
    ("config", "num_parameters"),
    [(qwen2_5_vl_7b(), 8_292_166_656), (qwen2_5_vl_72b(), 73_410_777_344)],
    ids=["7b", "72b"],
)
def test_parameters_of_the_published_shapes_are_counted_exactly(config, num_parameters):
    size = measure_model(Qwen2_5_VLForConditionalGeneration, config)
    tower, embeddings, layer, norm = count_by_formula(config)
    num_layers = config.text_config.num_hidden_layers
    assert size.num_parameters == num_parameters == tower + embeddings + num_layers * layer + norm
    assert list(size.layers.values()) == [layer] * num_layers
    assert sum(size.first.values()) == tower + embeddings // 2
    assert sum(size.last.values()) == embeddings // 2 + norm
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    assert size.num_parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_part_of_every_family_is_counted_once(name):
    model, _ = BUILDERS[name]()
    size = measure_model(FAMILIES[name].architecture, model.config)
    assert size.num_parameters == sum(parameter.numel() for parameter in model.parameters())
    for part, count in (size.first | size.layers | size.last).items():
        own = sum(
            parameter.numel() for name, parameter in model.named_parameters() if f"{name}.".startswith(f"{part}.")
        )
        assert count in (own, 0)
        assert count == own or "lm_head" in part


@pytest.mark.parametrize("name", ["glm4v", "glm4v_moe"])
def test_glms_tower_is_as_wide_as_its_output_and_its_shared_expert_counts(name):
    model, _ = BUILDERS[name]()
    size, tower = measure_model(FAMILIES[name].architecture, model.config), model.model.visual
    text = model.config.text_config
    gated = max(block.mlp.gate_proj.out_features for block in tower.blocks)
    merged = tower.merger.gate_proj.out_features // tower.spatial_merge_size**2  # per patch
    assert size.vision_intermediate == max(gated, merged)
    assert size.vision_hidden == tower.blocks[0].attn.proj.in_features
    assert size.experts_per_token == (text.num_experts_per_tok + text.n_shared_experts if "moe" in name else 0)


def test_llavas_tower_sees_at_most_four_patches_per_token():
    size = measure_model(LlavaOnevisionForConditionalGeneration, llava_onevision_7b())
    layout = LlavaLayout.from_config(llava_onevision_7b())
    assert layout.token_side**2 * size.vision_patches_per_token >= 27**2 > layout.token_side**2 * 3


# Billions of parameters of the sizes that are published.
@pytest.mark.parametrize(
    ("config", "billions"), [(llava_onevision_7b(), 8.03), (glm_4_1v_9b(), 10.29), (glm_4_5v(), 107.71)]
)
def test_a_published_size_has_so_many_parameters(config, billions):
    size = measure_model(FAMILIES[config.model_type].architecture, config)
    assert size.num_parameters / 1e9 == pytest.approx(billions, abs=0.005)


def test_a_head_that_shares_the_embedding_is_counted_with_it_and_stays_beside_it():
    config = qwen2_5_vl_7b()
    config.tie_word_embeddings = True
    size = measure_model(Qwen2_5_VLForConditionalGeneration, config)
    assert size.num_parameters == 8_292_166_656 - 152_064 * 3_584
    assert size.first["lm_head"] == 0
    assert list(size.last) == ["model.language_model.norm"]


@functools.cache
def size_of_7b():
    return measure_model(Qwen2_5_VLForConditionalGeneration, qwen2_5_vl_7b())


def need_of(work=WORK, *, element_bytes=2):
    return estimate_need(size_of_7b(), work, element_bytes=element_bytes)


def test_weights_are_parameters_times_the_bytes_of_their_type():
    assert need_of().weight_bytes == 8_292_166_656 * 2
    assert need_of(element_bytes=4).weight_bytes == 8_292_166_656 * 4


def test_keys_and_values_of_a_group_and_its_questions_lie_with_each_layer():
    # 4 key heads of 128, keys and values, two bytes; the prefix three times, two questions of 100 tokens
    expected = 2 * 4 * 128 * 2 * (3 * 1_000 + 2 * 100)
    layer_weights = 233_057_792 * 2
    assert need_of().layer_bytes == (layer_weights + expected,) * 28


def test_candidates_lie_beside_the_embedding_and_logits_beside_the_head():
    need, tower_and_embedding, head_and_norm = need_of(), 676_550_144 + 544_997_376, 544_997_376 + 3_584
    assert need.first_bytes - 2 * tower_and_embedding == 2 * 2 * 500 * 3_584 * 2
    assert need.last_bytes - 2 * head_and_norm == 3 * 2 * 152_064 * 4


def test_one_device_holds_everything_but_never_both_kinds_of_working_memory():
    need = need_of()
    kept = need.first_bytes + sum(need.layer_bytes) + need.last_bytes
    assert need.total_bytes == kept + max(need.vision_bytes, need.text_bytes)
    assert 0 < need.vision_bytes < need.text_bytes


@settings(deadline=None, max_examples=30)
@given(
    name=st.sampled_from([field.name for field in dataclasses.fields(PeakShapes)]),
    factor=st.integers(min_value=2, max_value=9),
)
def test_no_shape_makes_the_need_smaller_when_it_grows(name, factor):
    larger = dataclasses.replace(WORK, **{name: getattr(WORK, name) * factor})
    assert need_of(larger).total_bytes >= need_of().total_bytes
    if name != "vision_tokens":  # the tower never works while the larger decoder does
        assert need_of(larger).total_bytes > need_of().total_bytes


LAYOUT = QwenLayout.from_config(qwen2_5_vl_7b())


def test_default_settings_make_groups_of_7040_visual_tokens():
    work = plan_workload(RunConfig(), LAYOUT)
    assert work.vision_tokens == 32 * 220
    assert work.prefix_tokens == 32 * (220 + 16) + 256
    assert (work.question_batch, work.prefix_copies) == (8, 2)
    assert work.candidate_tokens == 7_744 + 157


@pytest.mark.parametrize("max_frames", [64, 10_000, 1_000_000])
def test_a_longer_video_needs_more_memory_only_for_one_candidate_token_per_group(max_frames):
    config = RunConfig(sampling=SamplingConfig(max_frames=max_frames))
    work = plan_workload(config, LAYOUT)
    groups = -(-max_frames // 64)
    assert dataclasses.replace(work, candidate_tokens=0) == dataclasses.replace(
        plan_workload(RunConfig(), LAYOUT), candidate_tokens=0
    )
    assert work.candidate_tokens == 7_744 + groups


def test_a_small_group_is_not_counted_smaller_than_the_final_pass():
    config = RunConfig(sampling=SamplingConfig(frames_per_group=2), scoring=ScoringConfig(question_batch=1))
    work = plan_workload(config, LAYOUT)
    assert work.prefix_tokens == 7_040 + 256
    assert work.vision_tokens == 220
    assert work.prefix_copies == 2


def test_a_token_sent_to_experts_is_there_once_for_each_on_its_way_in_out_and_sorted_back():
    family = FAMILIES["qwen3_vl_moe"]
    config = BUILDERS["qwen3_vl_moe"]()[0].config
    size = measure_model(family.architecture, config)
    text = config.text_config
    assert (size.experts_per_token, size.intermediate) == (2, text.intermediate_size)
    narrow = dataclasses.replace(size, experts_per_token=0)
    prefix = dataclasses.replace(WORK, question_batch=0, question_tokens=0)
    sent, dense = (estimate_need(one, prefix, element_bytes=2).text_bytes for one in (size, narrow))
    assert sent - dense == prefix.prefix_tokens * 3 * 2 * text.hidden_size * 2
    text.moe_intermediate_size = 100
    assert measure_model(family.architecture, config).intermediate == 2 * 100


def plan_7b(*, is_gpu=True, run=None, **model):
    size = measure_model(Qwen2_5_VLForConditionalGeneration, qwen2_5_vl_7b())
    run = run or RunConfig(model=ModelConfig(**model))
    layout = QwenLayout.from_config(qwen2_5_vl_7b())
    return plan_need(size, run.model, run, layout, element_bytes=2, is_gpu=is_gpu), size.num_parameters


def test_layers_in_8_bits_take_a_byte_and_their_channels_a_scale_of_four():
    need, num_parameters = plan_7b(quantization="fp8")
    tower = 32 * (4 * 1_280**2 + 3 * 1_280 * 3_420)  # padded to 3,424 by the time
    decoder = 28 * (2 * 3_584**2 + 2 * 3_584 * 512 + 3 * 3_584 * 18_944)
    channels = 32 * (5 * 1_280 + 2 * 3_420) + 28 * (3 * 3_584 + 2 * 512 + 2 * 18_944)
    assert need.weight_bytes == 2 * num_parameters - tower - decoder + 4 * channels
    assert need.loading.weight_bytes == 2 * num_parameters
    assert plan_7b()[0].loading is None


def test_weights_arrive_in_16_bits_before_they_are_in_8():
    small = RunConfig(model=ModelConfig(quantization="fp8"), scoring=ScoringConfig(question_batch=1, encode_patches=1))
    need, num_parameters = plan_7b(run=small)
    assert need.total_bytes == 2 * num_parameters  # more than afterwards with all else
    for num_devices in (1, 2):
        bytes_by_device = place_layers(need, num_devices).device_bytes
        assert sum(bytes_by_device) >= 2 * num_parameters


def test_captured_steps_hold_one_copy_of_the_longest_prefix_and_slots_of_four_shapes():
    need, _ = plan_7b()
    prefix, own = 8 * 1_024, 8 * 576  # 32 * (220 + 16) + 256 tokens in steps of 1,024; 255 + 256 + 64 in steps of 64
    assert need.captured_bytes == (prefix + 4 * own) * 2 * 512 * 2
    usual = plan_7b(fusion="off")[0]
    assert usual.captured_bytes == plan_7b(is_gpu=False)[0].captured_bytes == 0
    assert need.total_bytes - usual.total_bytes == 28 * need.captured_bytes
    one, two = (place_layers(plan, 1).device_bytes[0] for plan in (usual, need))
    assert two - one == 28 * need.captured_bytes
    assert place_layers(usual, 2) == place_layers(need, 2)  # nothing is captured on two devices


def test_frames_and_decoders_on_the_gpu_are_counted_where_scorers_decode():
    sampling, buffer_bytes = SamplingConfig(decoder="nvdec"), 3 * 1024**3
    run = RunConfig(execution=ExecutionConfig(frame_buffer_bytes=buffer_bytes))
    usual, _ = plan_7b(run=run)
    need, _ = plan_7b(run=dataclasses.replace(run, sampling=sampling))
    assert need.total_bytes - usual.total_bytes == buffer_bytes + 4 * 640 * 1024**2
    assert place_layers(need, 2).device_bytes != place_layers(usual, 2).device_bytes
