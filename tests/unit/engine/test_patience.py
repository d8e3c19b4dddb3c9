"""Who is waited for and for how long, without a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.messages.keys import Role, Stage, WorkKey
from pipeline.engine.patience import LEAST_S, SILENCE_S, TIMES_SLOWEST, Overdue, WorkerPatience
from pipeline.own_time import MOST_STEP_S, OwnTime

MOST_S = {Role.SCORER: 1800.0, Role.DECODER: 5400.0, Role.ANSWERER: 1800.0}


def score(index, *, stage=Stage.SCORE):
    return WorkKey(video_id=0, attempt=1, stage=stage, index=index)


@pytest.fixture
def patience():
    return WorkerPatience(MOST_S)


def work(patience, worker, key, *, since_s, took_s):
    """A worker is given a piece and reports it."""
    patience.note_reply(worker, [key], now_s=since_s)
    patience.note_call(worker, [key], now_s=since_s + took_s)


def test_who_was_told_to_work_and_never_asks_is_lost_after_the_silence(patience):
    patience.expect("scorer-0", now_s=5.0)
    assert patience.overdue(5.0 + SILENCE_S) == []
    assert patience.overdue(5.1 + SILENCE_S) == [Overdue("scorer-0", 0, SILENCE_S, False)]
    assert patience.overdue(900.0) == [], "each is named once"


def test_who_waits_for_an_answer_is_never_silent(patience):
    patience.note_call("decoder-0", [], now_s=0.0)
    assert patience.overdue(10_000.0) == []
    patience.note_reply("decoder-0", [], now_s=10_000.0)
    assert [found.worker for found in patience.overdue(10_000.0 + 2 * SILENCE_S)] == ["decoder-0"]


def test_work_of_a_stage_that_was_never_done_is_given_what_the_settings_say(patience):
    patience.note_call("scorer-0", [], now_s=0.0)
    patience.note_reply("scorer-0", [score(0)], now_s=0.0)
    assert patience.overdue(1800.0) == []
    assert patience.overdue(1800.1) == [Overdue("scorer-0", 1, 1800.0, True)]


@pytest.mark.parametrize(("slowest_s", "limit_s"), [(0.1, LEAST_S), (4.0, 4.0 * TIMES_SLOWEST), (1000.0, 1800.0)])
def test_once_done_such_work_is_given_ten_times_the_slowest_within_bounds(patience, slowest_s, limit_s):
    patience.note_call("scorer-0", [], now_s=0.0)
    work(patience, "scorer-0", score(0), since_s=0.0, took_s=slowest_s)
    work(patience, "scorer-0", score(1), since_s=2000.0, took_s=slowest_s / 2)
    patience.note_reply("scorer-0", [score(2)], now_s=5000.0)
    assert patience.overdue(5000.0 + limit_s) == []
    assert patience.overdue(5000.1 + limit_s) == [Overdue("scorer-0", 1, limit_s, limit_s == 1800.0)]


def test_one_stage_says_nothing_about_another(patience):
    patience.note_call("scorer-0", [], now_s=0.0)
    work(patience, "scorer-0", score(0), since_s=0.0, took_s=1.0)
    patience.note_reply("scorer-0", [score(1), score(0, stage=Stage.ANSWER)], now_s=10.0)
    assert patience.overdue(1800.0) == []


def test_a_piece_held_back_is_measured_from_the_last_answer_on(patience):
    """The last group of a batch is reported with the next one: asking shows that the worker is there."""
    patience.note_call("scorer-0", [], now_s=0.0)
    work(patience, "scorer-0", score(0), since_s=0.0, took_s=1.0)
    patience.note_reply("scorer-0", [score(1), score(2)], now_s=1.0)
    patience.note_call("scorer-0", [score(1)], now_s=29.0)
    patience.note_reply("scorer-0", [], now_s=29.0)
    assert patience.num_held("scorer-0") == 1
    assert patience.overdue(31.5) == []


def test_who_was_ended_too_early_is_not_ended_so_again(patience):
    """An honest piece of 200 s after pieces of 1 s: given up once, at 30 s, and never after."""
    patience.note_call("scorer-0", [], now_s=0.0)
    work(patience, "scorer-0", score(0), since_s=0.0, took_s=1.0)
    num_ended, now_s = 0, 0.0
    for worker in (f"scorer-{number}" for number in range(1, 9)):
        patience.note_call(worker, [], now_s=now_s)
        patience.note_reply(worker, [score(1)], now_s=now_s)
        now_s += 200.0
        num_ended += bool(patience.overdue(now_s))
        patience.note_call(worker, [score(1)], now_s=now_s)
        patience.forget(worker)
    assert num_ended == 1


def test_a_late_call_of_one_given_up_is_no_report(patience):
    patience.note_call("scorer-0", [], now_s=0.0)
    patience.note_reply("scorer-0", [score(0)], now_s=0.0)
    patience.forget("scorer-0")
    patience.note_call("scorer-0", [score(0)], now_s=1000.0)
    patience.note_call("scorer-1", [], now_s=1000.0)
    work(patience, "scorer-1", score(1), since_s=1000.0, took_s=0.1)
    patience.note_reply("scorer-0", [score(2)], now_s=1001.0)
    assert patience.overdue(1001.0 + 31.0) != [], "1,000 s were not learnt from it"


@given(st.lists(st.floats(0.0, 5000.0), min_size=1, max_size=20), st.floats(0.0, 5000.0))
def test_nobody_is_given_less_than_30_s_or_more_than_the_setting(took_s, waited_s):
    patience = WorkerPatience(MOST_S)
    now_s = 0.0
    patience.note_call("scorer-0", [], now_s=0.0)
    for index, took in enumerate(took_s):
        work(patience, "scorer-0", score(index), since_s=now_s, took_s=took)
        now_s += took
    patience.note_reply("scorer-0", [score(99)], now_s=now_s)
    is_over = bool(patience.overdue(now_s + waited_s))
    expected = min(1800.0, max(LEAST_S, TIMES_SLOWEST * max(took_s)))
    assert is_over == (now_s + waited_s - now_s > expected)


def test_time_in_which_the_process_itself_stood_still_is_nobodys_silence(patience):
    own = OwnTime()
    patience.expect("scorer-0", now_s=own.tell(1000.0))
    assert patience.overdue(own.tell(1000.5)) == []
    assert patience.overdue(own.tell(9000.0)) == []
    rest_s = int(SILENCE_S - MOST_STEP_S)
    assert all(patience.overdue(own.tell(9000.0 + second)) == [] for second in range(rest_s))
    assert [one.worker for one in patience.overdue(own.tell(9000.0 + rest_s))] == ["scorer-0"]


def test_where_one_piece_may_take_far_longer_than_others_it_is_given_that_whatever_was_learnt():
    patience = WorkerPatience(MOST_S, {Role.SCORER: 600.0})
    patience.note_call("scorer-0", [], now_s=0.0)
    work(patience, "scorer-0", score(0), since_s=0.0, took_s=1.0)
    patience.note_reply("scorer-0", [score(1)], now_s=10.0)
    assert patience.overdue(610.0) == []
    assert patience.overdue(610.1) == [Overdue("scorer-0", 1, 600.0, False)]
