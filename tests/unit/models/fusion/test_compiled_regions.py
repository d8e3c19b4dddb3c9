"""What the compiler makes of regions, with its back end for the CPU: ``pytest -m slow tests/unit/models/fusion``.

The scheduler that decides which steps become one kernel is the same for a GPU; its rules there allow more.
"""

from unittest import mock

import pytest
import torch
from torch._inductor.scheduler import Scheduler

from pipeline.models.fusion.check import check_region, make_inputs
from pipeline.models.fusion.regions import FORMULAS, Region, build_regions
from pipeline.models.fusion.swap import Need, fuse_layers, plan_swaps
from tests.cuda_on_cpu.passes import QUESTIONS, build_model, run_video

pytestmark = pytest.mark.slow
SIZES = {"rotate": (3, 16), "rotate_both": (3, 16), "norm_rotate": (2, 128)}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_compiled_region_is_exact_is_as_many_kernels_as_it_says_and_serves_every_length(name):
    need = Need(region=name, sizes=SIZES.get(name, (96,)), dtype=torch.bfloat16, device=torch.device("cpu"))
    region, kernels, generate = Region(name, is_compiled=True), [], Scheduler.codegen

    def count(scheduler):
        kernels.append(len(scheduler.nodes))
        return generate(scheduler)

    caches = {"force_disable_caches": True}  # what lies compiled on disk is not scheduled again
    with mock.patch.object(Scheduler, "codegen", count), torch.compiler.config.patch(caches), torch.inference_mode():
        found = check_region(need, region, row_counts=(300, 67))
        assert found.is_exact, found.found
        assert kernels == [region.num_kernels]  # 67 rows took no second compilation
        region(*make_inputs(need, 1_000))
        assert len(kernels) == 1


def test_a_compiled_model_answers_as_the_unfused_one():
    model = build_model("qwen3_vl", dtype=torch.float32)
    # unchecked: in single precision another order of a sum alone can be a little further from the exact result
    fuse_layers(plan_swaps(model.stock), build_regions(is_compiled=True))
    expected, actual = run_video(build_model("qwen3_vl", dtype=torch.float32)), run_video(model)
    for one, other in zip(expected.groups, actual.groups, strict=True):
        for question in range(len(QUESTIONS)):
            assert one.scores[question].certainty == pytest.approx(other.scores[question].certainty, abs=1e-5)
    assert [one.answer_text for one in expected.answers] == [one.answer_text for one in actual.answers]
