"""What a person sees of a run."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.display import (
    ProgressDisplay,
    describe_commit,
    describe_progress,
    format_answers,
    format_clock,
    format_failures,
)
from pipeline.engine.progress import Progress
from pipeline.failures import Failure, FailureClass
from pipeline.manifest import Question
from pipeline.results.rows import RunStamp, failed_result

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


def test_failures_are_listed_with_their_reason_and_the_others_counted():
    failed = {"status": "failed", "error_class": "not_found", "error_message": "no such file"}
    lines = format_failures([{"question_id": f"q{i}", **failed} for i in range(5)], num_failed=7).splitlines()
    assert lines[0] == "  q0: not_found: no such file"
    assert len(lines) == 6
    assert lines[5].startswith("  … and 2 more")


def test_a_commit_is_one_line_with_counts_classes_and_attempts_and_without_credentials():
    question = Question(question_id="a", video="s3://k:hidden@b/v.mp4?sig=x", text="t", options=None, row_index=0)
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
