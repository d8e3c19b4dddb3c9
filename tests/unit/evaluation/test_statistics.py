import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.statistics import Estimate, estimate_mean, estimate_ratio, measure_auroc

VALUES = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=12)


@given(low=VALUES, high=VALUES)
@settings(deadline=None, max_examples=100)
def test_auroc_counts_the_pairs_in_order_with_ties_half(low, high):
    wins = [1.0 if one < other else 0.5 if one == other else 0.0 for one in low for other in high]
    assert measure_auroc(low, high) == pytest.approx(sum(wins) / len(wins))


def test_without_one_of_the_two_there_is_no_auroc():
    assert measure_auroc([], [1.0]) is None
    assert measure_auroc([1.0], []) is None


def test_the_error_of_a_mean_grows_when_a_video_s_questions_agree():
    apart = estimate_mean([1, 0, 1, 0], ["a", "b", "c", "d"])
    together = estimate_mean([1, 0, 1, 0], ["a", "b", "a", "b"])
    assert (apart.value, apart.error) == (0.5, pytest.approx(0.25))
    assert together.error == pytest.approx(math.sqrt(2) / 4)
    assert estimate_mean([1, 0], ["a", "a"]).error is None


def test_a_ratio_is_of_sums_and_its_error_that_of_a_bootstrap_over_videos():
    rng = np.random.default_rng(5)
    planned = rng.integers(5, 40, 300).astype(float)
    counted = np.floor(planned * rng.uniform(0.1, 0.6, 300))
    videos = [f"v{index // 3}" for index in range(300)]
    ratio = estimate_ratio(counted, planned, videos)
    assert ratio.value == pytest.approx(counted.sum() / planned.sum())
    by_video = np.stack([counted, planned]).reshape(2, 100, 3).sum(axis=2)
    drawn = by_video[:, rng.integers(0, 100, (4_000, 100))].sum(axis=2)
    assert ratio.error == pytest.approx((drawn[0] / drawn[1]).std(), rel=0.05)


def test_an_interval_is_shown_in_hundredths():
    assert Estimate(value=0.5, error=0.1).percent() == "50.0 [30.4, 69.6]"
    assert Estimate(value=0.123, error=None).percent(digits=0) == "12"
