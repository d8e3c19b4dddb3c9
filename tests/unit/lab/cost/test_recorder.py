"""What the recorder counts, against counts made by hand."""

import dataclasses
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from pipeline.lab.cost.fake_gpu import DEVICE, fake_gpu, place_module
from pipeline.lab.cost.recorder import Recorder
from pipeline.lab.cost.roofline import GpuRates, KernelKind
from pipeline.models.devices.fp8_linear import Fp8Linear, NarrowRows
from pipeline.models.devices.transfer import Download, upload
from pipeline.models.fusion.regions import Region

T, D, N = 50, 32, 24
HALF, SINGLE = 2, 4  # bytes


@contextmanager
def recording():
    with fake_gpu() as mode, torch.inference_mode():
        recorder = Recorder(mode)
        recorder.stage = "stage"
        with recorder.counting_regions(), recorder:
            yield recorder


def half(*shape):
    return torch.empty(shape, dtype=torch.bfloat16, device=DEVICE)


def on_gpu(module, recorder):
    place_module(module.to("meta", torch.bfloat16), recorder.mode)
    return module


def counts(recorder):
    return [(launch.name, launch.num_bytes, launch.flops) for launch in recorder.launches]


def test_a_linear_layer_is_one_product_with_its_bias():
    with recording() as recorder:
        on_gpu(nn.Linear(D, N), recorder)(half(T, D))
    read_and_written = HALF * (T * D + D * N + N + T * N)
    assert counts(recorder) == [("addmm.default", read_and_written, 2 * T * D * N)]
    assert (recorder.launches[0].kind, recorder.launches[0].shape) == (KernelKind.MATRIX, (1, T, N, D))


def test_a_stock_norm_is_eight_kernels():
    with recording() as recorder:
        on_gpu(Qwen2RMSNorm(D), recorder)(half(T, D))
    values, rows = T * D, T * SINGLE
    assert counts(recorder) == [
        ("_to_copy.default", values * (HALF + SINGLE), 0),
        ("pow.Tensor_Scalar", values * 2 * SINGLE, 0),
        ("mean.dim", values * SINGLE + rows, 0),
        ("add.Tensor", 2 * rows, 0),
        ("rsqrt.default", 2 * rows, 0),
        ("mul.Tensor", values * 2 * SINGLE + rows, 0),
        ("_to_copy.default", values * (SINGLE + HALF), 0),
        ("mul.Tensor", values * 2 * HALF + D * HALF, 0),
    ]


def test_a_softmax_reads_and_writes_everything_once():
    with recording() as recorder:
        half(T, D).softmax(-1)
    assert counts(recorder) == [("_softmax.default", 2 * T * D * HALF, 0)]


def test_a_fused_norm_is_one_launch_and_its_results_are_all_that_it_takes():
    with recording() as recorder:
        stream, update, weight = half(T, D), half(T, D), half(D)
        before = recorder.live_bytes
        total, normed = Region("add_rms_norm", is_compiled=False)(stream, update, weight, 1e-6)
        assert recorder.live_bytes - before == 2 * T * D * HALF
    assert total.shape == normed.shape == (T, D)
    assert counts(recorder) == [("region add_rms_norm", HALF * (4 * T * D + D), 0)]
    assert recorder.launches[0].kind is KernelKind.FUSED


def test_a_region_of_two_kernels_reads_twice():
    with recording() as recorder:
        Region("norm_rotate", is_compiled=False)(half(T, 4, 8), half(8), 1e-6, half(T, 8), half(T, 8))
    read, wrote = HALF * (T * 32 + 8 + 2 * T * 8), HALF * T * 32
    assert [launch.num_bytes for launch in recorder.launches] == [read, read + wrote]


@pytest.mark.parametrize(
    ("run", "num_bytes"),
    [
        (lambda x: x.t()[1:], None),  # a view
        (lambda x: x.expand(3, T, D) + 1, (1 + 3) * T * D * HALF),  # what is broadcast is read once
        (lambda x: x + x, 2 * T * D * HALF),  # given twice, read once
        (lambda x: x.add_(1), 2 * T * D * HALF),
        (lambda x: x.zero_(), T * D * HALF),
        (lambda x: x.copy_(half(T, D)), 2 * T * D * HALF),
        (lambda x: torch.cat([x, x[:10]]), 2 * (T + 10) * D * HALF),
        (lambda x: x[torch.tensor([1, 2, 3])], 2 * 3 * D * HALF),  # rows that are gathered, not all
        (lambda x: torch.bmm(x[None], x.t()[None]), (2 * T * D + T * T) * HALF),
    ],
)
def test_bytes_are_those_that_an_operation_touches(run, num_bytes):
    with recording() as recorder:
        run(half(T, D))
    assert [launch.num_bytes for launch in recorder.launches] == ([] if num_bytes is None else [num_bytes])


