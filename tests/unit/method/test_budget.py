import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.method.budget import allocate_budget, equal_quota, overselected

CERTAINTY = st.floats(-12, 0)
GROUPS = st.lists(st.tuples(CERTAINTY, st.integers(0, 60)), min_size=1, max_size=14)
TAU = st.sampled_from([0.05, 0.5, 2.0, 20.0])
BUDGET = st.integers(0, 400)


def split(groups):
    certainty, num_tokens = zip(*groups, strict=True)
    return np.array(certainty), np.array(num_tokens)


def water_level_shares(certainty, num_tokens, budget, tau):
    """Independent reference: bisect the level L with sum(min(n, L · w)) = budget."""
    weights = np.exp((certainty - certainty.max()) / tau)
    total = min(budget, num_tokens.sum())
    low, high = 0.0, num_tokens.max() / weights.min() + 1
    for _ in range(300):
        level = (low + high) / 2
        low, high = (level, high) if np.minimum(num_tokens, level * weights).sum() < total else (low, level)
    return np.minimum(num_tokens, high * weights)


@pytest.mark.parametrize(
    ("token_budget", "over_select", "expected"),
    [(7_040, 1.1, 7_744), (10, 1.1, 11), (100, 1.1, 110), (7, 1.1, 8), (7_040, 1.0, 7_040), (1, 1.5, 2)],
)
def test_over_selection_is_a_ceiling_without_float_dust(token_budget, over_select, expected):
    assert overselected(token_budget, over_select) == expected


