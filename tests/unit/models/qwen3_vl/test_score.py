"""Timestamps before the patches of a group."""

import numpy as np
import pytest
import torch

TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def prompts(case):
    return case.prompts(case.adapter)[:2]


def test_scores_depend_on_the_times_written_but_not_on_a_video_seen_before(
    case, prefix, prompts, features, first_logits
):
    other = case.adapter.prefill(features, case.geometry, patch_s=1.0, center_s_P=case.centers_s + 1)
    for group in (prefix, other, prefix):
        case.score(group, prompts)
    before, changed, again = first_logits
    assert torch.equal(before, again)
    assert (changed - before).abs().max() > 100 * TOLERANCE


def test_without_times_a_group_is_an_ordinary_clip_from_0_seconds_on(case, prompts, features, first_logits):
    for centers_s in (None, np.array([0.5, 2.5, 4.5])):
        prefix = case.adapter.prefill(features, case.geometry, patch_s=2.0, center_s_P=centers_s)
        case.score(prefix, prompts)
    assert torch.equal(*first_logits)