@pytest.mark.parametrize(("is_causal", "pairs"), [(False, 7 * 7), (True, 7 * 8 // 2)])
def test_attention_is_one_kernel_that_keeps_no_scores(is_causal, pairs):
    with recording() as recorder:
        states = half(1, 4, 7, 16)
        out = nn.functional.scaled_dot_product_attention(states, states.clone(), states.clone(), is_causal=is_causal)
    assert out.shape == states.shape
    attention = recorder.launches[-1]
    assert (attention.kind, attention.flops) == (KernelKind.ATTENTION, 4 * 4 * 16 * pairs)
    assert attention.num_bytes == 4 * 4 * 7 * 16 * HALF


@pytest.mark.parametrize("name", ["_scaled_dot_product_flash_attention", "_scaled_dot_product_cudnn_attention"])
def test_kernels_that_say_their_sums_are_counted_with_them(name):
    with recording() as recorder:
        states, more = half(1, 4, 7, 16), (None, True) if "cudnn" in name else ()
        output, sums, *_ = getattr(torch.ops.aten, name)(states, states.clone(), states.clone(), *more, 0.0, False)
    assert (output.shape, sums.shape, sums.dtype) == (states.shape, (1, 4, 7), torch.float32)
    assert recorder.launches[-1].num_bytes == 4 * 4 * 7 * 16 * HALF + 4 * 7 * SINGLE


def test_copies_between_host_and_device_are_no_kernels_but_are_counted():
    with recording() as recorder:
        there = upload(torch.arange(5), DEVICE)
        (back,) = Download(there.float()).read()
        assert torch.tensor([1.0, 2.0]).sum() == 3  # the host computes
    assert there.device == DEVICE
    assert back.tolist() == [1.0] * 5
    assert dict(recorder.moved) == {("stage", "to device"): 40, ("stage", "to host"): 20}
    assert [launch.name for launch in recorder.launches] == ["_to_copy.default"]


def test_a_boolean_index_knows_how_many_places_its_mask_had_on_the_host():
    with recording() as recorder:
        mask = upload(torch.tensor([True, False, True, True]), DEVICE)
        picked = half(1, 4, D)[mask[None], :]
    assert picked.shape == (3, D)
    assert [launch.name for launch in recorder.launches] == ["nonzero", "index"]


def test_memory_is_what_lives_at_once():
    with recording() as recorder:
        kept = half(1_000)
        for _ in range(3):
            half(500)
        recorder.stage = "later"
        del kept
        half(100)
    assert recorder.peak_bytes == {"stage": 3_000, "later": 200}


def test_outside_there_is_no_gpu():
    with fake_gpu():
        pass
    assert torch.cuda.is_available() == torch.backends.cuda.is_built()


def test_a_layer_in_8_bits_is_one_kernel_for_its_rows_and_one_product_in_8_bits():
    with recording() as recorder:
        linear = on_gpu(nn.Linear(D, 2 * D), recorder)
        layer = Fp8Linear(linear, NarrowRows(is_compiled=False))
        del recorder.launches[:]  # of its weights, while loading
        assert layer(half(T, D)).shape == (T, 2 * D)
    rows, channels = T * SINGLE, 2 * D * SINGLE
    product = T * D + 2 * D * D + HALF * (2 * D + T * 2 * D) + rows + channels
    assert counts(recorder) == [
        ("region narrow_rows", T * D * (HALF + 1) + rows, 0),
        ("_scaled_mm.default", product, 2 * T * D * 2 * D),
    ]
    assert recorder.launches[1].kind is KernelKind.MATRIX_FP8
    gpu, (_, launch) = GpuRates(kernel_s=0, bytes_per_s=1e30), recorder.launches
    usual = dataclasses.replace(launch, kind=KernelKind.MATRIX)
    assert gpu.kernel_seconds(usual) / gpu.kernel_seconds(launch) == pytest.approx(1_979 / 989)
