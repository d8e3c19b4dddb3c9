import math

import numpy as np
import pytest

from pipeline.method.selectors.base import GroupScore
from pipeline.method.selectors.registry import SELECTORS, get_selector
from pipeline.settings.config import BudgetConfig, RunConfig, StoppingConfig

BUDGET = BudgetConfig(token_budget=100, over_select=1.1, tau=2.0)
STOPPING = StoppingConfig(confident_groups=2, stop_entropy=0.2)


def group_scores(*triples):
    return [
        GroupScore(group_index=index, certainty=certainty, response=response, num_tokens=num_tokens)
        for index, (certainty, response, num_tokens) in enumerate(triples)
    ]


def allocate(name, scores, budget):
    certainty = np.array([score.certainty for score in scores])
    return get_selector(name).allocate(certainty, np.array([score.num_tokens for score in scores]), budget)


SCORES = group_scores((-0.1, "A", 90), (-1.3, "B", 90), (-0.1, "a", 10), (-0.9, "A", 90))


@pytest.mark.parametrize("name", SELECTORS)
def test_every_selector_keeps_the_contract(name):
    selector = get_selector(name)
    assert selector.name == name
    for num_patches in (1, 2, 7, 500):
        patches = selector.choose_patches(num_patches, tokens_per_patch=10, token_budget=BUDGET.token_budget)
        assert patches.dtype == np.int64
        assert 1 <= len(patches) <= num_patches
        assert (np.diff(patches) > 0).all()
        assert patches[0] >= 0
        assert patches[-1] < num_patches
    stops = [selector.stop_after(SCORES[:length], STOPPING) for length in range(len(SCORES) + 1)]
    found = [stop for stop in stops if stop is not None]
    assert len(set(found)) <= 1
    assert stops[len(stops) - len(found) :] == found  # once stopped, stopped
    assert all(SCORES[stop - 1].entropy <= STOPPING.stop_entropy for stop in found)
    bought = allocate(name, SCORES, BUDGET)
    offered = [score.num_tokens for score in SCORES]
    assert bought.dtype == np.int64
    assert bought.shape == (len(SCORES),)
    assert ((bought >= 0) & (bought <= offered)).all()
    limit = selector.final_budget(BUDGET)
    assert limit is None or limit == BUDGET.token_budget
    if not selector.removes_redundancy:
        assert limit is None or bought.sum() <= limit


@pytest.mark.parametrize(
    ("name", "needs_scores", "removes_redundancy", "stop", "bought_in_all", "final_budget"),
    [
        ("adapttoken", True, True, None, 110, 100),
        ("adapttoken-lite", True, True, 3, 110, 100),
        ("equal-quota", True, False, None, 100, 100),
        ("flexselect", True, False, None, 85, 100),
        ("top-frames", True, False, None, 100, 100),
        ("no-entropy", True, True, None, 110, 100),
        ("entropy-vote", True, False, None, 0, 100),
        ("most-certain", True, False, None, 0, 100),
        ("adapttoken-vote", True, True, None, 110, 100),
        ("uniform", False, False, None, 280, None),
        ("all", False, False, None, 280, None),
    ],
)
def test_selectors_differ_where_they_should(name, needs_scores, removes_redundancy, stop, bought_in_all, final_budget):
    selector = get_selector(name)
    assert selector.needs_scores is needs_scores
    assert selector.removes_redundancy is removes_redundancy
    assert selector.stop_after(SCORES, STOPPING) == stop
    assert allocate(name, SCORES, BUDGET).sum() == bought_in_all
    assert selector.final_budget(BUDGET) == final_budget


def test_adapttoken_buys_by_certainty_and_equal_quota_equally():
    prefix = group_scores((0.0, "A", 90), (-2 * np.log(2), "A", 90))
    budget = BudgetConfig(token_budget=30, over_select=1.0, tau=2.0)
    assert allocate("adapttoken", prefix, budget).tolist() == [20, 10]
    assert allocate("equal-quota", prefix, budget).tolist() == [15, 15]


@pytest.mark.parametrize(
    ("num_patches", "token_budget", "expected"),
    [
        (10, 30, [1, 5, 8]),  # middles of three bins
        (10, 39, [1, 5, 8]),  # only whole patches
        (10, 100, list(range(10))),
        (10, 5, [5]),  # one patch, even over the budget
        (3, 1_000, [0, 1, 2]),
    ],
)
def test_uniform_takes_the_middle_patch_of_equal_bins(num_patches, token_budget, expected):
    patches = get_selector("uniform").choose_patches(num_patches, tokens_per_patch=10, token_budget=token_budget)
    assert patches.tolist() == expected


