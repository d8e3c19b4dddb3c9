"""Quantised layers, of whatever class: left alone by fusion, 8 bits and padding; counted and refused by device."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.checkpoint_config import read_checkpoint
from pipeline.models.devices import packed_weights
from pipeline.models.devices.fp8_linear import find_linears
from pipeline.models.devices.gpu_layers import PatchProjection, fit_tower
from pipeline.models.devices.memory_plan import StoredPart
from pipeline.models.devices.packed_weights import refuse_packed_on, size_on, stays_packed, unpack_weights
from pipeline.models.fusion.setup import fuse_exact
from tests.cuda_on_cpu.passes import QUESTIONS, build_model, run_video


class Named(nn.Module):
    """As gptqmodel's: no ``weight`` at all."""

    def __init__(self, linear):
        super().__init__()
        self.in_features, self.out_features, self.bias = linear.in_features, linear.out_features, linear.bias
        self.register_buffer("qweight", linear.weight.detach().view(torch.int32))

    def forward(self, inputs):
        return functional.linear(inputs, self.qweight.view(torch.float32), self.bias)


class Bytes(nn.Linear):
    """As bitsandbytes': a linear layer whose weight is a column of bytes."""

    def __init__(self, linear):
        super().__init__(linear.in_features, linear.out_features, bias=False)
        self.bias = linear.bias
        self.weight = nn.Parameter(linear.weight.detach().view(torch.uint8).view(-1, 1), requires_grad=False)

    def forward(self, inputs):
        weight = self.weight.data.view(-1).view(torch.float32).view(self.out_features, self.in_features)
        return functional.linear(inputs, weight, self.bias)


def quantise(model, kind):
    """All linear layers but the output head; their names."""
    names = [name for name, own in model.named_modules() if type(own) is nn.Linear and name != "lm_head"]
    for name in names:
        model.set_submodule(name, kind(model.get_submodule(name)))
    return names


@pytest.mark.parametrize("kind", [Named, Bytes])
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "internvl"])
def test_fusion_and_8_bits_leave_quantised_layers_as_they_are(family, kind):
    model = build_model(family, dtype=torch.float32)
    names = quantise(model.stock, kind)
    assert len(names) > 20
    assert list(find_linears(model.stock)) == []
    expected = run_video(model)
    fusion = fuse_exact(model.stock, is_compiled=False, row_counts=(67, 1))
    assert fusion.is_whole
    assert len(fusion.layers.replaced) == fusion.num_calls > 5
    assert {check.need.dtype for check in fusion.checks} == {torch.float32}
    layers = [model.stock.get_submodule(name) for name in names]
    assert all(type(layer) is kind and "forward" not in vars(layer) for layer in layers)
    for one, other in zip(expected.groups, run_video(model).groups, strict=True):
        for question in range(len(QUESTIONS)):
            mine, theirs = one.scores[question], other.scores[question]
            assert mine.response == theirs.response
            assert mine.certainty == pytest.approx(theirs.certainty, abs=1e-6)
        np.testing.assert_allclose(one.candidates.scores[0], other.candidates.scores[0], atol=1e-6)


class Tower(nn.Module):
    """A gated MLP of a width that is no multiple of 8, and a patch embedding."""

    def __init__(self):
        super().__init__()
        self.mlp = nn.Module()
        for name, sizes in (("gate_proj", (16, 20)), ("up_proj", (16, 20)), ("down_proj", (20, 16))):
            self.mlp.add_module(name, nn.Linear(*sizes))
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv3d(3, 16, (2, 4, 4), (2, 4, 4), bias=False)