@settings(deadline=None)
@given(token_budget=st.integers(1, 10**6), percent=st.integers(100, 300))
def test_over_selection_equals_integer_arithmetic_on_percents(token_budget, percent):
    assert overselected(token_budget, percent / 100) == -(-token_budget * percent // 100)


@pytest.mark.parametrize(
    ("certainty", "num_tokens", "budget", "tau", "expected"),
    [
        ([-1.0, -1.0], [50, 50], 10, 2.0, [5, 5]),
        ([0.0, -2 * math.log(2)], [50, 50], 30, 2.0, [20, 10]),  # weights 2 : 1
        ([0.0, -2 * math.log(2)], [12, 50], 30, 2.0, [12, 18]),  # clipped, surplus poured
        ([0.0, 0.0, -2 * math.log(2)], [4, 50, 50], 34, 2.0, [4, 20, 10]),  # poured by weight
        ([-1.0, -1.0, -1.0], [9, 9, 9], 11, 2.0, [4, 4, 3]),  # ties: lower index
        ([0.0, -2 * math.log(2)], [50, 50], 10, 2.0, [7, 3]),  # 6.67 and 3.33: the larger remainder
        ([0.0, -2 * math.log(3)], [50, 50], 2, 2.0, [2, 0]),  # 1.5 and 0.5: a tie, whatever floats say of thirds
        ([-2 * math.log(3), 0.0], [50, 50], 2, 2.0, [1, 1]),
        ([0.0, -2 * math.log(7)], [50, 50], 4, 2.0, [4, 0]),
        ([-2 * math.log(7), 0.0], [50, 50], 4, 2.0, [1, 3]),
        ([-1.0, -1.0], [3, 4], 100, 2.0, [3, 4]),  # more budget than tokens
        ([-1.0, -1.0], [3, 4], 0, 2.0, [0, 0]),
        ([0.0, -1.0], [0, 5], 3, 2.0, [0, 3]),  # a group that offers nothing
        ([-0.3], [100], 7, 2.0, [7]),
        ([0.0, -1e6, -1e6], [5, 9, 9], 11, 2.0, [5, 3, 3]),  # weights underflow to 0: the surplus still goes out
        ([0.0, -1e6, -2e6], [5, 9, 9], 20, 2.0, [5, 9, 6]),
        ([0.0, -1.0, -2.0], [5, 9, 9], 20, 1e-300, [5, 9, 6]),  # a temperature that overflows
        ([-1e308, 1e308], [5, 5], 7, 2.0, [2, 5]),
    ],
)
def test_the_budget_goes_by_certainty(certainty, num_tokens, budget, tau, expected):
    assert allocate_budget(certainty, num_tokens, budget=budget, tau=tau).tolist() == expected


@settings(deadline=None)
@given(groups=GROUPS, budget=BUDGET, tau=TAU)
def test_the_sum_is_exact_and_no_group_gets_more_than_it_has(groups, budget, tau):
    certainty, num_tokens = split(groups)
    bought = allocate_budget(certainty, num_tokens, budget=budget, tau=tau)
    assert bought.sum() == min(budget, num_tokens.sum())
    assert (bought >= 0).all()
    assert (bought <= num_tokens).all()


@settings(deadline=None)
@given(groups=GROUPS, budget=BUDGET, tau=st.sampled_from([2.0, 20.0]))
def test_shares_are_those_of_the_water_level_up_to_rounding(groups, budget, tau):
    certainty, num_tokens = split(groups)
    bought = allocate_budget(certainty, num_tokens, budget=budget, tau=tau)
    shares = water_level_shares(certainty, num_tokens, budget, tau)
    assert (np.abs(bought - shares) < 1 + 1e-6).all()


@settings(deadline=None)
@given(certainty=st.lists(CERTAINTY, min_size=2, max_size=12), size=st.integers(0, 60), budget=BUDGET, tau=TAU)
def test_among_groups_of_one_size_more_certainty_never_buys_less_by_more_than_a_token(certainty, size, budget, tau):
    bought = allocate_budget(certainty, [size] * len(certainty), budget=budget, tau=tau)
    by_certainty = bought[np.argsort(certainty, kind="stable")]
    assert (np.diff(by_certainty) >= -1).all()


@settings(deadline=None)
@given(groups=GROUPS, budget=BUDGET, tau=TAU, data=st.data())
def test_a_permutation_of_the_groups_permutes_the_tokens_up_to_ties(groups, budget, tau, data):
    certainty, num_tokens = split(groups)
    order = np.array(data.draw(st.permutations(range(len(groups)))))
    bought = allocate_budget(certainty, num_tokens, budget=budget, tau=tau)
    permuted = allocate_budget(certainty[order], num_tokens[order], budget=budget, tau=tau)
    assert (np.abs(permuted - bought[order]) <= 1).all()


@settings(deadline=None)
@given(num_groups=st.integers(1, 12), budget=st.integers(0, 300), data=st.data())
def test_without_ties_a_permutation_permutes_the_tokens_exactly(num_groups, budget, data):
    certainty = -np.sqrt(np.arange(2.0, 2.0 + num_groups))  # irrational: no two remainders are equal
    num_tokens = np.full(num_groups, 80)
    order = np.array(data.draw(st.permutations(range(num_groups))))
    bought = allocate_budget(certainty, num_tokens, budget=budget, tau=2.0)
    assert allocate_budget(certainty[order], num_tokens, budget=budget, tau=2.0).tolist() == bought[order].tolist()


@settings(deadline=None)
@given(
    quarters=st.lists(st.integers(-48, 0), min_size=1, max_size=12),
    shift=st.integers(-1_000, 1_000),
    budget=BUDGET,
    tau=TAU,
)
def test_a_constant_added_to_every_certainty_changes_nothing(quarters, shift, budget, tau):
    certainty = np.array(quarters) / 4  # exact in binary, so that the shift is exact too
    num_tokens = np.arange(len(quarters)) * 7 % 40
    bought = allocate_budget(certainty, num_tokens, budget=budget, tau=tau)
    assert allocate_budget(certainty + shift, num_tokens, budget=budget, tau=tau).tolist() == bought.tolist()


@settings(deadline=None)
@given(groups=GROUPS, budget=BUDGET, tau=TAU, data=st.data())
def test_shares_only_shrink_as_the_prefix_grows_but_for_one_token(groups, budget, tau, data):
    certainty, num_tokens = split(groups)
    length = data.draw(st.integers(1, len(groups)))
    shorter = allocate_budget(certainty[:length], num_tokens[:length], budget=budget, tau=tau)
    longer = allocate_budget(certainty, num_tokens, budget=budget, tau=tau)
    assert (longer[:length] <= shorter + 1).all()


@pytest.mark.parametrize(
    ("num_tokens", "budget", "expected"),
    [([1, 9, 9], 10, [1, 5, 4]), ([9, 9, 9], 9, [3, 3, 3]), ([2, 2], 9, [2, 2]), ([5, 1, 1, 9], 12, [5, 1, 1, 5])],
)
def test_the_equal_quota_pours_what_a_group_cannot_fill(num_tokens, budget, expected):
    assert equal_quota(num_tokens, budget=budget).tolist() == expected


@settings(deadline=None)
@given(num_tokens=st.lists(st.integers(0, 60), min_size=1, max_size=14), budget=BUDGET)
def test_the_equal_quota_equals_dealing_one_token_at_a_time(num_tokens, budget):
    dealt = [0] * len(num_tokens)
    left = min(budget, sum(num_tokens))
    while left:
        for group in [g for g, size in enumerate(num_tokens) if dealt[g] < size][:left]:
            dealt[group] += 1
            left -= 1
    assert equal_quota(num_tokens, budget=budget).tolist() == dealt


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: overselected(0, 1.1), "token_budget=0"),
        (lambda: overselected(10, 0.9), "over_select=0.9"),
        (lambda: allocate_budget([math.nan], [3], budget=1, tau=2.0), "certainty_G must be finite"),
        (lambda: allocate_budget([0.0], [3], budget=1, tau=0.0), "tau must be positive, got 0.0"),
        (lambda: allocate_budget([0.0], [3], budget=-1, tau=2.0), "budget must be at least 0 tokens, got -1"),
        (lambda: allocate_budget([0.0, 0.0], [3], budget=1, tau=2.0), r"got \(1,\) for \(2,\)"),
        (lambda: allocate_budget([0.0], [-3], budget=1, tau=2.0), "num_tokens_G must be at least 0, got -3"),
        (lambda: equal_quota([], budget=1), "at least one"),
    ],
)
def test_a_bad_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
