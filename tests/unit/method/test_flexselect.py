"""FlexSelect's arithmetic, written out group by group."""

import numpy as np
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.method.selectors.flexselect import FlexSelect
from pipeline.method.selectors.registry import get_selector, preset_for_method
from pipeline.planning.video_plan import plan_video
from pipeline.settings.config import BudgetConfig, RunConfig, SamplingConfig
from tests.unit.engine.fakes import FakeLayout, make_probe


def quotas(offered, budget, per_patch):
    whole = budget + (-budget) % per_patch
    return [min(count, int(whole / len(offered))) for count in offered]


@pytest.mark.parametrize(
    ("offered", "budget", "per_patch"),
    [([90, 90, 90], 100, 1), ([90, 5, 90], 100, 1), ([220 * 64] * 5 + [220], 7_000, 220), ([9], 4, 4)],
)
def test_each_group_sells_its_quota_and_hands_nothing_on(offered, budget, per_patch):
    bought = FlexSelect().allocate(
        np.zeros(len(offered)), np.array(offered), BudgetConfig(token_budget=budget), tokens_per_patch=per_patch
    )
    assert bought.tolist() == quotas(offered, budget, per_patch)


def plan(method, *, budget, num_frames=1_000):
    config = RunConfig(
        method=method,
        sampling=SamplingConfig(frames_per_group=8, min_pixels=1, max_pixels=10_000),
        budget=BudgetConfig(token_budget=budget),
    )
    return plan_video(make_probe(num_frames), layout=FakeLayout(), selector=get_selector(method), config=config)


def test_groups_hold_64_temporal_patches_whatever_the_settings_say():
    assert max(len(group) for group in plan("flexselect", budget=900).groups) <= 64
    assert len(plan("flexselect", budget=900).groups) == -(-500 // 64)
    assert len(plan("equal-quota", budget=900).groups) == 125


def test_a_budget_below_one_token_per_group_is_refused_with_the_reason_and_the_remedy():
    with pytest.raises(PipelineError, match=r"int\(4 / 8\) per group is 0; raise budget.token_budget to 8") as raised:
        plan("flexselect", budget=3)
    assert raised.value.failure_class is FailureClass.TOO_LARGE
    plan("equal-quota", budget=3)


def test_positions_are_by_patch_index_unless_a_user_says_otherwise():
    assert preset_for_method(RunConfig(), "flexselect").answering.positions == "patch-index"
    assert preset_for_method(RunConfig(), "equal-quota") == RunConfig()
