import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.doctor.hit_shares import hit_shares
from pipeline.evaluation.statistics import clustered_errors
from pipeline.lab.layer_probe.hit_rates import NeedleReading, choose_layer, rate_layers

ATTENTION_LN = np.array(
    [
        [0.9, 0.8, 0.1, 0.2, 0.0, 0.0],  # tokens 0 and 1 first
        [0.1, 0.9, 0.8, 0.0, 0.0, 0.0],  # 1, 2
        [0.0, 0.1, 0.0, 0.2, 0.9, 0.8],  # 4, 5
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.5],  # a tie: 0, 1
    ],
    dtype=np.float32,
)


def reading(attention_LN, shows, *, video=0, question=0, tokens_per_patch=2):
    return NeedleReading(
        video=video,
        question=question,
        attention_LN=np.asarray(attention_LN, dtype=np.float32),
        shows_N=np.isin(np.arange(np.shape(attention_LN)[1]), shows),
        tokens_per_patch=tokens_per_patch,
    )


@pytest.mark.parametrize(
    ("shows", "top", "expected"),
    [
        ([0, 1], 2, [1.0, 0.5, 0.0, 1.0]),
        ([1], 1, [0.0, 1.0, 0.0, 0.0]),
        ([4], 1, [0.0, 0.0, 1.0, 0.0]),
        ([1, 2, 4], 3, [1 / 3, 2 / 3, 1 / 3, 2 / 3]),
    ],
)
def test_hit_share_counts_wanted_tokens_among_the_highest(shows, top, expected):
    wanted_N = np.isin(np.arange(6), shows)
    assert hit_shares(ATTENTION_LN, wanted_N, top=top) == pytest.approx(expected)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_hit_shares_equal_a_loop_over_sorted_pairs(seed, top):
    rng = np.random.default_rng(seed)
    attention_LN = rng.integers(0, 4, (3, 12)).astype(np.float32)  # many ties
    wanted_N = rng.random(12) < 0.4
    expected = []
    for row in attention_LN.tolist():
        order = sorted(range(12), key=lambda token: (-row[token], token))
        expected.append(sum(bool(wanted_N[token]) for token in order[:top]) / top)
    assert hit_shares(attention_LN, wanted_N, top=top) == pytest.approx(expected)


@pytest.mark.parametrize("top", [0, 7])
def test_more_or_fewer_top_tokens_than_there_are_is_refused(top):
    with pytest.raises(ValueError, match=f"top must be between 1 and 6 tokens, got {top}"):
        hit_shares(ATTENTION_LN, np.ones(6, dtype=bool), top=top)


def test_rates_of_two_videos_by_hand():
    rates = rate_layers([reading(ATTENTION_LN, [0, 1]), reading(ATTENTION_LN, [1, 2], video=1)])
    assert [rate.hit_rate for rate in rates.layers] == pytest.approx([0.75, 0.75, 0.0, 0.75])
    assert [rate.top_rate for rate in rates.layers] == pytest.approx([0.5, 1.0, 0.0, 0.5])
    # tokens 0, 1 are one patch; 1, 2 lie in two patches of four tokens
    assert [rate.patch_rate for rate in rates.layers] == pytest.approx([1.0, 0.75, 0.0, 1.0])
    # two videos a, b: the error of their mean is |a - b| / 2
    assert [rate.error for rate in rates.layers] == pytest.approx([0.25, 0.25, 0.0, 0.25])
    assert rates.reference_layer == 0  # tied with 1 and 3 in rate and error
    assert [rate.behind for rate in rates.layers] == pytest.approx([0.0, 0.0, 0.75, 0.0])
    assert [rate.behind_error for rate in rates.layers] == pytest.approx([0.0, 0.5, 0.25, 0.0])
    assert (rates.chance, rates.patch_chance) == pytest.approx((2 / 6, 3 / 6))
    assert (rates.num_readings, rates.num_questions, rates.num_videos) == (2, 2, 2)


def test_a_question_with_many_groups_counts_as_one():
    long_needle = [reading(ATTENTION_LN, [0, 1]) for _ in range(9)]
    short_needle = [reading(ATTENTION_LN, [4, 5], question=1), reading(ATTENTION_LN, [4, 5], video=1)]
    rates = rate_layers(long_needle + short_needle)
    assert [rate.hit_rate for rate in rates.layers] == pytest.approx([1 / 3, 1 / 6, 2 / 3, 1 / 3])
    assert (rates.reference_layer, rates.num_readings, rates.num_questions) == (2, 11, 3)


@pytest.mark.parametrize(
    ("rates", "errors", "expected"),
    [
        ([0.1, 0.6, 0.5], [0.0, 0.3, 0.0], 1),  # the best, however uncertain
        ([0.6, 0.6, 0.5], [0.3, 0.2, 0.0], 1),  # a tie: the lower error
        ([0.5, 0.6, 0.6], [0.0, 0.2, 0.2], 1),  # a full tie: the earlier layer
        ([0.6 + 1e-12, 0.6], [0.2, 0.1], 1),  # rounding is no difference
    ],
)
def test_the_best_layer_wins_and_ties_go_to_the_surer_then_the_earlier(rates, errors, expected):
    assert choose_layer(np.array(rates), np.array(errors)) == expected


def test_the_error_equals_that_of_video_means_when_videos_are_of_one_size():
    values_QL = np.random.default_rng(0).random((12, 2))
    videos_Q = np.repeat(np.arange(4), 3)
    means = values_QL.reshape(4, 3, 2).mean(axis=1)
    errors_L = clustered_errors(values_QL, videos_Q.tolist(), is_for_few=True)
    assert errors_L == pytest.approx(means.std(axis=0, ddof=1) / 2)


def test_without_a_needle_in_any_group_the_remedy_is_named():
    with pytest.raises(ValueError, match=r"no group shows a needle.*sampling.max_frames"):
        rate_layers([])


def test_needles_in_one_video_only_give_no_error_and_are_refused():
    with pytest.raises(ValueError, match="at least 2 videos, got 1"):
        rate_layers([reading(ATTENTION_LN, [0]), reading(ATTENTION_LN, [0], question=1)])
