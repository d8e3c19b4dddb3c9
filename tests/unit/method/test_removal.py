import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.method import removal
from pipeline.method.removal import remove_redundant


def brute_force(features, times_s, scores, *, keep, proximity_s):
    """Every pair is compared anew after every drop, in float64."""
    units = [row / (np.linalg.norm(row) or 1.0) for row in np.asarray(features, dtype=np.float64)]
    alive = list(range(len(units)))
    similarity = {
        (i, j): float(units[i] @ units[j]) * math.exp(-abs(times_s[i] - times_s[j]) / proximity_s)
        for i, j in itertools.combinations(alive, 2)
    }
    while len(alive) > keep:
        first, second = max(itertools.combinations(alive, 2), key=lambda pair: (similarity[pair], -pair[0], -pair[1]))
        alive.remove(first if scores[first] < scores[second] else second)
    return alive


def assert_equals_brute_force(features, times_s, scores, *, keep, proximity_s):
    kept = remove_redundant(
        torch.tensor(features, dtype=torch.float32),
        torch.tensor(times_s, dtype=torch.float64),
        torch.tensor(scores, dtype=torch.float32),
        keep=keep,
        proximity_s=proximity_s,
    )
    assert kept.dtype == torch.int64
    assert kept.tolist() == brute_force(features, times_s, scores, keep=keep, proximity_s=proximity_s)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("block_rows", [7, 512])
def test_random_tokens_are_removed_as_by_brute_force(monkeypatch, seed, block_rows):
    monkeypatch.setattr(removal, "_BLOCK_ROWS", block_rows)
    generator = np.random.default_rng(seed)
    num_tokens = 48
    assert_equals_brute_force(
        generator.normal(size=(num_tokens, 6)),
        np.sort(generator.uniform(0, 60, num_tokens)),
        generator.normal(size=num_tokens),
        keep=int(generator.integers(1, num_tokens)),
        proximity_s=10.0,
    )


# Axis-aligned: similarities are 0 or ± exp(−distance), so pairs that tie in float64 tie in float32 too.
AXES = np.concatenate([np.eye(3), -np.eye(3), np.zeros((1, 3))])


@settings(deadline=None, max_examples=150)
@given(
    tokens=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=14),
    data=st.data(),
)
def test_ties_are_broken_as_by_brute_force(tokens, data):
    axes, times_s, scores = (np.array(column) for column in zip(*tokens, strict=True))
    assert_equals_brute_force(
        AXES[axes] * 4.0, times_s * 5.0, scores, keep=data.draw(st.integers(1, len(tokens))), proximity_s=10.0
    )


@pytest.mark.parametrize(
    ("times_s", "scores", "keep", "expected"),
    [
        ([0.0, 1.0, 9.0], [0.1, 0.9, 0.5], 2, [1, 2]),  # nearest pair 0, 1: the lower score goes
        ([0.0, 1.0, 9.0], [0.9, 0.1, 0.5], 2, [0, 2]),
        ([0.0, 1.0, 9.0], [0.5, 0.5, 0.5], 2, [0, 2]),  # equal scores: the higher index goes
        ([0.0, 2.0, 4.0], [0.5, 0.5, 0.1], 2, [0, 2]),  # equal pairs (0, 1), (1, 2): the lower one counts
        ([0.0, 1.0, 9.0], [0.9, 0.1, 0.5], 1, [0]),
    ],
)
def test_of_equal_features_the_nearest_in_time_are_most_redundant(times_s, scores, keep, expected):
    kept = remove_redundant(torch.ones(3, 2), torch.tensor(times_s), torch.tensor(scores), keep=keep, proximity_s=10.0)
    assert kept.tolist() == expected


def test_times_far_into_a_long_video_keep_their_milliseconds():
    times_s = torch.tensor([1e6, 1e6 + 0.010, 1e6 + 0.015], dtype=torch.float64)  # in float32 all of them are equal
    kept = remove_redundant(torch.ones(3, 2), times_s, torch.tensor([0.9, 0.5, 0.1]), keep=2, proximity_s=0.1)
    assert kept.tolist() == [0, 1]


@pytest.mark.parametrize("keep", [3, 4])
def test_all_tokens_stay_when_the_budget_holds_them(keep):
    kept = remove_redundant(torch.ones(3, 2), torch.zeros(3), torch.zeros(3), keep=keep, proximity_s=10.0)
    assert kept.tolist() == [0, 1, 2]


def test_the_arguments_are_left_as_they_were():
    arguments = torch.rand(9, 4), torch.arange(9.0), torch.rand(9)
    copies = [tensor.clone() for tensor in arguments]
    remove_redundant(*arguments, keep=3, proximity_s=10.0)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(arguments, copies, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": 0}, "keep must be at least 1 token, got 0"),
        ({"proximity_s": 0.0}, "proximity_s must be positive seconds, got 0.0"),
        ({"times_s_N": torch.zeros(2)}, r"got \(\(3, 2\), \(2,\), \(3,\)\)"),
        ({"features_ND": torch.full((3, 2), math.nan)}, "features_ND must be finite"),
        ({"scores_N": torch.tensor([0.0, 1.0, math.inf])}, "scores_N must be finite"),
    ],
)
def test_a_bad_argument_is_named(changes, message):
    arguments = {"features_ND": torch.ones(3, 2), "times_s_N": torch.zeros(3), "scores_N": torch.zeros(3)}
    with pytest.raises(ValueError, match=message):
        remove_redundant(**(arguments | {"keep": 2, "proximity_s": 10.0} | changes))
