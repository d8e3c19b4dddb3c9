"""A tracker is told about a run in a thread of its own; one that is away, slow or broken costs a warning only."""

import logging
import threading

import pyarrow as pa
import pytest

from jobs.wiring import tracking
from jobs.wiring.start import check_at_a_glance
from jobs.wiring.tracking import INTERRUPTED_END_S, Tracking, flatten, numbers_of

SUMMARY = {"run_id": "r", "exit_code": 0, "num_ok": 2, "stage_seconds": {"decode_s": 0.5}, "rate": None}


class AwayError(Exception):
    pass


class Fake:
    errors = (AwayError,)

    def __init__(self, *, begin=lambda: None, end=lambda: None):
        self.told, self._begin, self._end = [], begin, end

    def begin(self, run_id, settings, origin):
        self._begin()
        self.told.append((run_id, settings, origin, threading.current_thread().name))

    def end(self, summary, answers, *, is_done):
        self._end()
        self.told.append((summary, answers, is_done))


def raising(error):
    def fail():
        raise error

    return fail


def rows(num):
    return pa.table({"question_id": [str(index) for index in range(num)], "groups": [[1]] * num, "answer": ["A"] * num})


def test_a_run_is_told_from_begin_to_end_with_few_columns_of_its_first_rows(monkeypatch):
    monkeypatch.setattr(tracking, "MOST_ROWS", 5)
    fake = Fake()
    tracked = Tracking(lambda: fake, name="x")
    tracked.begin("r", settings={"budget": {"tau": 0.5}, "method": "m"}, origin={"a": 1})
    for num in (2, 4, 3):
        tracked.note(rows(num))
    tracked.end(SUMMARY)
    (run_id, settings, origin, thread), (summary, answers, is_done) = fake.told
    assert (run_id, settings, origin) == ("r", {"budget.tau": 0.5, "method": "m"}, {"a": 1})
    assert thread == "tracking"
    assert (summary, is_done) == (SUMMARY, True)
    assert answers.to_pydict() == {"question_id": ["0", "1", "0", "1", "2"], "answer": ["A"] * 5}


def test_nothing_is_kept_where_nothing_is_tracked():
    tracked = Tracking(None)
    tracked.begin("r", settings={}, origin={})
    tracked.note(rows(3))
    tracked.end(SUMMARY)
    assert tracked._tables == []
    assert "tracking" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("where", ["build", "begin", "end"])
def test_a_service_that_is_away_is_one_warning_without_credentials(where, caplog):
    away = AwayError("no route to https://me:secret@host/x?token=secret\nmore")

    def build():
        return Fake(**({where: raising(away)} if where != "build" else {"begin": raising(away)}))

    tracked = Tracking(build, name="x")
    with caplog.at_level(logging.WARNING, logger="adapttoken"):
        tracked.begin("r", settings={}, origin={})
        tracked.end(SUMMARY)
    (warning,) = caplog.messages
    assert warning.startswith("--track x: AwayError: no route to https://host/x")
    assert warning.endswith("; the run goes on without")
    assert "secret" not in warning


def test_a_service_that_does_not_answer_is_not_waited_for(caplog):
    release = threading.Event()
    tracked = Tracking(lambda: Fake(begin=release.wait), name="x")
    tracked.begin("r", settings={}, origin={})
    with caplog.at_level(logging.WARNING, logger="adapttoken"):
        tracked.end(SUMMARY, limit_s=0.05)
    release.set()
    assert caplog.messages == ["--track x: no answer in time, so the run is not tracked to its end"]
    assert INTERRUPTED_END_S <= 5  # a scheduler kills 30 s after its signal


def test_a_bug_in_a_tracker_shows_its_traceback_and_does_not_end_the_job(monkeypatch):
    shown = []
    monkeypatch.setattr(threading, "excepthook", lambda what: shown.append(what.exc_type))
    tracked = Tracking(lambda: Fake(begin=raising(ZeroDivisionError())), name="x")
    tracked.begin("r", settings={}, origin={})
    tracked.end(SUMMARY)  # returns
    while any(thread.name == "tracking" for thread in threading.enumerate()):
        threading.Event().wait(0.01)
    assert shown == [ZeroDivisionError]


def test_numbers_are_flat_and_finite_words_are_left_out():
    assert numbers_of(SUMMARY) == {"exit_code": 0.0, "num_ok": 2.0, "stage_seconds.decode_s": 0.5}
    assert flatten({"a": {"b": {"c": 1}}, "d": [1]}) == {"a.b.c": 1, "d": [1]}


@pytest.mark.parametrize(
    ("words", "package", "extra"),
    [
        (["--track", "mlflow"], "mlflow", "mlflow"),
        (["--track", "wandb"], "wandb", "wandb"),
        (["--otel"], "opentelemetry.exporter.otlp.proto.http", "otel"),
    ],
)
def test_a_library_that_is_missing_is_one_line_before_any_work(words, package, extra, monkeypatch):
    from jobs.wiring.cli import build_parser

    monkeypatch.setattr("jobs.wiring.extras.find_spec", lambda name: None)
    options = build_parser().parse_args(["--manifest", "m.csv", "--output", "o", "--model", "demo", *words])
    with pytest.raises(ValueError, match=rf"^{package} is not installed: pip install 'adapttoken-ray\[{extra}\]'$"):
        check_at_a_glance(options)
