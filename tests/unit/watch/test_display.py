"""What a person sees of a run."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.progress import Progress
from pipeline.failures import Failure, FailureClass
from pipeline.manifest.questions import Question
from pipeline.results.clock import format_clock
from pipeline.results.rows import RunStamp, failed_result
from pipeline.watch.display import ProgressDisplay, describe_commit, format_answers, format_failures
from pipeline.watch.pace import Outlook
from pipeline.watch.progress_line import describe_progress, draw_progress

PROGRESS = Progress(
    num_videos=3,
    num_videos_done=1,
    num_questions=12,
    num_questions_done=4,
    num_groups_scored=160,
    num_groups_planned=300,
    num_questions_stopped=3,
    num_scorers=2,
    open_share=0.5,
)
OUTLOOK = Outlook(elapsed_s=16.0, eta_s=750.9, questions_per_minute=2.0, busy_share=0.87)
DESCRIBED = "videos 1/3, questions 4/12, groups 160/300, 3 stopped early, 2 scorers 87% busy, ETA 0:12:30"


@pytest.mark.parametrize(("seconds", "clock"), [(0, "0:00:00"), (59.9, "0:00:59"), (3725.5, "1:02:05")])
def test_times_are_shown_as_a_player_shows_them(seconds, clock):
    assert format_clock(seconds) == clock


class Terminal(io.StringIO):
    """A stream that says it is one; of a width of its own where it is given."""

    encoding = "utf-8"

    def isatty(self):
        return True

    def fileno(self):
        raise OSError("not a real terminal")


def shown(terminal):
    """What the terminal's last line reads after all that was written to it."""
    return re.sub(r"\033\[[0-9;]*[mK]", "", terminal.getvalue().rstrip("\n").rpartition("\r")[2])


def test_without_a_terminal_progress_is_a_plain_line_now_and_then():
    stream, now = io.StringIO(), [100.0]
    display = ProgressDisplay(stream, every_s=15, now_s=lambda: now[0])
    for now[0] in (101.0, 114.0, 116.0, 117.0, 131.0):
        display.show(PROGRESS, replace(OUTLOOK, elapsed_s=now[0] - 100))
    display.close()
    assert stream.getvalue() == f"[   16 s] {DESCRIBED}\n[   31 s] {DESCRIBED}\n"


def test_a_log_without_progress_lines_stays_without():
    stream, now = io.StringIO(), [0.0]
    display = ProgressDisplay(stream, every_s=0, now_s=lambda: now[0])
    for now[0] in (1.0, 1_000.0):
        display.show(PROGRESS, OUTLOOK)
    assert stream.getvalue() == ""


def test_a_terminal_is_redrawn_in_place_at_most_ten_times_a_second():
    terminal, now = Terminal(), [0.0]
    display = ProgressDisplay(terminal, now_s=lambda: now[0], environment={})
    for step in range(100):  # within a second
        now[0] = step / 100
        display.show(replace(PROGRESS, num_groups_scored=step), OUTLOOK)
    drawn = terminal.getvalue()
    assert 8 <= drawn.count("\r") <= 10
    assert drawn.count("\033[K") == drawn.count("\r")
    assert "\n" not in drawn
    display.close()
    assert terminal.getvalue().endswith("\n")
    assert shown(terminal).endswith("2 scorers 87% busy  ETA 0:12:30")


@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "xterm-256color"}, True)],
)
def test_colours_are_left_out_where_they_are_not_wanted(environment, is_coloured):
    terminal = Terminal()
    display = ProgressDisplay(terminal, environment=environment)
    display.show(PROGRESS, OUTLOOK)
    display.close()
    assert ("m" in re.findall(r"\033\[[0-9;]*([mK])", terminal.getvalue())) == is_coloured


def test_a_dumb_terminal_gets_plain_lines():
    terminal, now = Terminal(), [0.0]
    display = ProgressDisplay(terminal, every_s=1, now_s=lambda: now[0], environment={"TERM": "dumb"})
    now[0] = 2.0
    display.show(PROGRESS, OUTLOOK)
    display.close()
    assert terminal.getvalue() == f"[   16 s] {DESCRIBED}\n"


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (
            120,
            "███████░░░░░░░░░░░░░░  37%  4/12 questions  1/3 videos  160/300 groups  3 stopped early  "
            "2 scorers 87% busy  ETA 0:12:30",
        ),
        (80, "█████░░░░░░░░░  37%  4/12 questions  1/3 videos  2 scorers 87% busy  ETA 0:12:30"),
        (60, "██░░░░  37%  4/12 questions  2 scorers 87% busy  ETA 0:12:30"),
        (34, " 37%  4/12 questions  ETA 0:12:30"),
        (20, " 37%  4/12 questions"),
        (5, " 37%"),
        (2, " 3"),
    ],
)
def test_a_narrow_terminal_leaves_out_what_matters_least(width, line):
    drawn = draw_progress(PROGRESS, OUTLOOK, width=width)
    assert drawn == line
    assert len(drawn) <= width


@given(
    width=st.integers(1, 200),
    failed=st.integers(0, 10**6),
    groups=st.integers(0, 10**9),
    eta_s=st.none() | st.floats(0, 1e7),
)
@settings(deadline=None, max_examples=200)
def test_a_line_never_takes_more_columns_than_there_are(width, failed, groups, eta_s):
    progress = replace(PROGRESS, num_questions_failed=failed, num_groups_scored=groups, num_groups_planned=groups)
    outlook = replace(OUTLOOK, eta_s=eta_s)
    plain = draw_progress(progress, outlook, width=width, is_unicode=False)
    assert len(plain) <= width
    assert plain.isascii()
    if width >= 4:
        coloured = draw_progress(progress, outlook, width=width, is_coloured=True, is_unicode=False)
        assert re.sub(r"\033\[[0-9;]*m", "", coloured) == plain


