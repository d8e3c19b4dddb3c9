"""Linear layers in 8 bits on the CPU, which knows their product, too: against all numbers there are, looked through."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.doctor.needle_probe import probe_needles
from pipeline.failures import FailureClass, PipelineError
from pipeline.models import loading
from pipeline.models.devices import fp8_setup
from pipeline.models.devices.fp8_linear import Fp8Linear, NarrowRows, find_linears, narrow_rows
from pipeline.models.devices.fp8_setup import (
    check_linear,
    fp8_layers_of,
    narrow_checked,
    refuse_fp8,
    refuse_packed,
)
from pipeline.models.loading import load_model
from pipeline.settings.config import ModelConfig
from pipeline.settings.presets import preset_for
from tests.cuda_on_cpu.passes import QUESTIONS, build_model, run_video
from tests.unit.models.tiny_models import BUILDERS

HALF = torch.bfloat16
ROWS = (67, 1)
NUMBERS = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).double()  # all that e4m3 knows
EAGER = NarrowRows(is_compiled=False)


def round_trip(rows):
    """To the nearest number of e4m3 and back, by looking at all of them; of two equally near ones the even one."""
    scales = rows.float().abs().amax(-1, keepdim=True) / 448
    scales[scales == 0] = 1
    distances = ((rows.float() / scales).double()[..., None] - NUMBERS).abs()
    distances += torch.arange(256) % 2 * 1e-9
    return NUMBERS[distances.nan_to_num(torch.inf).argmin(-1)] * scales.double()


def make_linear(width=48, channels=32, *, dtype=HALF, bias=True, seed=0):
    torch.manual_seed(seed)
    return nn.Linear(width, channels, bias=bias, dtype=dtype).requires_grad_(False)


def test_rows_become_the_nearest_numbers_each_with_a_scale_of_its_own():
    rows = torch.randn(6, 40, generator=torch.Generator().manual_seed(1)) * torch.logspace(-6, 4, 6)[:, None]
    rows[2] = 0
    numbers, scales = narrow_rows(rows)
    assert (numbers.dtype, scales.shape, scales.dtype) == (torch.float8_e4m3fn, (6, 1), torch.float32)
    torch.testing.assert_close(numbers.double() * scales.double(), round_trip(rows), rtol=1e-6, atol=0)
    assert [float(row.abs().max()) for row in numbers.double()] == [448, 448, 0, 448, 448, 448]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 48), (1, 48), (2, 3, 48)])
def test_a_layer_computes_the_product_of_rounded_rows_and_rounded_channels(shape, bias):
    linear = make_linear(bias=bias)
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(HALF)
    found = Fp8Linear(linear, EAGER)(inputs)
    expected = round_trip(inputs) @ round_trip(linear.weight).T + (linear.bias.double() if bias else 0)
    assert (found.dtype, found.shape) == (HALF, (*shape[:-1], 32))
    torch.testing.assert_close(found.double(), expected, rtol=2**-8, atol=2**-8 * float(expected.abs().max()) / 8)


def test_the_type_of_a_model_and_its_devices_are_what_they_were():
    model = build_model("qwen2_5_vl", dtype=HALF).stock
    narrow_checked(model, is_compiled=False, row_counts=ROWS)
    assert model.dtype is HALF
    assert {parameter.dtype for parameter in model.parameters()} == {HALF}


@pytest.mark.parametrize("family", BUILDERS)
def test_linear_layers_of_tower_and_decoder_are_found_and_nothing_else(family):
    model = build_model(family, dtype=HALF).stock
    names = [name for name, _ in find_linears(model)]
    layer = model.model.language_model.layers[-1]
    kinds = {name.rpartition(".")[2] for name in names if f"language_model.layers.{layer_index(model)}." in name}
    assert {"q_proj", "k_proj", "v_proj", "o_proj"} & {name for name, _ in layer.named_modules(prefix="")} <= kinds
    assert any("visual.blocks." in name or "vision_tower." in name for name in names)
    forbidden = ("lm_head", "embed", "merger", "projector", "norm", "router", ".gate.", "in_proj_a", "in_proj_b")
    assert [name for name in names if any(part in f"{name}." for part in forbidden)] == []
    assert not any(name.endswith(".gate") for name in names)


def layer_index(model):
    return len(model.model.language_model.layers) - 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda layer: layer.scale_1O.mul_(1.02), r"of the kernel 0\.1.% "),
        (lambda layer: layer.scale_1O.mul_(1.07), "error"),
        (lambda layer: layer.weight.copy_(layer.weight.double().to(torch.float8_e5m2).double()), "error"),
        (lambda layer: layer.scale_1O.fill_(torch.nan), "nan"),
    ],
    ids=["2 % off: within", "7 % off", "one bit less", "nan"],
)
def test_a_layer_that_is_wrong_is_found(fault, message):
    linear = make_linear(512, 256)
    layer = Fp8Linear(linear, EAGER)
    assert check_linear(linear, layer, row_counts=ROWS).is_accurate
    fault(layer)
    found = check_linear(linear, layer, row_counts=ROWS)
    assert found.is_accurate == ("kernel" in message)


def test_a_kernel_that_multiplies_wrongly_is_found_though_rounding_would_hide_it(monkeypatch):
    linear = make_linear(512, 256)
    multiply = torch._scaled_mm
    monkeypatch.setattr(torch, "_scaled_mm", lambda *args, **kw: multiply(*args, **kw) * 1.02)
    found = check_linear(linear, Fp8Linear(linear, EAGER), row_counts=ROWS)
    assert found.error < fp8_setup.MOST_ERROR
    assert not found.is_accurate


def test_a_model_with_a_wrong_layer_is_refused_in_one_line(monkeypatch):
    multiply = torch._scaled_mm
    monkeypatch.setattr(torch, "_scaled_mm", lambda *args, **kw: multiply(*args, **kw) * 1.1)
    with pytest.raises(PipelineError, match=r"^model.quantization=fp8 is not accurate on cpu, from .*=off$") as caught:
        narrow_checked(build_model("qwen2_5_vl", dtype=HALF).stock, is_compiled=False, row_counts=ROWS)
    assert caught.value.failure_class is FailureClass.MODEL


@pytest.mark.parametrize(
    ("device", "capability", "version", "dtype", "message"),
    [
        ("cpu", None, "2.13.0", HALF, "needs a GPU of compute capability 8.9 or more, got cpu"),
        ("cuda:0", (8, 0), "2.13.0", HALF, "compute capability 8.9 or more, got 8.0 of cuda:0"),
        ("cuda:0", (8, 9), "2.11.1+cu128", HALF, "needs torch 2.12 or later on a GPU of compute capability 8.9"),
        ("cuda:0", (8, 9), "2.12.0", HALF, None),
        ("cuda:0", (9, 0), "2.8.0", HALF, None),
        ("cuda:0", (12, 0), "2.13.0", HALF, None),
        ("cuda:0", (9, 0), "2.13.0", torch.float16, "works beside bfloat16, got model.dtype=float16"),
    ],
)
def test_where_it_cannot_be_it_is_refused_before_weights_are_read(
    monkeypatch, device, capability, version, dtype, message
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch, "__version__", version)
    config = build_model("qwen2_5_vl", dtype=HALF).stock.config
    if message is None:
        refuse_fp8("tiny", config, dtype, [device])
        return
    with pytest.raises(PipelineError, match=f"^model.quantization=fp8 .*{message}.*quantization=off$"):
        refuse_fp8("tiny", config, dtype, [device])


def test_a_worker_on_the_cpu_says_so_before_it_reads_weights(monkeypatch):
    monkeypatch.delattr(loading, "_load_weights")
    with pytest.raises(PipelineError, match=r"needs a GPU of compute capability 8\.9 or more, got cpu"):
        load_model(ModelConfig(quantization="fp8"), device="cpu")


def test_a_checkpoint_that_is_quantised_already_is_refused():
    config = copy.deepcopy(build_model("qwen2_5_vl", dtype=HALF).stock.config)
    refuse_packed("tiny", config)
    config.text_config.quantization_config = {"quant_method": "awq"}
    with pytest.raises(PipelineError, match=r"model 'tiny' is quantised already; leave model\.quantization=off"):
        refuse_packed("tiny", config)


@pytest.mark.parametrize(
    "family",
    [
        "qwen2_5_vl",
        "internvl",
        pytest.param("qwen3_vl", marks=pytest.mark.slow),
        pytest.param("qwen3_vl_moe", marks=pytest.mark.slow),
        pytest.param("qwen3_5", marks=pytest.mark.slow),
        pytest.param("llava_onevision", marks=pytest.mark.slow),
        pytest.param("glm4v", marks=pytest.mark.slow),
    ],
)
def test_entropies_and_ranks_stay_near_those_of_bfloat16(family):
    """Random weights and widths of 32 to 96, where rounding averages out least: 0.25 of 5.6 nats; ranks as one."""
    usual, narrow = build_model(family, dtype=HALF), build_model(family, dtype=HALF)
    narrow_checked(narrow.stock, is_compiled=False, row_counts=ROWS)
    assert fp8_layers_of(narrow.stock).num_layers == len(list(find_linears(usual.stock)))
    expected, found = run_video(usual), run_video(narrow)
    differences = []
    for one, other in zip(expected.groups, found.groups, strict=True):
        for question in range(len(QUESTIONS)):
            differences.append(abs(one.scores[question].certainty - other.scores[question].certainty))
            ranks = [group.candidates.scores[question] for group in (one, other)]
            assert np.corrcoef(*ranks)[0, 1] > 0.9
    differences += [
        abs(o.answer_entropy - t.answer_entropy) for o, t in zip(expected.answers, found.answers, strict=True)
    ]
    assert 0 < max(differences) < 0.25


def test_the_demo_model_finds_its_needles_and_answers_as_before():
    """Of 6 needles; the attention's hits and the entropies of what is seen move by no more than stated here."""
    model = load_model(ModelConfig(dtype="bfloat16"), device="cpu")
    config = preset_for("demo", num_layers=model.num_layers, is_demo=True)
    config = dataclasses.replace(config, model=ModelConfig(dtype="bfloat16"))
    before = probe_needles(model, config, num_needles=6)
    narrow_checked(model.stock, is_compiled=False, row_counts=ROWS)
    after = probe_needles(model, config, num_needles=6)
    assert before.num_right == after.num_right == 6
    best = before.best_layer
    assert after.best_layer == best
    assert after.hit_rate_L[best] == pytest.approx(before.hit_rate_L[best], abs=0.02)
    np.testing.assert_allclose(after.hit_rate_L, before.hit_rate_L, atol=0.1)
    np.testing.assert_allclose(after.seen_entropies, before.seen_entropies, atol=0.1)
    np.testing.assert_allclose(after.unseen_entropies, before.unseen_entropies, atol=0.3)
