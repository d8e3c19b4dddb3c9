"""Attention by parts, captured steps, merge on simulated GPUs: the CPU's numbers, few waits, nothing untried."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from pipeline.models.attention_check import AttentionShape, measure_cascade
from pipeline.models.fast_paths import FastPaths
from pipeline.models.prefix_attention import CascadePrefixAttention
from pipeline.models.static_greedy import StaticGreedy
from pipeline.passes.candidates import CandidatePiece
from pipeline.passes.merged_tokens import MergedTokens
from tests.cuda_on_cpu import kernels
from tests.cuda_on_cpu.device_tensor import move_module
from tests.cuda_on_cpu.passes import QUESTIONS, build_model, run_video
from tests.cuda_on_cpu.simulation import simulated
from tests.cuda_on_cpu.two_devices import spread

FLOAT, HALF = torch.float32, torch.bfloat16
WAITS = "StaticGreedy._play > Download.read", "_same > Download.read"


def run(family, dtype, num_devices):
    """What came of it, the machine, the paths, and how often the host waited in each stage after the first group."""
    stages = []
    with simulated(num_devices) as machine:

        def place(stock):
            if num_devices == 1:
                move_module(stock, torch.device("cuda", 0), machine)
            else:
                spread(stock, family, machine)

        model = build_model(family, dtype=dtype, place=place)
        model.use_fast_paths()
        paths = model._paths
        passed = run_video(model, lambda stage: stages.append((stage, Counter(machine.journal.waits))))
    waits = {}
    for (stage, before), (_, after) in pairwise(stages[2:]):
        waits[stage] = waits.get(stage, Counter()) + Counter({place[0]: n for place, n in (after - before).items()})
    return passed, machine, paths, waits


@pytest.mark.parametrize(
    ("family", "dtype", "num_devices"),
    [
        ("qwen2_5_vl", FLOAT, 1),
        ("internvl", HALF, 1),
        pytest.param("qwen3_vl", HALF, 2, marks=pytest.mark.slow),
        pytest.param("qwen3_vl_moe", HALF, 1, marks=pytest.mark.slow),
    ],
)
def test_fast_gpus_give_the_numbers_of_a_fast_cpu_and_the_host_waits_less(family, dtype, num_devices):
    reference = build_model(family, dtype=dtype)
    reference.use(FastPaths(attention=CascadePrefixAttention(), greedy=StaticGreedy(steps_per_read=1)))
    expected = run_video(reference)
    passed, machine, paths, waits = run(family, dtype, num_devices)
    assert machine.journal.faults == []
    assert isinstance(paths.attention, CascadePrefixAttention)
    # a graph is of one device, and no step was refused
    assert paths.describe()["open_answers"] == ("captured steps" if num_devices == 1 else "growing cache")
    for one, other in zip(expected.groups, passed.groups, strict=True):
        for question in range(len(QUESTIONS)):
            assert one.scores[question].response == other.scores[question].response
            assert one.scores[question].certainty == pytest.approx(other.scores[question].certainty, abs=1e-6)
            ranks = (group.candidates.scores[question] for group in (one, other))
            np.testing.assert_allclose(*ranks, atol=1e-6, rtol=0)
    for one, other in zip(expected.answers, passed.answers, strict=True):
        assert (one.answer_text, one.kept) == (other.answer_text, other.kept)
        assert one.answer_entropy == pytest.approx(other.answer_entropy, abs=1e-6)
    if num_devices > 1:
        return
    # two groups with an open question of four tokens, three answers of three or four: the usual way waits 6 and 7 times
    assert (waits["launch"][WAITS[0]], waits["answer"][WAITS[0]]) == (2, 3)
    assert waits["launch"][WAITS[1]] == 0  # captured with the first group


@pytest.mark.parametrize("fault", ["no kernel", "wrong lse", "nan"])
def test_kernels_that_are_missing_or_wrong_are_not_used(monkeypatch, caplog, fault):
    def broken(*args, **kwargs):
        if fault == "no kernel":
            raise RuntimeError("no kernel image is available\nfor this device")
        out, lse, *rest = kernels.flash(*args, **kwargs)
        return (out, lse * np.log2(np.e), *rest) if fault == "wrong lse" else (out * torch.nan, lse, *rest)

    monkeypatch.setitem(kernels.STAND_INS, torch.ops.aten._scaled_dot_product_flash_attention, broken)
    shape = AttentionShape(heads=4, key_heads=2, head_dim=16, scaling=0.25)
    with simulated():
        found = measure_cascade(torch.device("cuda", 0), HALF, shape)
    assert not found.is_exact
    assert found.refusal == ("no kernel image is available" if fault == "no kernel" else "")


@pytest.mark.parametrize("bits", [np.float32, np.int16])
def test_pieces_merged_on_the_device_equal_the_hosts_bit_for_bit_without_a_wait(bits):
    random = np.random.default_rng(5)
    places = np.stack(np.unravel_index(random.permutation(7 * 30)[:60], (7, 30)), axis=1)
    pieces = []
    for position, own in enumerate(np.split(places, [1, 20, 20, 45])):
        rows = random.integers(-30_000, 30_000, (len(own), 24)).astype(bits)
        rows.flags.writeable = False  # as it comes out of the object store
        pieces.append(
            CandidatePiece(
                position=position,
                patch_K=own[:, 0],
                token_K=own[:, 1],
                score_K=random.random(len(own), dtype=np.float32),
                bits_KD=rows,
                is_bfloat16=bits is np.int16,
            )
        )
    expected = MergedTokens.of_pieces(pieces, torch.device("cpu"))
    with simulated() as machine:
        merged = MergedTokens.of_pieces(pieces, torch.device("cuda", 0))
        assert machine.journal.waits == Counter()
        features_KD = merged.features_KD.cpu()
    assert machine.journal.faults == []
    assert features_KD.dtype is expected.features_KD.dtype is (HALF if bits is np.int16 else FLOAT)
    as_bits = torch.int16 if bits is np.int16 else torch.int32
    assert torch.equal(features_KD.view(as_bits), expected.features_KD.view(as_bits))
    for name in ("patch_K", "token_K", "position_K", "score_K"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(expected, name))
