"""How far to run ahead, and whose fault a failure is: tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.one_video.faults import LAST_RUNG, Remedy, for_question, for_reading, for_scoring_together
from pipeline.engine.policy import groups_to_hand, long_poll_s, speculation_window, wants_more_videos
from pipeline.failures import Failure, FailureClass
from pipeline.planning.stretches import most_stretch_bytes, stretches_per_pass


@pytest.mark.parametrize(
    ("num_videos", "window"), [(10_000, 0), (64, 0), (63, 2), (32, 3), (10, 12), (2, 63), (1, 127), (0, 127)]
)
def test_the_window_is_narrow_while_many_videos_wait_and_wide_when_few_do(num_videos, window):
    assert speculation_window(num_videos=num_videos, num_scorers=64, groups_in_hand=2) == window


@given(num_videos=st.integers(1, 500), num_scorers=st.integers(1, 500), groups_in_hand=st.integers(1, 4))
def test_certain_and_speculative_groups_together_suffice_for_all_scorers(num_videos, num_scorers, groups_in_hand):
    window = speculation_window(num_videos=num_videos, num_scorers=num_scorers, groups_in_hand=groups_in_hand)
    assert num_videos * (1 + window) >= num_scorers
    more = speculation_window(num_videos=num_videos + 1, num_scorers=num_scorers, groups_in_hand=groups_in_hand)
    assert more <= window


@pytest.mark.parametrize(
    ("num_videos", "num_decoders", "num_scorers", "stretches"),
    [
        (1, 128, 64, 128),  # one video: every decoder reads a piece of it
        (2, 128, 64, 64),
        (60, 128, 64, 32),  # four are read at once
        (1_000, 2_000, 1_000, 40),  # and as many as feed the scorers
        (10_000, 128, 64, 16),  # one for every decoder: each piece is a reference in each group
        (10_000, 12, 4, 12),  # few decoders cost nothing
        (10_000, 1, 1, 1),
    ],
)
def test_readings_are_cut_for_all_decoders_unless_several_videos_are_read_at_once(
    num_videos, num_decoders, num_scorers, stretches
):
    cut = stretches_per_pass(
        num_videos=num_videos, num_decoders=num_decoders, num_scorers=num_scorers, groups_in_hand=2, num_certain=157
    )
    assert cut == stretches


@pytest.mark.parametrize(("num_waiting", "seconds"), [(1, 2.0), (64, 2.0), (96, 3.0), (256, 8.0), (5_000, 10.0)])
def test_idle_workers_of_a_large_fleet_ask_less_often(num_waiting, seconds):
    assert long_poll_s(num_waiting) == seconds


MIB, GIB = 1024**2, 1024**3


@pytest.mark.parametrize(
    ("num_videos", "num_decoders", "room", "most"),
    [
        (10_000, 128, 256 * GIB, 256 * MIB),
        (10_000, 128, 256 * GIB - 1, 128 * MIB),  # each decoder holds one twice beside what waits
        (127, 128, 1_024 * GIB, 128 * MIB),  # a video is read by several
        (10_000, 31, 1_024 * GIB, 128 * MIB),  # the coordinator has little to do
        (10_000, 2, 1 * GIB, 64 * MIB),
    ],
)
def test_a_large_fleet_with_room_reads_larger_pieces(num_videos, num_decoders, room, most):
    assert most_stretch_bytes(num_videos=num_videos, num_decoders=num_decoders, frame_buffer_bytes=room) == most


PLENTY = {
    "num_scoring": 5,
    "videos_in_flight": 2,
    "is_short_of_room": False,
    "num_unprobed": 0,
    "mean_groups": 20.0,
    "num_queued": 0,
    "num_decoders": 8,
    "num_ready": 255,
    "num_in_hand": 64,
}


@pytest.mark.parametrize(
    ("changes", "wants"),
    [
        ({}, True),
        ({"num_ready": 256}, False),
        ({"num_ready": 135, "num_unprobed": 6}, True),  # 120 groups are expected of those not probed yet
        ({"num_ready": 136, "num_unprobed": 6}, False),
        ({"num_ready": 143, "num_unprobed": 7, "mean_groups": None}, True),  # 16 each are guessed at first
        ({"num_ready": 144, "num_unprobed": 7, "mean_groups": None}, False),
        ({"is_short_of_room": True}, False),
        ({"num_unprobed": 8}, False),
        ({"num_queued": 8}, False),
        ({"num_decoders": 0}, False),
        ({"num_scoring": 1, "is_short_of_room": True, "num_ready": 1_000}, True),
    ],
)
def test_videos_are_begun_up_to_the_floor_and_beyond_it_only_where_workers_would_starve(changes, wants):
    assert wants_more_videos(**(PLENTY | changes)) is wants


@pytest.mark.parametrize(("num_ready", "groups"), [(0, 1), (3, 1), (127, 1), (128, 2), (1_000, 2)])
def test_a_second_group_is_handed_out_only_if_every_other_scorer_keeps_one(num_ready, groups):
    assert groups_to_hand(num_ready=num_ready, num_scorers=64, room=2) == groups


def failure(name):
    return Failure(failure_class=FailureClass(name), message="m")


@pytest.mark.parametrize(
    ("name", "num_failures", "remedy"),
    [
        ("transfer", 2, "redo"),
        ("transfer", 3, "fail_video"),
        ("not_found", 2, "redo"),
        ("corrupt_media", 1, "fail_video"),
        ("worker_lost", 2, "redo"),
    ],
)
def test_reading_is_the_videos_own_fault(name, num_failures, remedy):
    assert for_reading(failure(name), num_failures=num_failures, max_attempts=3) is Remedy(remedy)


def test_a_reading_that_hangs_is_not_tried_as_often_as_others():
    assert for_reading(failure("decode_timeout"), num_failures=2, max_attempts=6) is Remedy.REDO
    assert for_reading(failure("decode_timeout"), num_failures=3, max_attempts=6) is Remedy.FAIL_VIDEO


@pytest.mark.parametrize(
    ("name", "num_failures", "rung", "remedy"),
    [
        ("worker_lost", 1, 0, "redo"),
        ("worker_lost", 2, 0, "isolate"),
        ("internal", 2, 0, "isolate"),
        ("model", 1, 0, "isolate"),
        ("out_of_memory", 0, 0, "next_rung"),
        ("out_of_memory", 0, LAST_RUNG, "isolate"),
    ],
)
def test_questions_scored_together_are_asked_apart_before_any_of_them_fails(name, num_failures, rung, remedy):
    assert for_scoring_together(failure(name), num_failures=num_failures, rung=rung, max_attempts=3) is Remedy(remedy)
    if remedy == "redo":
        assert for_scoring_together(failure(name), num_failures=1, rung=0, max_attempts=1) is Remedy.ISOLATE


@pytest.mark.parametrize(
    ("name", "num_failures", "rung", "remedy"),
    [
        ("worker_lost", 2, 0, "redo"),
        ("worker_lost", 3, 0, "fail_question"),
        ("model", 1, 0, "fail_question"),
        ("out_of_memory", 9, 2, "next_rung"),
        ("out_of_memory", 0, LAST_RUNG, "fail_question"),
    ],
)
def test_a_question_alone_fails_when_its_attempts_or_rungs_are_spent(name, num_failures, rung, remedy):
    assert for_question(failure(name), num_failures=num_failures, rung=rung, max_attempts=3) is Remedy(remedy)
