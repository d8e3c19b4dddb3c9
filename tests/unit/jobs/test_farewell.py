"""Whose end is told by somebody else: a process that did not know of it."""

import os
import signal
import subprocess
import sys

import pytest

START = "import os, signal\nfrom jobs.wiring.farewell import Farewell\nfarewell = Farewell()\n"


@pytest.mark.parametrize(
    ("end", "code", "says"),
    [
        ("with farewell.in_case('gone'): pass", 0, ""),
        ("with farewell.in_case('gone'): os._exit(1)", 1, "gone\n"),  # as Ray's library does
        ("with farewell.in_case('gone'): os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, "gone\n"),
        ("with farewell.in_case('gone'): farewell.leave(3)", 3, ""),
        ("with farewell.in_case('gone'): raise SystemExit(4)", 4, ""),
    ],
)
def test_only_an_end_without_a_word_is_told(end, code, says):
    done = subprocess.run(
        [sys.executable, "-c", START + end], stderr=subprocess.PIPE, text=True, timeout=60, env=dict(os.environ)
    )
    assert (done.returncode, done.stderr) == (code, says)
