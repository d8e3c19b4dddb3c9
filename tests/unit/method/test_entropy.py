import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.method.entropy import response_certainty, token_entropies


def entropy_float64(logits):
    shifted = np.asarray(logits, dtype=np.float64)
    probs = np.exp(shifted - shifted.max())
    probs /= probs.sum()
    return -sum(p * math.log(p) for p in probs if p > 0)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([0.0, 0.0, 0.0, 0.0], math.log(4)),
        ([0.0, -math.inf, 0.0, -math.inf], math.log(2)),  # forbidden tokens
        ([5.0, -math.inf, -math.inf], 0.0),
        ([1e4, 0.0, 0.0], 0.0),  # exp(1e4) alone would overflow
        ([math.log(3.0), 0.0], -0.75 * math.log(0.75) - 0.25 * math.log(0.25)),
    ],
)
def test_entropy_is_in_nats_over_the_whole_vocabulary(logits, expected):
    assert token_entropies(torch.tensor([logits])).tolist() == [pytest.approx(expected, abs=1e-6)]


def test_entropies_of_a_large_vocabulary_equal_float64():
    logits_NV = torch.randn(5, 50_000, generator=torch.Generator().manual_seed(0)) * 3
    expected = [entropy_float64(row) for row in logits_NV.numpy()]
    np.testing.assert_allclose(token_entropies(logits_NV).numpy(), expected, rtol=1e-5)


def test_half_precision_logits_are_summed_in_float32():
    logits_NV = torch.zeros(1, 100_000, dtype=torch.bfloat16)
    entropies_N = token_entropies(logits_NV)
    assert entropies_N.dtype == torch.float32
    assert entropies_N.item() == pytest.approx(math.log(100_000), rel=1e-5)


@pytest.mark.parametrize("logits", [[math.nan, 0.0], [-math.inf, -math.inf]])
def test_logits_without_a_distribution_give_nan_which_certainty_refuses(logits):
    entropies_N = token_entropies(torch.tensor([logits]))
    assert math.isnan(entropies_N.item())
    with pytest.raises(ValueError, match="entropies_N must be finite"):
        response_certainty(entropies_N)


def test_logits_of_one_dimension_are_refused():
    with pytest.raises(ValueError, match=r"\(tokens, vocabulary\), got \(3,\)"):
        token_entropies(torch.zeros(3))


@pytest.mark.parametrize(
    ("entropies", "share", "expected"),
    [
        ([0.7], 0.1, -0.7),  # multiple choice: one token
        ([0.1] * 9 + [0.9], 0.1, -0.9),  # ceil(0.1 · 10) is 1
        ([0.1] * 9 + [0.9, 0.5], 0.1, -0.7),  # ceil(0.1 · 11) is 2
        ([0.0] * 25 + [3.0, 2.0, 1.0, 0.5, 0.5], 0.1, -2.0),  # 0.1 · 30 is 3.0000000000000004 in floats
        ([1.0, 2.0, 3.0], 1.0, -2.0),
        ([1.0, 2.0, 3.0], 1e-12, -3.0),  # at least one
        ([0.0], 0.1, 0.0),
    ],
)
def test_certainty_is_minus_the_mean_of_the_least_sure_tokens(entropies, share, expected):
    assert response_certainty(entropies, share=share) == pytest.approx(expected, abs=1e-12)
    assert response_certainty(torch.tensor(entropies), share=share) == pytest.approx(expected, abs=1e-6)


def test_full_certainty_is_a_plain_zero():
    assert math.copysign(1.0, response_certainty([0.0])) == 1.0


@settings(deadline=None)
@given(entropies=st.lists(st.floats(0, 12), min_size=1, max_size=70), percent=st.integers(1, 100))
def test_certainty_equals_integer_arithmetic_on_percents(entropies, percent):
    num_counted = -(-percent * len(entropies) // 100)
    expected = -sum(sorted(entropies)[len(entropies) - num_counted :]) / num_counted
    assert response_certainty(entropies, share=percent / 100) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("entropies", "share", "message"),
    [([], 0.1, "at least one token"), ([1.0], 0.0, "share must be in"), ([1.0], 1.1, "share must be in")],
)
def test_certainty_names_a_bad_argument(entropies, share, message):
    with pytest.raises(ValueError, match=message):
        response_certainty(entropies, share=share)
