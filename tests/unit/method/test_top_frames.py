"""Whole temporal patches instead of tokens: shares against a slow reference, budget, and how a group ranks them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.method.selectors.adapttoken import AdaptToken
from pipeline.method.selectors.top_frames import TopFrames, share_patches
from pipeline.passes.candidates import GroupCandidates
from pipeline.settings.config import BudgetConfig

CERTAINTIES = st.integers(-14, 0).map(lambda tenth: tenth / 10)
GROUPS = st.lists(st.tuples(CERTAINTIES, st.integers(0, 5)), min_size=1, max_size=8)


def as_arrays(groups):
    return np.array([c for c, _ in groups]), np.array([n for _, n in groups], dtype=np.int64)


def webster(groups, num_patches, tau):
    """One patch after the other goes to the group with the largest claim w / (2 k + 1), the lower one in a tie."""
    shares = [0] * len(groups)
    for _ in range(min(num_patches, sum(n for _, n in groups))):
        open_groups = [g for g, (_, n) in enumerate(groups) if shares[g] < n]
        claims = {g: round(groups[g][0] / tau - math.log(2 * shares[g] + 1), 9) for g in open_groups}
        shares[max(open_groups, key=lambda g: (claims[g], -g))] += 1
    return shares


@given(groups=GROUPS, num_patches=st.integers(1, 20), tau=st.sampled_from([0.01, 0.2, 2.0]))
@settings(deadline=None, max_examples=150)
def test_patches_go_one_by_one_to_the_largest_claim(groups, num_patches, tau):
    if not any(n for _, n in groups):
        groups = [*groups, (0.0, 1)]
    certainty, patches = as_arrays(groups)
    shares = share_patches(certainty, patches, num_patches=num_patches, tau=tau)
    assert shares.dtype == np.int64
    assert shares.tolist() == webster(groups, num_patches, tau)


@given(groups=GROUPS, last=st.tuples(CERTAINTIES, st.integers(1, 5)), budget=st.integers(1, 60))
@settings(deadline=None, max_examples=150)
def test_a_longer_prefix_raises_no_share_so_what_was_let_go_is_never_bought(groups, last, budget):
    groups = [(c, n + 1) for c, n in groups]
    config = BudgetConfig(token_budget=budget, tau=0.2)
    before, after = (
        TopFrames().allocate(certainty, patches * 4, config, tokens_per_patch=4)
        for certainty, patches in (as_arrays(groups), as_arrays([*groups, last]))
    )
    assert (after[:-1] <= before).all()


@given(groups=GROUPS, budget=st.integers(1, 60), tokens_per_patch=st.integers(1, 7))
@settings(deadline=None, max_examples=150)
def test_whole_patches_are_bought_and_never_beyond_the_budget(groups, budget, tokens_per_patch):
    certainty, patches = as_arrays([(c, n + 1) for c, n in groups])
    config = BudgetConfig(token_budget=budget, over_select=1.5)
    offered = patches * tokens_per_patch
    bought = TopFrames().allocate(certainty, offered, config, tokens_per_patch=tokens_per_patch)
    assert ((bought >= 0) & (bought <= offered)).all()
    if budget < tokens_per_patch:  # the best tokens of one patch of the surest group
        assert bought.tolist() == [budget if g == int(certainty.argmax()) else 0 for g in range(len(patches))]
    else:
        assert (bought % tokens_per_patch == 0).all()
        assert bought.sum() == min(budget // tokens_per_patch, patches.sum()) * tokens_per_patch


@pytest.mark.parametrize(
    ("tau", "expected"),
    [
        (0.2, [12, 4, 0]),  # weights 1, e^-1, e^-7: claims 1, .37, .33, .20 beat all others
        (2.0, [8, 4, 4]),  # close to equal: each group sells its best frame before any sells a second one
    ],
)
def test_a_small_temperature_gathers_the_frames_in_the_surest_groups(tau, expected):
    config = BudgetConfig(token_budget=19, tau=tau)
    bought = TopFrames().allocate(np.array([0.0, -0.2, -1.4]), np.full(3, 40), config, tokens_per_patch=4)
    assert bought.tolist() == expected


def test_only_the_unit_tells_it_from_adapttoken_without_removal():
    config, certainty, offered = BudgetConfig(token_budget=16, over_select=1.0), np.zeros(4), np.full(4, 40)
    assert AdaptToken().allocate(certainty, offered, config).tolist() == [4, 4, 4, 4]
    assert TopFrames().allocate(certainty, offered, config, tokens_per_patch=4).tolist() == [4, 4, 4, 4]
    assert (TopFrames.needs_scores, TopFrames.can_stop, TopFrames.removes_redundancy) == (True, False, False)
    assert TopFrames().final_budget(config) == 16


@given(levels=st.lists(st.integers(0, 4), min_size=12, max_size=12), count=st.integers(0, 4))
@settings(deadline=None, max_examples=100)
def test_a_group_sells_the_patches_whose_best_tokens_are_best(levels, count):
    scores = np.array(levels, dtype=np.float32)
    candidates = GroupCandidates.build(
        torch.arange(12.0)[:, None],
        patches=np.array([2, 5, 8, 11]),
        tokens_per_patch=3,
        scores={0: scores},
        keeps_whole_patches=True,
    )
    best = sorted(range(4), key=lambda patch: (-scores[3 * patch : 3 * patch + 3].max(), patch))[:count]
    candidates.retain(0, 3 * count + 1)
    piece = candidates.take(0, 3 * count, position=0)
    assert piece.patch_K.tolist() == [[2, 5, 8, 11][patch] for patch in sorted(best) for _ in range(3)]
    assert piece.token_K.tolist() == [0, 1, 2] * count
    assert piece.features()[:, 0].tolist() == [3.0 * patch + token for patch in sorted(best) for token in range(3)]


def test_of_a_patch_that_does_not_fit_the_best_tokens_are_sold():
    scores = np.array([0, 2, 2, 5, 9, 7], dtype=np.float32)
    candidates = GroupCandidates.build(
        torch.zeros(6, 1), patches=np.array([0, 1]), tokens_per_patch=3, scores={0: scores}, keeps_whole_patches=True
    )
    assert candidates.ranked[0].tolist() == [4, 5, 3, 1, 2, 0]
    assert candidates.take(0, 2, position=0).token_K.tolist() == [1, 2]
