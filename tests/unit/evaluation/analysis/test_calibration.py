"""Which threshold is chosen, how it is judged on videos that had no part in it, and what is written."""

import json

import pytest

from pipeline.evaluation.analysis.calibration import Target, calibrate, choose, halves_of, trade_curve
from pipeline.evaluation.analysis.calibration_report import (
    calibration_json,
    calibration_tables,
    describe_refusal,
    preset_yaml,
)
from pipeline.settings.config import RunConfig
from pipeline.settings.reading import load_config


@pytest.fixture
def questions(asked):
    """20 videos: groups at 0.1 nats are right, at 0.5 nats wrong; the full answer is right."""
    return [
        asked("B 0.5, A 0.1, B 0.5, A 0.1, A 0.1, A 0.1", number=number, video=f"v{number // 2}")
        for number in range(40)
    ]


def test_a_loss_is_kept_by_the_largest_threshold_before_the_first_that_exceeds_it(questions):
    calibration = calibrate(questions, Target(max_loss=0.01), confident_groups=2)
    assert calibration.chosen.stop_entropy == 0.1
    assert calibration.chosen.groups_share.value == pytest.approx(4 / 6)
    assert calibration.chosen.loss is not None
    assert calibration.chosen.loss.value == 0.0
    assert [point.stop_entropy for point in calibration.curve] == [0.1, 0.5]
    assert calibration.reaches_target


def test_a_share_is_reached_by_the_smallest_threshold_whatever_it_costs(questions):
    calibration = calibrate(questions, Target(groups_share=0.55), confident_groups=2)
    assert calibration.chosen.stop_entropy == 0.5
    assert calibration.chosen.groups_share.value == pytest.approx(0.5)
    assert calibration.chosen.loss is not None
    assert calibration.chosen.loss.value == 1.0


def test_a_target_out_of_reach_gives_the_nearest_end_and_says_so(questions):
    calibration = calibrate(questions, Target(groups_share=0.1), confident_groups=2)
    assert (calibration.chosen.stop_entropy, calibration.reaches_target) == (0.5, False)
    assert "no threshold reaches at most 10 % of the groups" in calibration_tables(calibration, questions)[0].notes[2]


def test_a_lucky_threshold_beyond_a_bad_one_is_not_taken(asked):
    unlucky = asked("B 0.2, B 0.2, A 0.1, A 0.3, A 0.3, A 0.3", expected="A", number=1, video="w")
    lucky = asked("A 0.3, A 0.3, A 0.3, A 0.3, A 0.3, A 0.3", expected="A", answer="B", number=2, video="x")
    curve = trade_curve([unlucky, lucky], confident_groups=2, num_quantiles=60)
    assert [point.loss.value for point in curve if point.loss] == [0.0, 0.5, 0.0]
    assert choose([unlucky, lucky], curve, Target(max_loss=0.01), confident_groups=2)[0].stop_entropy == 0.1


def test_each_half_is_judged_at_the_threshold_of_the_other(asked):
    videos = [f"v{number}" for number in range(10)]
    half_of = halves_of(videos)
    assert sorted(half_of.values()) == [0] * 5 + [1] * 5
    assert halves_of(videos[::-1] + videos) == half_of
    votes = {0: "A 0.1, A 0.1, A 0.1, A 0.1", 1: "A 0.3, A 0.3, A 0.3, A 0.3"}
    questions = [asked(votes[half_of[video]], video=video, number=index) for index, video in enumerate(videos)]
    calibration = calibrate(questions, Target(groups_share=0.5), confident_groups=2)
    assert calibration.held_out_thresholds == (0.1, 0.3)
    assert calibration.held_out is not None
    # at 0.1 the other half never stops, at 0.3 the first half does
    assert calibration.held_out.groups_share.value == pytest.approx((4 + 2) / 8)


def test_one_video_cannot_be_held_out(asked):
    calibration = calibrate([asked("A 0.1, A 0.1, A 0.2")], Target(max_loss=0.0), confident_groups=2)
    assert calibration.held_out is None
    assert calibration.chosen.groups_share.error is None


