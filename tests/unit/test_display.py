"""What a person sees of a run."""

import io

import pytest

from pipeline.display import ProgressDisplay, describe_progress, format_answers, format_clock, format_failures
from pipeline.engine.progress import Progress

PROGRESS = Progress(
    num_videos=3,
    num_videos_done=1,
    num_questions=12,
    num_questions_done=4,
    num_groups_scored=160,
    num_groups_planned=300,
)


@pytest.mark.parametrize(("seconds", "clock"), [(0, "0:00:00"), (59.9, "0:00:59"), (3725.5, "1:02:05")])
def test_times_are_shown_as_a_player_shows_them(seconds, clock):
    assert format_clock(seconds) == clock


def test_without_a_terminal_progress_is_a_plain_line_now_and_then(monkeypatch):
    stream, now = io.StringIO(), [100.0]
    monkeypatch.setattr("pipeline.display.time.monotonic", lambda: now[0])
    display = ProgressDisplay(stream)
    for now[0] in (101.0, 114.0, 116.0, 117.0):
        display.show(PROGRESS)
    display.close()
    assert stream.getvalue() == f"[   16 s] {describe_progress(PROGRESS)}\n"


def test_failures_are_listed_with_their_reason_up_to_a_limit():
    failed = {"status": "failed", "error_class": "not_found", "error_message": "no such file"}
    rows = [{"question_id": f"q{i}", **failed} for i in range(7)] + [{"question_id": "fine", "status": "ok"}]
    lines = format_failures(rows, limit=5).splitlines()
    assert lines[0] == "  q0: not_found: no such file"
    assert len(lines) == 6
    assert lines[5].startswith("  … and 2 more")


def test_an_answer_is_one_line_with_option_confidence_and_evidence():
    row = {
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
    failed = {"video": "/a/c.mp4", "num_sampled_frames": None, "status": "failed", "question": "Why?"}
    lines = format_answers([row, failed | {"error_class": "not_found"}]).splitlines()
    assert lines[2] == "b.mp4, 10,000 sampled frames"
    assert lines[3].split() == ["Which?", "B.", "blue", "B", "0.88", "0:01:00-0:01:05", "4/20", "128/640", "1.2"]
    assert lines[4] == "c.mp4"
    assert lines[5].split() == ["Why?", "failed:", "not_found"]
