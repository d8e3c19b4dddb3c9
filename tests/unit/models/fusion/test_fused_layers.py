"""Whole fused models against the same models unfused, in every family and text model."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from pipeline.models.fusion import swap
from pipeline.models.fusion.regions import build_regions
from pipeline.models.fusion.setup import fuse_exact, fusion_of, set_up_fusion, unfused, use_uncompiled
from pipeline.models.fusion.stream import Pending
from pipeline.models.fusion.swap import fuse_layers, plan_swaps
from tests.cuda_on_cpu.passes import QUESTIONS, build_model, run_video
from tests.unit.models.tiny_models import BUILDERS, CASES, build_case

ROWS = (67, 1)
STOCK = ("qwen3_5", "glm4")  # families of which nothing is fused yet
FUSED = [family for family in BUILDERS if not family.startswith(STOCK)]


def fused(family, dtype):
    model = build_model(family, dtype=dtype)
    fuse_exact(model.stock, is_compiled=False, row_counts=ROWS)
    return model


@pytest.mark.parametrize("family", FUSED)
def test_a_fused_model_scores_and_answers_as_the_unfused_one(family):
    expected, actual = run_video(build_model(family, dtype=torch.float32)), run_video(fused(family, torch.float32))
    for one, other in zip(expected.groups, actual.groups, strict=True):
        for question in range(len(QUESTIONS)):
            assert one.scores[question].response == other.scores[question].response
            assert one.scores[question].certainty == pytest.approx(other.scores[question].certainty, abs=1e-6)
            np.testing.assert_allclose(*(group.candidates.scores[question] for group in (one, other)), atol=1e-6)
    for one, other in zip(expected.answers, actual.answers, strict=True):
        assert (one.answer_text, one.kept) == (other.answer_text, other.kept)
        assert one.answer_entropy == pytest.approx(other.answer_entropy, abs=1e-6)


@pytest.mark.parametrize("family", FUSED)
def test_every_layer_of_these_families_is_fused(family):
    stock = build_model(family, dtype=torch.float32).stock
    names = {type(swap.module).__name__ for swap in plan_swaps(stock)}
    layers = stock.model.language_model.layers
    assert {type(part).__name__ for part in (layers[0], layers[0].self_attn, layers[0].input_layernorm)} <= names
    if family != "llava_onevision":  # its tower, SigLIP, stays stock
        tower = stock.model.visual.blocks if hasattr(stock.model, "visual") else stock.model.vision_tower.encoder.layer
        assert type(tower[0]).__name__ in names
    fusion = fuse_exact(stock, is_compiled=False, row_counts=ROWS)
    assert fusion.is_whole
    assert len(fusion.layers.replaced) == fusion.num_calls
    assert fusion_of(stock) is fusion


@pytest.mark.parametrize("family", [family for family in BUILDERS if family not in FUSED])
def test_models_of_other_families_stay_stock(family):
    stock = build_model(family, dtype=torch.float32).stock
    fusion = fuse_exact(stock, is_compiled=False, row_counts=ROWS)
    assert (fusion.num_calls, fusion.is_whole) == (0, True)
    assert not any("forward" in module.__dict__ for module in stock.modules())


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith(STOCK)])
def test_hidden_states_of_every_text_model_are_those_of_stock(name):
    stock = copy.deepcopy(build_case(name).stock)
    language, width = stock.model.language_model, stock.config.text_config.hidden_size
    generator = torch.Generator().manual_seed(4)
    one, two = (torch.randn(rows, 11, width, generator=generator) for rows in (1, 2))
    layers = use_uncompiled(stock)
    with torch.inference_mode():
        for inputs in (one, two):  # rotary positions of several rows are left to stock
            actual = language(inputs_embeds=inputs, use_cache=False).last_hidden_state
            with layers.off():
                expected = language(inputs_embeds=inputs, use_cache=False).last_hidden_state
            torch.testing.assert_close(actual, expected, atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "internvl"])
def test_in_half_precision_a_fused_model_is_no_further_from_the_exact_one(family):
    errors = {}
    exact = _features(build_model(family, dtype=torch.float32)).double()
    for name, model in (("stock", build_model(family, dtype=torch.bfloat16)), ("fused", fused(family, torch.bfloat16))):
        errors[name] = float((_features(model).double() - exact).square().mean().sqrt())
    assert errors["fused"] <= 1.05 * errors["stock"]


def _features(model):
    geometry = model.frame_geometry(168, 140, min_pixels=2_000, max_pixels=30_000)
    shape = (4 * model.frames_per_patch, geometry.height, geometry.width, 3)
    frames = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    return model.encode(frames, geometry, batch_patches=2)


def test_inside_unfused_a_model_is_stock_and_afterwards_fused_again():
    stock = build_model("qwen3_vl", dtype=torch.float32).stock
    text = stock.model.language_model
    by_index = text._deepstack_process  # the adapter's
    fuse_exact(stock, is_compiled=False, row_counts=ROWS)
    calls = [text.layers[0].forward, text.layers[0].mlp.forward, text._deepstack_process]
    with unfused(stock):
        assert not any("forward" in module.__dict__ for module in stock.modules())
        assert text._deepstack_process is by_index
    assert [text.layers[0].forward, text.layers[0].mlp.forward, text._deepstack_process] == calls
    with unfused(build_model("internvl", dtype=torch.float32).stock):
        pass  # nothing was fused


def test_what_is_not_exact_stays_stock_and_takes_its_layers_along():
    stock = build_model("qwen2_5_vl", dtype=torch.float32).stock
    swaps = plan_swaps(stock)
    needs = frozenset(need for one in swaps for need in one.needs)
    exact = frozenset(need for need in needs if need.region != "add_rms_norm")
    fuse_layers(swaps, build_regions(is_compiled=False), exact=exact)
    layer = stock.model.language_model.layers[0]
    assert "forward" not in layer.__dict__
    assert "forward" in layer.mlp.__dict__
    assert "forward" in layer.input_layernorm.__dict__


def test_only_the_last_layer_and_those_that_are_read_hand_on_a_plain_stream():
    model = build_model("qwen3_vl", dtype=torch.float32)
    use_uncompiled(model.stock)
    tower, kinds = model.stock.model.visual, []
    for index, block in enumerate(tower.blocks):
        block.register_forward_hook(lambda module, args, out, at=index: kinds.append((at, isinstance(out, Pending))))
    _features(model)
    plain = {*tower.deepstack_visual_indexes, len(tower.blocks) - 1}
    assert dict(kinds) == {index: index not in plain for index in range(len(tower.blocks))}


def test_a_hook_around_a_module_stays_around_what_is_put_in_its_place():
    from accelerate.hooks import ModelHook, add_hook_to_module

    stock, seen = build_model("qwen2_5_vl", dtype=torch.float32).stock, []

    class Seen(ModelHook):
        def pre_forward(self, module, *args, **kwargs):
            seen.append(module)
            return args, kwargs

    layer = stock.model.language_model.layers[1]
    add_hook_to_module(layer, Seen())
    layers = use_uncompiled(stock)
    inputs = torch.randn(1, 5, stock.config.text_config.hidden_size)
    with torch.inference_mode():
        actual = stock.model.language_model(inputs_embeds=inputs).last_hidden_state
        assert seen == [layer]
        with layers.off():
            expected = stock.model.language_model(inputs_embeds=inputs).last_hidden_state
    torch.testing.assert_close(actual, expected, atol=2e-6, rtol=1e-6)


def test_on_the_cpu_nothing_is_fused_nor_where_the_setting_is_off():
    stock = build_model("qwen2_5_vl", dtype=torch.float32).stock
    assert set_up_fusion(stock, "auto") is None
    assert set_up_fusion(stock, "off") is None
    assert not any("forward" in module.__dict__ for module in stock.modules())


def test_every_class_that_is_fused_exists_in_the_installed_transformers():
    folder = Path(transformers.__file__).parent / "models"
    rooms = ("qwen2", "qwen3", "qwen3_moe", "llama", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "internvl")
    source = "".join((folder / room / f"modeling_{room}.py").read_text() for room in rooms)
    assert [name for name in swap._PLANS if f"class {name}(" not in source] == []
