"""Seconds left and how busy the scorers are, from counts and a clock that the tests turn."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.progress import Progress
from pipeline.watch.pace import Outlook, Pace


def progress(done, *, total=100, device_s=0.0, scorers=1, open_share=0.0):
    return Progress(
        num_videos=1,
        num_videos_done=0,
        num_questions=total,
        num_questions_done=done,
        num_groups_scored=0,
        num_groups_planned=0,
        num_scorers=scorers,
        open_share=open_share,
        stage_seconds=StageSeconds(score_s=device_s, decode_s=1e6, scorer_wait_s=1e6),
    )


class Clock:
    def __init__(self):
        self.now_s = 1_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def watch():
    """Lets a pace see (seconds, progress) one after the other; returns the last outlook."""

    def run(*events):
        clock = Clock()
        pace = Pace(now_s=clock)
        for seconds, seen in events:
            clock.now_s = 1_000.0 + seconds
            outlook = pace.note(seen)
        return outlook

    return run


def test_before_anything_is_scored_nothing_is_foretold(watch):
    assert watch((1, progress(0)), (30, progress(0))) == Outlook(elapsed_s=30.0)


def test_the_time_that_workers_took_to_start_does_not_count(watch):
    outlook = watch((0, progress(0, scorers=0)), (600, progress(0)), (610, progress(10, device_s=5)))
    assert (outlook.eta_s, outlook.questions_per_minute) == (90.0, 60.0)
    assert outlook.elapsed_s == 610.0


def test_what_is_scored_of_open_questions_counts_for_its_share(watch):
    outlook = watch((0, progress(0)), (10, progress(0, open_share=2.5)), (20, progress(4, open_share=1.0)))
    assert outlook.eta_s == pytest.approx(20 * 95 / 5)


def test_the_rate_is_that_of_the_last_ten_minutes(watch):
    slow = [(second, progress(second / 100)) for second in range(0, 1_001)]
    fast = [(1_000 + second, progress(10 + second / 10)) for second in range(1, 601)]
    assert watch(*slow, *fast).eta_s == pytest.approx(300, rel=0.01)


def test_all_done_is_no_seconds_left(watch):
    assert watch((1, progress(100))).eta_s == 0.0


@pytest.mark.parametrize(("scorers", "expected"), [(1, 1.0), (2, 0.75), (6, 0.25)])
def test_the_busy_share_is_device_seconds_over_the_processes_seconds(watch, scorers, expected):
    events = [(s, progress(s / 100, device_s=1.5 * s, scorers=scorers)) for s in range(0, 50)]
    assert watch(*events).busy_share == pytest.approx(expected)


def test_the_busy_share_is_of_the_last_minute(watch):
    busy = [(s, progress(0, device_s=s)) for s in range(0, 200)]
    idle = [(s, progress(0, device_s=199)) for s in range(200, 260)]
    assert watch(*busy, *idle).busy_share == pytest.approx(0.0, abs=0.02)


def test_rare_news_still_says_how_busy_the_last_stretch_was(watch):
    assert watch((0, progress(0)), (90, progress(1, device_s=45)), (180, progress(2, device_s=90))).busy_share == 0.5


def test_scorers_that_join_later_count_from_then_on(watch):
    events = [(s, progress(0, device_s=s, scorers=1)) for s in range(0, 20)]
    events += [(s, progress(0, device_s=19 + 3 * (s - 19), scorers=3)) for s in range(20, 40)]
    assert watch(*events).busy_share == pytest.approx(1.0)


def test_counts_that_are_taken_back_begin_a_new_rate(watch):
    events = [(s, progress(s, device_s=s)) for s in range(0, 60)]
    events += [(s, progress(s - 50, device_s=s - 50)) for s in range(60, 80)]
    outlook = watch(*events)
    assert outlook.questions_per_minute == pytest.approx(60)
    assert outlook.busy_share == pytest.approx(1.0)


@given(
    st.lists(
        st.tuples(st.floats(0, 500), st.integers(0, 100), st.floats(0, 5_000), st.integers(0, 8), st.floats(0, 1)),
        min_size=1,
        max_size=40,
    )
)
@settings(deadline=None)
def test_whatever_the_counts_do_the_outlook_stays_sensible(events):
    clock = Clock()
    pace = Pace(now_s=clock)
    for passed_s, done, device_s, scorers, open_share in events:
        clock.now_s += passed_s
        outlook = pace.note(progress(done, device_s=device_s, scorers=scorers, open_share=min(open_share, 100 - done)))
        assert outlook.eta_s is None or outlook.eta_s >= 0
        assert outlook.busy_share is None or 0 <= outlook.busy_share <= 1
        assert outlook.questions_per_minute is None or outlook.questions_per_minute > 0
