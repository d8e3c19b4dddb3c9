"""Intervals as bars: of shares they end where shares do."""

import pytest

from pipeline.evaluation.analysis.pictures import interval_arms
from pipeline.evaluation.statistics import Estimate


def test_bars_of_shares_end_at_0_and_100_percent():
    below, above = interval_arms(
        [Estimate(value=0.98, error=0.02), Estimate(value=0.01, error=0.02), Estimate(value=1.0, error=None)],
        are_shares=True,
    )
    assert above == pytest.approx([2.0, 3.92, 0.0], abs=0.01)
    assert below == pytest.approx([3.92, 1.0, 0.0], abs=0.01)


def test_bars_of_differences_do_not():
    below, above = interval_arms([Estimate(value=0.01, error=0.02)])
    assert (above[0], below[0]) == pytest.approx((3.92, 3.92), abs=0.01)
