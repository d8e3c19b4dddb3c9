"""What a run says of its sandbox before any work starts."""

import logging

import pytest

from jobs.wiring.sandbox import check_sandbox
from pipeline.settings.sources import ReadingConfig
from pipeline.video import decode_child


@pytest.fixture
def poor(monkeypatch):
    """A machine that gives a process limits, and nothing else."""
    monkeypatch.setitem(decode_child.DecodeChild.__init__.__kwdefaults__, "layers", ("limits",))
    decode_child._tell_once.cache_clear()


def test_where_one_is_required_and_missing_the_run_does_not_start_and_says_why_in_one_line(poor):
    with pytest.raises(ValueError, match=r"=require: there is no privileges, no seccomp, no landlock") as caught:
        check_sandbox(ReadingConfig(sandbox="require"))
    assert "or set reading.sandbox=auto" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_otherwise_the_log_says_which_layers_there_are(poor, caplog):
    with caplog.at_level(logging.INFO, logger="adapttoken.video"):
        check_sandbox(ReadingConfig(sandbox="auto"))
    assert caplog.messages == ["videos are decoded in a sandbox of limits"]


def test_off_asks_nobody(monkeypatch):
    monkeypatch.setattr(decode_child, "DecodeChild", None)
    check_sandbox(ReadingConfig(sandbox="off"))