def test_what_the_other_half_does_not_keep_is_refused_with_what_would_pass(asked):
    """The halves want 0.1 and 0.3 nats: at 0.3 the first half's stops are wrong."""
    videos = [f"v{number}" for number in range(24)]
    half_of = halves_of(videos)
    votes = {0: "B 0.1, B 0.1, A 0.2, A 0.2, A 0.4, A 0.4", 1: "A 0.05, A 0.3, A 0.3, A 0.3, A 0.4, A 0.4"}
    questions = [asked(votes[half_of[video]], video=video, number=index) for index, video in enumerate(videos)]
    calibration = calibrate(questions, Target(max_loss=0.01), confident_groups=2)
    assert calibration.held_out is not None
    assert calibration.held_out.loss is not None
    assert calibration.held_out.loss.value == 0.5
    assert not calibration.is_kept
    assert calibration.passing == Target(max_loss=0.5)
    assert describe_refusal(calibration).endswith("--max-accuracy-loss 0.5 would pass, or answer more videos")
    again = calibrate(questions, calibration.passing, confident_groups=2)
    assert again.is_kept


def test_what_cannot_be_checked_is_refused_too(asked):
    calibration = calibrate([asked("A 0.1, A 0.1, A 0.2")], Target(max_loss=0.0), confident_groups=2)
    assert not calibration.is_kept
    assert "cannot be checked on videos held out: 1 video, and" in describe_refusal(calibration)


def test_a_kept_target_is_not_refused(questions):
    calibration = calibrate(questions, Target(max_loss=0.01), confident_groups=2)
    assert calibration.is_kept
    assert calibration.passing is None


def test_without_labels_a_changed_answer_is_the_loss(asked):
    votes = "B 0.1, B 0.1, A 0.5, A 0.5"
    questions = [asked(votes, number=number, video=f"v{number}", expected=None) for number in range(4)]
    calibration = calibrate(questions, Target(max_loss=0.01, uses_labels=False), confident_groups=3)
    assert calibration.chosen.changed_share.value == 0.0
    assert "% of the answers changed" in preset_yaml(calibration)
    with pytest.raises(ValueError, match="no question has a label"):
        calibrate(questions, Target(max_loss=0.01), confident_groups=3)


def test_the_preset_is_read_as_settings(questions, tmp_path):
    calibration = calibrate(questions, Target(max_loss=0.01), confident_groups=3)
    file = tmp_path / "preset.yaml"
    file.write_text(preset_yaml(calibration))
    config = load_config(RunConfig(), yaml_uri=str(file))
    assert config.stopping.stop_entropy == calibration.chosen.stop_entropy
    assert config.stopping.confident_groups == 3
    assert "# model: m at revision r" in file.read_text()
    assert json.loads(calibration_json(calibration))["chosen"]["stop_entropy"] == calibration.chosen.stop_entropy


def test_kinds_are_shown_apart_and_open_questions_with_a_threshold_of_their_own(asked):
    choice = [asked("A 0.1, A 0.1, A 0.1", number=n, video=f"v{n}") for n in range(4)]
    said = "red 0.4, red 0.4, red 0.4"
    free = [
        asked(said, number=9 + n, video=f"v{n}", kind="open", is_choice=False, expected="red", answer="red")
        for n in range(4)
    ]
    calibration = calibrate([*choice, *free], Target(groups_share=0.7), confident_groups=2)
    rows = calibration_tables(calibration, [*choice, *free])[2].rows
    assert [(row[0], row[1]) for row in rows] == [
        ("choice", "0.4"),
        ("open", "0.4"),
        ("choice, threshold of its own", "0.1"),
        ("open, threshold of its own", "0.4"),
    ]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({}, "either a loss of accuracy or a share"),
        ({"max_loss": 0.1, "groups_share": 0.1}, "not both"),
        ({"max_loss": 2.0}, "max_accuracy_loss must be in"),
        ({"groups_share": 0.0}, "groups_share must be in"),
    ],
)
def test_a_target_is_one_of_two_shares(target, message):
    with pytest.raises(ValueError, match=message):
        Target(**target)


def test_thresholds_are_not_mixed_between_configurations(asked):
    lite = asked("A 0.1, A 0.1", method="adapttoken-lite")
    with pytest.raises(ValueError, match="2 configurations"):
        calibrate([asked("A 0.1, A 0.1"), lite], Target(max_loss=0.1), confident_groups=2)
    with pytest.raises(ValueError, match="rows of method 'adapttoken', got 'adapttoken-lite'"):
        calibrate([lite], Target(max_loss=0.1), confident_groups=2)
    with pytest.raises(ValueError, match="no answered questions"):
        calibrate([], Target(max_loss=0.1), confident_groups=2)
