"""What is said of a wait, and when it ends, with a clock of the test's own."""

from threading import Event

import pytest

from jobs.wiring import long_waits
from jobs.wiring.long_waits import LongWaits


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    """Of the test's own: the thread that looks does not come round to it."""
    monkeypatch.setattr(long_waits, "_LOOK_EVERY_S", 3600.0)
    return Clock()


def test_a_long_wait_is_named_after_30_s_and_then_after_twice_as_long_each_time(clock, monkeypatch):
    said = []
    monkeypatch.setattr(long_waits.LOG, "warning", lambda message, *parts: said.append((clock.now_s, message % parts)))
    waits = LongWaits(pytest.fail, now_s=clock)
    with waits.over("a commit to s3://b/o"):
        for clock.now_s in range(0, 300):
            assert waits.check() is None
    assert said == [(s, f"still waiting for a commit to s3://b/o, for {s} s") for s in (30, 60, 120, 240)]


def test_past_its_limit_a_wait_is_overdue_with_its_remedy_and_one_that_has_ended_is_not(clock):
    waits = LongWaits(pytest.fail, now_s=clock)
    with waits.over("the end", limit_s=10.0, remedy="do this"):
        clock.now_s = 10.0
        assert waits.check() is None
        clock.now_s = 10.1
        assert waits.check() == "the end has not come through in 10 s; do this"
    assert waits.check() is None


def test_the_thread_that_looks_ends_with_the_last_wait_and_comes_back_with_the_next(clock):
    waits = LongWaits(pytest.fail, now_s=clock)
    for _ in range(2):
        with waits.over("a commit"), waits.over("another"):
            thread = waits._thread
            assert thread.is_alive()
        thread.join(30)
        assert not thread.is_alive()


def test_the_thread_that_looks_ends_an_overdue_wait_once(monkeypatch):
    monkeypatch.setattr(long_waits, "_LOOK_EVERY_S", 0.001)
    ended, reasons = Event(), []
    waits = LongWaits(lambda reason: (reasons.append(reason), ended.set()))
    with waits.over("a commit", limit_s=0.01):
        assert ended.wait(30)
    assert reasons == ["a commit has not come through in 0.01 s"]
