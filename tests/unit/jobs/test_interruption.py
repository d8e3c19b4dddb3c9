"""Signals: the first ends the work in an orderly way, after what must not be cut short; the second ends all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.wiring.interruption import InterruptedBySignalError, SignalGuard, raise_on_signals

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_raises_with_its_exit_code(number, exit_code):
    before = signal.getsignal(number)
    with pytest.raises(InterruptedBySignalError), raise_on_signals() as guard:
        os.kill(os.getpid(), number)
    assert guard.exit_code == exit_code
    assert signal.getsignal(number) is before


def test_what_is_held_ends_first():
    done = []

    def commit(guard):
        with guard.hold():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("commit")
        done.append("never")

    with raise_on_signals() as guard, pytest.raises(InterruptedBySignalError):
        commit(guard)
    assert done == ["commit"]


def test_an_error_inside_a_hold_is_not_lost_without_a_signal():
    guard = SignalGuard()
    with pytest.raises(OSError, match="full"), guard.hold():
        raise OSError("full")
    with guard.hold():
        pass


def test_the_second_signal_ends_the_process_at_once():
    program = """
import os, signal
from jobs.wiring.interruption import InterruptedBySignalError, raise_on_signals
with raise_on_signals():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except InterruptedBySignalError:
        print("tidying up", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        print("never", flush=True)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "tidying up\n", "")


def test_last_words_come_before_anything_is_torn_down_and_a_teardown_that_hangs_is_ended():
    program = """
import os, signal, threading
from jobs.wiring import interruption
interruption.TEARDOWN_S = 0.2
with interruption.raise_on_signals() as guard:
    guard.last_words = lambda code: print("summary", code, flush=True)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        print("teardown", flush=True)
        threading.Event().wait()
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (143, "summary 143\nteardown\n")
