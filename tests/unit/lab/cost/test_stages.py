"""The product's code on a fake GPU against FLOPs counted from the configuration alone."""

from functools import cache
from unittest import mock

import pytest

from pipeline.lab.benchmarks.model_shapes import SHAPES, ModelShape
from pipeline.lab.cost import stages as counting
from pipeline.lab.cost.report import format_table, predict_video
from pipeline.lab.cost.roofline import GpuRates, KernelKind
from pipeline.lab.cost.stages import ENCODE, FINAL, PREFILL, TOKEN, CostCase, count_stages, score_stage
from pipeline.planning.flop_floor import LanguageFlops, count_vision_flops


def small_shape():
    settings = SHAPES["tiny"].settings
    text = settings["text_config"] | {"num_hidden_layers": 2}
    vision = settings["vision_config"] | {"depth": 2, "fullatt_block_indexes": [1]}
    return ModelShape(family="qwen2_5_vl", settings=settings | {"text_config": text, "vision_config": vision})


@cache
def counted(is_fused):
    case = CostCase(
        shape="small", is_fused=is_fused, num_frames=4, height=112, width=112, question_counts=(1,), token_budget=20
    )
    with mock.patch.object(counting, "SHAPES", {"small": small_shape()}):
        return count_stages(case)


def flops(stage, *, is_fused=True):
    kinds = (KernelKind.MATRIX, KernelKind.ATTENTION)
    return sum(launch.flops for launch in counted(is_fused).launches[stage] if launch.kind in kinds)


@pytest.mark.parametrize("is_fused", [False, True])
def test_flops_are_those_of_the_configuration(is_fused):
    found = counted(is_fused)
    language = LanguageFlops.from_config(found.config)
    vision = count_vision_flops(found.config, found.geometry)
    assert flops(ENCODE, is_fused=is_fused) == found.case.num_frames // found.frames_per_patch * vision
    assert flops(PREFILL, is_fused=is_fused) == language.forward(found.prefix_length)
    suffix = found.case.question_tokens
    every_pair = suffix * (found.prefix_length + suffix) * language.per_pair
    linear = suffix * language.per_position + language.per_logits
    assert linear < flops(score_stage(1), is_fused=is_fused) <= linear + every_pair
    assert flops(FINAL, is_fused=is_fused) >= language.forward(found.final_length) + 2 * language.per_logits
    assert flops(TOKEN, is_fused=is_fused) > language.per_position + language.per_logits


def test_fusion_leaves_the_products_and_takes_most_of_the_rest():
    for stage in (ENCODE, PREFILL):  # questions and answers go other ways, too, with products of their own
        before, after = (counted(is_fused).launches[stage] for is_fused in (False, True))
        products = [
            [launch.shape for launch in launches if launch.kind is KernelKind.MATRIX] for launches in (before, after)
        ]
        assert products[0] == products[1]
        assert len(after) < 0.65 * len(before)
        assert sum(launch.num_bytes for launch in after) < sum(launch.num_bytes for launch in before)


def test_a_fused_layer_of_the_language_model_launches_what_it_must():
    layers = counted(True).config.text_config.num_hidden_layers
    regions = [launch.name for launch in counted(True).launches[PREFILL] if launch.kind is KernelKind.FUSED]
    assert regions.count("region gated_silu") == layers
    assert regions.count("region rotate") == 2 * layers  # queries, and keys
    assert regions.count("region add_rms_norm") == 2 * layers - 1
    assert regions.count("region rms_norm") == 2  # before the first layer and behind the last


def test_a_video_is_its_groups_and_final_passes_and_the_table_shows_both_ways():
    machine = GpuRates()
    one = predict_video(counted(True), machine, num_questions=1, num_frames=8)
    stages = {stage: machine.stage_seconds(launches) for stage, launches in counted(True).launches.items()}
    expected = 2 * (stages[ENCODE] + stages[PREFILL] + stages[score_stage(1)]) + stages[FINAL]
    assert one.seconds == pytest.approx(expected)
    assert 0 < one.share < 1
    table = format_table(counted(False), counted(True), machine)
    before, after = (len(counted(is_fused).launches[ENCODE]) for is_fused in (False, True))
    assert f"| encode | {before:,} → {after:,} |" in table
    assert "| 10,000 frames, questions |" in table
