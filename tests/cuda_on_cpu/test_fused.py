"""Fused layers over simulated GPUs: tensors stay on their devices, and the host waits nowhere for them."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from pipeline.models.fusion.setup import set_up_fusion, use_uncompiled
from tests.cuda_on_cpu.device_tensor import move_module
from tests.cuda_on_cpu.passes import QUESTIONS, build_model, run_video
from tests.cuda_on_cpu.simulation import simulated
from tests.cuda_on_cpu.two_devices import spread

HALF = torch.bfloat16


@pytest.mark.parametrize(
    ("family", "num_devices"),
    [("qwen3_vl", 2), ("internvl", 1), pytest.param("qwen2_5_vl", 2, marks=pytest.mark.slow)],
)
def test_fused_layers_give_the_cpus_numbers_without_a_wait_of_their_own(family, num_devices):
    on_cpu = build_model(family, dtype=HALF)
    use_uncompiled(on_cpu.stock)
    expected = run_video(on_cpu, questions=QUESTIONS[:2])
    with simulated(num_devices) as machine:

        def place(stock):
            if num_devices == 1:
                move_module(stock, torch.device("cuda", 0), machine)
            else:
                spread(stock, family, machine)

        model = build_model(family, dtype=HALF, place=place)
        use_uncompiled(model.stock)
        marks = []
        passed = run_video(
            model, lambda stage: marks.append((stage, sum(machine.journal.waits.values()))), questions=QUESTIONS[:2]
        )
        launches = [(before, after) for (stage, before), (_, after) in pairwise(marks) if stage == "launch"]
        waits = [after - before for before, after in launches[1:]]  # the first group builds what is kept
    assert machine.journal.faults == []
    assert waits == [0] * len(waits)  # deepstack features, too, go where they belong without a boolean index
    for one, other in zip(expected.groups, passed.groups, strict=True):
        for question in range(2):
            assert one.scores[question].certainty == pytest.approx(other.scores[question].certainty, abs=1e-6)
            np.testing.assert_allclose(*(group.candidates.scores[question] for group in (one, other)), atol=1e-6)


def test_a_device_for_which_nothing_can_be_compiled_runs_the_stock_model(caplog):
    with simulated() as machine:
        model = build_model(
            "internvl", dtype=HALF, place=lambda stock: move_module(stock, torch.device("cuda", 0), machine)
        )
        fusion = set_up_fusion(model.stock, "auto")
        assert set_up_fusion(model.stock, "off") is None
    assert not fusion.layers.replaced
    assert not any("forward" in module.__dict__ for module in model.stock.modules())
    assert "stock for" in caplog.text