@pytest.mark.parametrize("kind", [Named, Bytes])
def test_a_quantised_tower_is_not_padded_for_a_gpu(kind):
    plain, packed = Tower(), Tower()
    quantise(packed, kind)
    before = copy.deepcopy(packed.mlp.state_dict())
    fit_tower(plain)
    fit_tower(packed)
    assert plain.mlp.up_proj.weight.shape == (24, 16)
    assert isinstance(packed.patch_embed.proj, PatchProjection)
    after = packed.mlp.state_dict()
    assert packed.mlp.up_proj.out_features == packed.mlp.down_proj.in_features == 20
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.fixture
def gpu(monkeypatch):
    """Says that there is one, of this capability, and which modules are installed."""

    def pretend(capability, installed=()):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
        monkeypatch.setattr(packed_weights, "find_spec", lambda name: name in installed or None)

    return pretend


@pytest.mark.parametrize(
    ("quantiser", "device", "capability", "packed"),
    [
        ("fp8", "cpu", None, False),
        ("fp8", "cuda:0", (8, 0), False),
        ("fp8", "cuda:0", (9, 0), True),
        ("compressed-tensors", "cuda:0", (9, 0), False),
        ("fp8", None, None, True),
        ("compressed-tensors", None, None, False),
        *((name, "cpu", None, True) for name in ("awq", "gptq", "bitsandbytes", "torchao", None)),
    ],
)
def test_weights_count_as_they_are_once_loaded(saved, gpu, quantiser, device, capability, packed):
    if capability:
        gpu(capability)
    size = read_checkpoint("m", saved).size
    size = size.with_stored({part: StoredPart(elements=0, packed_bytes=count) for part, count in size.parts.items()})
    devices = [device] if device else []
    assert stays_packed(quantiser, devices) is packed
    found = size_on(size, quantiser, devices)
    assert sum(found.weight_bytes(part, 2) for part in found.parts) == size.num_parameters * (1 if packed else 2)


@pytest.mark.parametrize(
    ("quantiser", "device", "capability", "words"),
    [
        ("fbgemm_fp8", "cpu", None, ("needs a GPU here, got cpu", "execution.gpus_per_scorer=1")),
        ("fp8", "cpu", (9, 0), ("needs a GPU here, got cpu", "execution.gpus_per_scorer=1")),
        ("fp8", "cuda:0", (9, 0), ("not installed here: kernels", "pip install kernels")),
    ],
)
def test_a_quantiser_that_is_there_but_not_for_this_device_is_refused_in_one_line(
    gpu, quantiser, device, capability, words
):
    if capability:
        gpu(capability)
    with pytest.raises(PipelineError) as caught:
        refuse_packed_on("m", quantiser, [device])
    assert caught.value.failure_class is FailureClass.MODEL
    assert "\n" not in caught.value.message
    for word in (f"model 'm' is quantised by '{quantiser}'", *words, "or give the checkpoint that is not quantised"):
        assert word in caught.value.message


def test_what_runs_on_a_device_is_not_refused(gpu):
    for quantiser in ("fp8", "awq", "gptq", "bitsandbytes", "compressed-tensors", None):
        refuse_packed_on("m", quantiser, ["cpu"])
    gpu((8, 0))
    refuse_packed_on("m", "fp8", ["cuda:0"])
    gpu((9, 0), installed=("kernels",))
    refuse_packed_on("m", "fp8", ["cuda:0"])


def test_weights_that_wait_for_a_pass_over_the_whole_model_are_unpacked_while_loading():
    done = []
    compressor = SimpleNamespace(decompress_model=done.append)
    waiting = SimpleNamespace(ct_decompress_hook=object(), hf_quantizer=SimpleNamespace(compressor=compressor))
    unpack_weights(waiting, "compressed-tensors", torch.float32)
    unpack_weights(SimpleNamespace(), "compressed-tensors", torch.float32)
    assert done == [waiting]


def test_what_was_unpacked_into_another_type_comes_into_the_working_type():
    model = nn.Sequential(nn.Linear(4, 4).bfloat16(), nn.Linear(4, 4))
    kept = model[0].weight.detach().clone()
    unpack_weights(model, "fp8", torch.float32)
    assert {own.dtype for own in model.parameters()} == {torch.float32}
    assert torch.equal(model[0].weight, kept.float())