def test_the_other_selectors_encode_every_patch():
    for name in SELECTORS.keys() - {"uniform"}:
        patches = get_selector(name).choose_patches(5, tokens_per_patch=10, token_budget=10)
        assert patches.tolist() == [0, 1, 2, 3, 4]


def test_the_default_method_is_registered():
    assert get_selector(RunConfig().method).name == "adapttoken"


def test_entropy_is_minus_certainty():
    assert [score.entropy for score in SCORES] == [0.1, 1.3, 0.1, 0.9]


@pytest.mark.parametrize(("name", "nearest"), [("adaptoken_lite", "adapttoken-lite"), ("unifrom", "uniform")])
def test_an_unknown_method_names_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"got '{name}'; did you mean '{nearest}'"):
        get_selector(name)


def test_without_entropy_every_group_has_the_same_share():
    prefix = group_scores((-0.01, "A", 90), (-1.3, "B", 90))
    assert allocate("adapttoken", prefix, BUDGET).tolist() == [72, 38]
    assert allocate("no-entropy", prefix, BUDGET).tolist() == [55, 55]


VOTES = group_scores((-1.0, "B", 9), (-0.2, "A", 9), (-1.0, "b.", 9), (-1.2, "C", 9))


def slow_vote(scores, num_options):
    """Each response by itself, in plain numbers."""
    most = math.log(num_options)
    return {
        said: sum(max(0.0, most - s.entropy) ** 2 for s in scores if s.response.strip(".").lower() == said)
        for said in ("a", "b", "c")
    }


def test_the_vote_weighs_each_group_by_the_square_of_what_it_knows():
    sums = slow_vote(VOTES, 4)
    voted = get_selector("entropy-vote").vote(VOTES, num_options=4)
    assert voted.response == "A"
    assert voted.shares == pytest.approx({said: value / sum(sums.values()) for said, value in sums.items()})
    assert voted.entropy == pytest.approx(-sum(p * math.log(p) for p in voted.shares.values()))


def test_many_groups_outvote_a_certain_one_but_the_most_certain_group_alone_decides_where_that_is_asked():
    scores = group_scores(*[(-1.0, "B", 9)] * 12, (-0.2, "A", 9))
    assert get_selector("entropy-vote").vote(scores, num_options=4).response == "B"
    certain = get_selector("most-certain").vote(scores, num_options=4)
    assert (certain.response, certain.shares, certain.entropy) == ("A", {"b": 0.0, "a": 1.0}, 0.0)


@pytest.mark.parametrize("name", ["entropy-vote", "most-certain"])
def test_groups_that_know_nothing_still_give_an_answer(name):
    scores = group_scores((-math.log(4), "C", 9), (-math.log(4), "D", 9))
    assert get_selector(name).vote(scores, num_options=4).response == "C"
    assert get_selector(name).vote(scores[:1], num_options=None).response == "C"


def test_an_open_answer_is_told_in_the_words_of_its_most_certain_group():
    scores = group_scores((-0.9, "It is Red.", 9), (-0.1, "it is red", 9), (-1.4, "blue", 9))
    voted = get_selector("entropy-vote").vote(scores, num_options=None)
    assert (voted.response, max(voted.shares, key=voted.shares.get)) == ("it is red", "it is red")


def test_the_groups_vote_is_a_prior_of_the_final_pass():
    """By hand: p times the square root of each option's share of the vote, plus a thousandth."""
    final = (0.3, 0.4, 0.2, 0.1)
    sums = slow_vote(VOTES, 4)
    shares = [sums.get(letter, 0.0) / sum(sums.values()) for letter in "abcd"]
    products = [p * math.sqrt(share + 1e-3) for p, share in zip(final, shares, strict=True)]
    weighed = get_selector("adapttoken-vote").weigh(final, VOTES, "ABCD")
    assert weighed == pytest.approx([product / sum(products) for product in products])
    assert max(range(4), key=weighed.__getitem__) == 0  # the final pass alone would have said B


def test_groups_that_know_nothing_leave_the_final_pass_its_answer():
    scores = group_scores(*[(-math.log(4), letter, 9) for letter in "ABCD"])
    weighed = get_selector("adapttoken-vote").weigh((0.1, 0.2, 0.3, 0.4), scores, "ABCD")
    assert weighed == pytest.approx((0.1, 0.2, 0.3, 0.4))
