"""Placement by layers: against all possible ways for small models, and for the published shapes."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen2_5_VLForConditionalGeneration

from pipeline.models.devices.map import module_devices, place_layers, plan_gpus, usable_bytes
from pipeline.models.devices.memory_plan import MemoryNeed, estimate_need, measure_model, plan_workload
from pipeline.models.qwen.layout import QwenLayout
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import RunConfig
from tests.unit.models.devices.published_shapes import qwen2_5_vl_7b, qwen2_5_vl_72b
from tests.unit.models.tiny_models import BUILDERS

GIB = 1024**3


def a_need(layers, *, first=0, last=0, vision=0, text=0):
    return MemoryNeed(
        first_bytes=first,
        layer_bytes=tuple(layers),
        last_bytes=last,
        vision_bytes=vision,
        text_bytes=text,
        weight_bytes=first + sum(layers) + last,
    )


def fullest(need, cuts):
    """Bytes of the fullest device when the layers are cut before these numbers."""
    bounds = [0, *cuts, len(need.layer_bytes)]
    loads = [sum(need.layer_bytes[a:b]) + need.text_bytes for a, b in pairwise(bounds)]
    loads[0] += need.first_bytes + max(0, need.vision_bytes - need.text_bytes)
    loads[-1] += need.last_bytes
    return max(loads)


SIZES = st.integers(min_value=1, max_value=50)
NEEDS = st.builds(a_need, st.lists(SIZES, min_size=1, max_size=7), first=SIZES, last=SIZES, vision=SIZES, text=SIZES)


@settings(deadline=None)
@given(need=NEEDS, data=st.data())
def test_the_fullest_device_holds_as_little_as_any_cut_allows(need, data):
    num_layers = len(need.layer_bytes)
    num_devices = data.draw(st.integers(min_value=1, max_value=num_layers))
    plan = place_layers(need, num_devices)
    assert sum(plan.layers_per_device) == num_layers
    assert min(plan.layers_per_device) >= 1
    ways = combinations(range(1, num_layers), num_devices - 1)
    assert max(plan.device_bytes) == min(fullest(need, cuts) for cuts in ways)


def test_one_device_takes_all():
    plan = place_layers(a_need([5, 6], first=10, last=3, vision=7, text=2), 1)
    assert plan.layers_per_device == (2,)
    assert plan.device_bytes == (10 + 11 + 3 + 7,)


@pytest.mark.parametrize("num_devices", [0, 3])
def test_more_devices_than_layers_are_refused(num_devices):
    with pytest.raises(ValueError, match=f"between 1 and the model's 2 layers, got {num_devices}"):
        place_layers(a_need([5, 6]), num_devices)


@settings(deadline=None)
@given(need=NEEDS, gpu_bytes=st.integers(min_value=20, max_value=600))
def test_no_fewer_gpus_would_do(need, gpu_bytes):
    try:
        num_gpus = len(plan_gpus(need, gpu_bytes=gpu_bytes).device_bytes)
    except ValueError:
        num_gpus = len(need.layer_bytes) + 1
    assert num_gpus > len(need.layer_bytes) or max(place_layers(need, num_gpus).device_bytes) <= usable_bytes(gpu_bytes)
    for fewer in range(1, num_gpus):
        assert max(place_layers(need, fewer).device_bytes) > usable_bytes(gpu_bytes)


def test_a_gpu_that_cannot_hold_one_layer_is_refused_with_what_it_would_take():
    with pytest.raises(ValueError, match=r"gpu_bytes must be at least 1\d\d .* got 100; lower scoring.question_batch"):
        plan_gpus(a_need([90, 90], text=30), gpu_bytes=100)
    assert len(plan_gpus(a_need([90, 90], text=30), gpu_bytes=127).device_bytes) == 2


def need_of(config, **scoring):
    run = RunConfig() if not scoring else RunConfig(scoring=type(RunConfig().scoring)(**scoring))
    size = measure_model(Qwen2_5_VLForConditionalGeneration, config)
    return estimate_need(size, plan_workload(run, QwenLayout.from_config(config)), element_bytes=2)


@pytest.mark.parametrize(
    ("config", "gpu_gib", "question_batch", "num_gpus"),
    [
        (qwen2_5_vl_7b(), 139, 8, 1),
        (qwen2_5_vl_7b(), 80, 8, 1),
        (qwen2_5_vl_7b(), 24, 8, 1),
        (qwen2_5_vl_7b(), 16, 8, 2),
        (qwen2_5_vl_72b(), 139, 8, 2),
        (qwen2_5_vl_72b(), 80, 8, 2),
        (qwen2_5_vl_72b(), 40, 8, 5),
    ],
)
def test_gpus_for_the_published_shapes_in_bfloat16(config, gpu_gib, question_batch, num_gpus):
    plan = plan_gpus(need_of(config, question_batch=question_batch), gpu_bytes=gpu_gib * GIB)
    assert len(plan.device_bytes) == num_gpus


def test_the_72b_shape_takes_more_than_its_weights_and_less_than_three_halves_of_them():
    plan = plan_gpus(need_of(qwen2_5_vl_72b()), gpu_bytes=139 * GIB)
    assert 136.7 * GIB < sum(plan.device_bytes) < 1.5 * 136.7 * GIB
    assert max(plan.device_bytes) - min(plan.device_bytes) < 4 * GIB  # about two layers


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_device_map_names_every_weight_of_every_family_in_order_of_use(name):
    model, _ = BUILDERS[name]()
    size = measure_model(FAMILIES[name].architecture, model.config)
    num_layers = len(size.layers)
    devices = module_devices(size, (1, num_layers - 1))

    def device_of(weight):
        return next(number for part, number in devices.items() if weight == part or weight.startswith(f"{part}."))

    expected = {}
    for weight, _ in [*model.named_parameters(), *model.named_buffers()]:
        is_late = weight.startswith(("model.language_model.norm", "lm_head")) or (
            ".layers." in weight and "language_model" in weight and ".layers.0." not in weight
        )
        expected[weight] = int(is_late)
    assert {weight: device_of(weight) for weight in expected} == expected
    assert set(expected.values()) == {0, 1}