@pytest.mark.parametrize(
    ("done", "open_share", "percent"), [(0, 0.0, "  0%"), (11, 1.0, " 99%"), (12, 0.0, "100%"), (6, 0.0, " 50%")]
)
def test_only_the_end_is_a_hundred_percent(done, open_share, percent):
    progress = replace(PROGRESS, num_questions_done=done, open_share=open_share)
    assert draw_progress(progress, OUTLOOK, width=4) == percent


@pytest.mark.parametrize(
    ("counts", "busy_share", "eta_s", "words"),
    [
        ({"num_scorers": 0}, None, None, "waiting for scorers, ETA ?"),
        ({"num_scorers": 1}, None, None, "1 scorer, ETA ?"),
        ({"num_scorers": 7, "num_answerers": 1}, 1.0, 59.0, "8 scorers 100% busy, ETA 0:00:59"),
    ],
)
def test_a_line_says_what_it_waits_for(counts, busy_share, eta_s, words):
    outlook = Outlook(elapsed_s=1.0, busy_share=busy_share, eta_s=eta_s)
    assert describe_progress(replace(PROGRESS, **counts), outlook).endswith(words)


def test_what_has_not_happened_takes_no_room():
    progress = replace(PROGRESS, num_questions_stopped=0)
    assert "stopped" not in describe_progress(progress, OUTLOOK) + draw_progress(progress, OUTLOOK, width=200)


@pytest.mark.parametrize("width", [60, 79, 95, 99, 110])
def test_a_terminal_of_usual_width_has_a_bar(width):
    progress = replace(PROGRESS, num_questions_failed=3, num_groups_scored=160_000, num_groups_planned=300_000)
    assert draw_progress(progress, OUTLOOK, width=width)[0] == "█"


def test_failed_questions_are_named_once_there_are_any():
    assert "failed" not in DESCRIBED
    assert ", 2 failed, " in describe_progress(replace(PROGRESS, num_questions_failed=2), OUTLOOK)


def test_failures_are_listed_with_their_reason_and_the_others_counted():
    failed = {"status": "failed", "error_class": "not_found", "error_message": "no such file"}
    lines = format_failures([{"question_id": f"q{i}", **failed} for i in range(5)], num_failed=7).splitlines()
    assert lines[0] == "  q0: not_found: no such file"
    assert len(lines) == 6
    assert lines[5].startswith("  … and 2 more")


def test_a_commit_is_one_line_with_counts_classes_and_attempts_and_without_credentials():
    question = Question(question_id="a", video="s3://k:hidden@b/v.mp4", text="t", options=None, row_index=0)
    stamp = RunStamp(run_id="r", method="m", model="d", model_revision=None, config_hash="c")
    failure = Failure(failure_class=FailureClass.CORRUPT_MEDIA, message="m")
    now = datetime(2026, 1, 31, tzinfo=UTC)
    failed = failed_result(question, failure, question_key="k", stamp=stamp, finished_at=now, attempts=2)
    well = replace(failed, status="ok", error_class=None, answer="x", num_groups=20, num_groups_scored=7, attempts=3)
    assert describe_commit([well, failed]) == (
        "video s3://b/v.mp4: 1 ok, 1 failed (1 corrupt_media); 7 of 20 groups scored; attempt 3"
    )


def test_an_answer_is_one_line_with_option_confidence_and_evidence():
    row = {
        "method": "lite",
        "model": "org/a",
        "video": "/a/b.mp4",
        "num_sampled_frames": 10_000,
        "status": "ok",
        "question": "Which?",
        "answer": "B",
        "options": ["red", "blue"],
        "option_probabilities": [0.125, 0.875],
        "evidence": [{"start_s": 60.0, "end_s": 65.5}],
        "num_groups_scored": 4,
        "num_groups": 20,
        "num_tokens_kept": 128,
        "num_tokens_offered": 640,
        "total_s": 1.25,
        "expected": "B",
    }
    failed = {
        "method": "lite",
        "model": "org/a",
        "video": "/a/c.mp4",
        "num_sampled_frames": None,
        "status": "failed",
        "question": "Why?",
    }
    lines = format_answers([row, failed | {"error_class": "not_found"}]).splitlines()
    assert lines[0] == "method lite, model org/a"
    lines = lines[2:]
    assert lines[2] == "b.mp4, 10,000 sampled frames"
    assert lines[3].split() == ["Which?", "B.", "blue", "B", "0.88", "0:01:00-0:01:05", "4/20", "128/640", "1.2"]
    assert lines[4] == "c.mp4"
    assert lines[5].split() == ["Why?", "failed:", "not_found"]
    for width, left_out in ((126, ()), (100, ()), (80, ("tokens",)), (60, ("tokens", "seconds", "expected"))):
        table = format_answers([row | {"question": "Which? " * 9}], width=width).splitlines()[2:]
        assert max(map(len, table)) <= width
        assert not set(left_out) & set(table[0].split())
        assert {"question", "answer", "conf.", "evidence", "groups"} <= set(table[0].split())
        assert "B. blue" in table[3]
