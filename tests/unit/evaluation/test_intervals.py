import numpy as np
import pytest

from pipeline.evaluation.intervals import mean_interval, share_interval, student_quantile

TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 49: 2.010, 1_000: 1.962}


@pytest.mark.parametrize(("degrees", "quantile"), TABLE.items())
def test_students_quantiles_are_those_of_the_printed_tables(degrees, quantile):
    assert student_quantile(degrees) == pytest.approx(quantile, abs=0.006)


def test_all_right_is_no_certainty():
    """50 of 50 right in 50 videos: never [100, 100]; Wilson with t is a little below its normal 92.9 %."""
    found = share_interval(np.ones(50), list(range(50)))
    assert found.high == 1.0
    assert 0.915 < found.low < 0.93


def test_a_share_of_independent_questions_is_wilsons():
    """81 of 263 (Newcombe 1998): 0.2553 to 0.3662; with as many videos t is nearly normal."""
    found = share_interval([1] * 81 + [0] * 182, list(range(263)))
    assert found.low == pytest.approx(0.2553, abs=0.001)
    assert found.high == pytest.approx(0.3662, abs=0.001)


def test_questions_that_only_repeat_each_other_tell_no_more():
    once = share_interval([1, 0, 1, 1, 0, 1], list("abcdef"))
    twice = share_interval([1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1], list("aabbccddeeff"))
    assert twice.high - twice.low == pytest.approx(once.high - once.low, rel=0.1)


def test_intervals_of_means_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        values = np.repeat(rng.normal(0.3, 1, 6), 3) + rng.normal(0, 0.5, 18)
        found = mean_interval(values, np.repeat(np.arange(6), 3).tolist())
        covered += found.low <= 0.3 <= found.high
    assert 0.92 < covered / 400 < 0.98


def test_one_video_has_no_interval():
    assert share_interval([1, 0], ["a", "a"]).low is None
    assert mean_interval([1, 0], ["a", "a"]).percent() == "50"
