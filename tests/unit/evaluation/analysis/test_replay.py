"""The early stop played again: by hand, against brute force, and what it is said to cost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.analysis.replay import Stop, candidate_thresholds, find_share, replay, round_up, trade_point

VOTES = "A 0.10, B 0.05, A 0.30, B 0.15, C 0.01"


@pytest.mark.parametrize(
    ("stop_entropy", "confident_groups", "expected"),
    [
        (0.04, 2, Stop(num_groups_scored=5, is_early=False, answer="D")),  # never two that agree: the full answer
        (0.15, 2, Stop(num_groups_scored=4, is_early=True, answer="B")),
        (0.30, 2, Stop(num_groups_scored=3, is_early=True, answer="A")),
        (0.05, 1, Stop(num_groups_scored=2, is_early=True, answer="B")),
        (0.01, 1, Stop(num_groups_scored=5, is_early=False, answer="D")),  # the last group: nothing is left out
    ],
)
def test_a_question_stops_where_enough_confident_groups_agree(asked, stop_entropy, confident_groups, expected):
    question = asked(VOTES, answer="D")
    assert replay(question, confident_groups=confident_groups, stop_entropy=stop_entropy) == expected


def test_what_lite_left_out_cannot_be_replayed(asked):
    with pytest.raises(ValueError, match="'q7' has 5 of 9 groups"):
        replay(asked(VOTES, number=7, num_groups=9), confident_groups=2, stop_entropy=0.1)


def test_work_and_loss_of_a_threshold_by_hand(asked):
    questions = [
        asked("A 0.1, A 0.1, B 0.1, B 0.9", number=0, expected="B", answer="B", video="u"),  # stops on A: lost
        asked("A 0.1, A 0.1", number=1, expected="A", answer="B", video="v"),  # at its last group: still wrong
        asked("C 0.1, C 0.1, C 0.1, C 0.1", number=2, expected="C", answer="D", video="v"),  # stops on C: won
        asked("A 0.9, A 0.9", number=3, expected=None, answer="A", video="w"),  # never stops, no label
    ]
    point = trade_point(questions, confident_groups=2, stop_entropy=0.2)
    assert point.groups_share.value == pytest.approx((2 + 2 + 2 + 2) / 12)
    assert point.stopped_share.value == 0.5
    assert point.changed_share.value == 0.5
    assert point.accuracy is not None
    assert point.accuracy.value == pytest.approx(1 / 3)
    assert point.loss is not None
    assert point.loss.value == 0.0
    assert point.loss.error == pytest.approx(2**0.5 / 3)  # videos u: +1, v: -1


def test_without_labels_only_changes_are_counted(asked):
    point = trade_point([asked("B 0.1, B 0.1, A 0.9", expected=None)], confident_groups=2, stop_entropy=0.2)
    assert (point.accuracy, point.loss, point.changed_share.value) == (None, None, 1.0)


@given(value=st.floats(1e-9, 20.0))
@settings(deadline=None, max_examples=200)
def test_rounding_up_never_excludes_the_group_it_came_from(value):
    rounded = round_up(value)
    assert value <= rounded <= value * (1 + 1.01e-5)
    assert float(f"{rounded:.6g}") == rounded
    assert round_up(0.0) == 0.0


GROUPS = st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 9)), min_size=3, max_size=8)


@given(all_votes=st.lists(GROUPS, min_size=1, max_size=5), share=st.floats(0.2, 1.0))
@settings(deadline=None, max_examples=100)
def test_the_smallest_threshold_for_a_share_is_that_of_trying_them_all(asked, all_votes, share):
    questions = [
        asked(", ".join(f"{said} {tenth / 10}" for said, tenth in votes), number=number)
        for number, votes in enumerate(all_votes)
    ]
    observed = sorted({tenth / 10 for votes in all_votes for _, tenth in votes})
    enough = [
        threshold
        for threshold in observed
        if trade_point(questions, confident_groups=2, stop_entropy=threshold).groups_share.value <= share + 1e-12
    ]
    assert find_share(questions, share + 1e-12, confident_groups=2) == (enough[0] if enough else None)


def test_candidates_are_quantiles_of_what_was_observed(asked):
    question = asked("A 0.1, A 0.2, A 0.3, A 0.4, A 0.5")
    assert candidate_thresholds([question], num_quantiles=4).tolist() == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert candidate_thresholds([question], num_quantiles=1).tolist() == [0.1, 0.5]
