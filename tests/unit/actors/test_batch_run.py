"""Cancelling work in hand: what has not begun is left out, what runs is broken off, what is done stays done."""

import threading

import pytest

from actors.batch_run import BatchRun
from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.work import Cancelled, Completion, ProbeDone, ProbeWork
from pipeline.failures import Failure, FailureClass

WORKS = tuple(
    ProbeWork(key=WorkKey(video_id=video, attempt=1, stage=Stage.PROBE), uri=str(video), fingerprint="f")
    for video in range(3)
)
KEYS = [work.key for work in WORKS]
BROKEN = Failure(failure_class=FailureClass.OUT_OF_MEMORY, message="the child was killed")


def done(work):
    return Completion(key=work.key, result=ProbeDone(plan=work.uri, probe=None))


def kinds(completions):
    return [type(completion.result).__name__ for completion in completions]


def test_pieces_that_have_not_begun_are_left_out():
    begun = []

    def run(work):
        begun.append(work.uri)
        if work.uri == "0":
            batch.cancel(KEYS[1:2])
        return done(work)

    batch = BatchRun(run)
    completions = batch.run(WORKS)
    assert begun == ["0", "2"]
    assert kinds(completions) == ["ProbeDone", "Cancelled", "ProbeDone"]
    assert [completion.key for completion in completions] == KEYS


@pytest.mark.parametrize(("victim", "expected"), [(0, "Cancelled"), (1, "Failure")])
def test_only_the_failure_of_a_cancelled_piece_counts_as_cancelled(victim, expected):
    aborted = []

    def run(work):
        if work.uri != "0":
            return done(work)
        batch.cancel([KEYS[victim]])
        return Completion(key=work.key, result=BROKEN)

    batch = BatchRun(run, abort=lambda: aborted.append(True))
    assert kinds(batch.run(WORKS))[0] == expected
    assert len(aborted) == (victim == 0)


def test_a_piece_that_ends_well_although_it_was_cancelled_is_reported():
    def run(work):
        batch.cancel(KEYS[:1])
        return done(work)

    batch = BatchRun(run)
    assert kinds(batch.run(WORKS[:1])) == ["ProbeDone"]


def test_keys_of_an_earlier_or_later_batch_are_ignored():
    aborted = []
    batch = BatchRun(done, abort=lambda: aborted.append(True))
    batch.cancel(KEYS)
    assert kinds(batch.run(WORKS[:1])) == ["ProbeDone"]
    batch.cancel(KEYS)
    assert kinds(batch.run(WORKS[1:])) == ["ProbeDone"] * 2
    assert kinds(batch.run(WORKS[:1])) == ["ProbeDone"]
    assert aborted == []


def test_a_piece_is_broken_off_from_another_thread():
    is_running, is_aborted = threading.Event(), threading.Event()

    def run(work):
        is_running.set()
        assert is_aborted.wait(10)
        return Completion(key=work.key, result=BROKEN)

    batch = BatchRun(run, abort=is_aborted.set)

    def cancel():
        assert is_running.wait(10)
        batch.cancel(KEYS[:1])

    other = threading.Thread(target=cancel)
    other.start()
    completions = batch.run(WORKS[:1])
    other.join()
    assert completions == [Completion(key=KEYS[0], result=Cancelled())]
