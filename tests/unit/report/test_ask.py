"""``jobs/ask.py``: what it hands to the job, what it prints, and what it refuses by itself."""

import itertools
import json
from datetime import timedelta
from pathlib import Path

import pytest

from jobs import ask
from pipeline.report.answer_text import describe_answer
from pipeline.results.finished import read_answers
from tests.unit.report.report_rows import EVIDENCE, START, make_row, make_video, write_run
from tests.unit.results.answer_rows import row


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("video") / "v.mp4")


@pytest.fixture
def job(monkeypatch):
    """Stands in for ``run.py``: notes its command and manifest, commits one row of the settings ``c``."""
    calls = []

    def run(command):
        asked = dict(itertools.pairwise(command))
        question = json.loads(Path(asked["--manifest"]).read_text())
        calls.append((command, question))
        print("what the job says about many questions")
        if "--plan" in command:
            return 2
        columns = {"question_id": question["question_id"], "run": f"run-{len(calls)}", "config_hash": "c"}
        if not Path(question["video"]).stat().st_size:
            rows = [row("k", "failed", video=question["video"], **columns)]
        else:
            rows = [make_row("k", question["video"], finished_at=START + timedelta(len(calls)), **columns)]
        write_run(asked["--output"], rows, run_id=columns["run"])
        return 0 if rows[0].status == "ok" else 3

    monkeypatch.setattr(ask, "run", run)
    return calls


def test_the_answer_is_printed_with_confidence_evidence_and_cost_and_a_page_is_written(job, video, tmp_path, capsys):
    output = tmp_path / "out"
    question = [video, "Which colour?", "--output", str(output), "--options", "red", "blue", "green"]
    assert ask.main([*question, "--model", "demo", "--set", "tau=0.5"]) == 0
    said = capsys.readouterr().out
    (page,) = output.glob("report/ask-*.html")
    assert said.splitlines() == [
        "B. blue",
        "",
        "confidence  75.0 % (entropy 0.5 nats; 0 is certain)",
        "evidence    0:00:01 to 0:00:03   87.5 % of the attention",
        "            0:00:04 to 0:00:05   12.5 % of the attention",
        "groups      2 of 4 scored, stopped early",
        "tokens      4 kept of 128",
        "cost        3.5 s, 2.5 s of them on the device",
        "model       demo, method adapttoken-lite",
        f"report      {page}",
    ]
    assert "data:image/webp" in page.read_text()
    ((command, asked),) = job
    assert command[4:] == [
        *("--retry-failed", "--model", "demo", "--set", "tau=0.5"),
        *("--executor", "serial", "--log-level", "warning"),
    ]
    assert (asked["video"], asked["question"], asked["options"]) == (video, "Which colour?", ["red", "blue", "green"])


def test_an_open_question_has_no_options_and_a_given_executor_counts(job, video, tmp_path):
    assert ask.main([video, "Why?", "--output", str(tmp_path), "--executor=ray", "--no-report"]) == 0
    ((command, asked),) = job
    assert "options" not in asked
    assert [one for one in command if "executor" in one] == ["--executor=ray"]
    assert not (tmp_path / "report").exists()


def test_a_part_of_the_video_and_what_is_said_in_it_are_asked_about(job, video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["--start", "1:30", "--end", "95.5", "--transcript", "talk.srt"]
    assert ask.main([video, "Why?", "--output", str(tmp_path), "--no-report", *given]) == 0
    assert ask.main([video, "Why?", "--output", str(tmp_path), "--no-report", "--transcript", "Hello."]) == 0
    assert ask.main([video, "Why?", "--output", str(tmp_path), "--no-report"]) == 0
    asked = [question for _, question in job]
    assert (asked[0]["start_s"], asked[0]["end_s"], asked[0]["transcript"]) == (90.0, 95.5, f"{tmp_path}/talk.srt")
    assert asked[1]["transcript"] == "Hello."
    assert not {"start_s", "end_s", "transcript"} & asked[2].keys()
    assert len({question["question_id"] for question in asked}) == 3


def test_an_answer_of_other_settings_or_of_an_older_file_is_not_shown(job, video, tmp_path, capsys):
    arguments = [video, "Why?", "--output", str(tmp_path), "--no-report"]
    assert ask.main(arguments) == 0
    question_id = job[0][1]["question_id"]
    later = START + timedelta(days=99)
    other = make_row("x", video, question_id=question_id, config_hash="d", answer="A", finished_at=later)
    older = make_row("y", video, question_id=question_id, config_hash="c", answer="C", finished_at=START)
    write_run(tmp_path, [other, older], run_id="run-0")
    capsys.readouterr()
    assert ask.main(arguments) == 0
    assert capsys.readouterr().out.startswith("B. blue\n")


def test_a_failure_says_what_to_do_and_has_no_page(job, tmp_path, capsys):
    (tmp_path / "empty.mp4").touch()
    assert ask.main([str(tmp_path / "empty.mp4"), "Why?", "--output", str(tmp_path)]) == 3
    assert capsys.readouterr().out == "no answer: worker_lost: its worker died\n"
    assert not (tmp_path / "report").exists()


def test_a_video_that_is_not_there_is_said_before_anything_is_loaded(job, tmp_path, capsys):
    assert ask.main([str(tmp_path / "none.mp4"), "Why?", "--output", str(tmp_path), "--model", "demo"]) == 2
    assert f"there is no video at {tmp_path}/none.mp4: check the path\n" in capsys.readouterr().err
    assert job == []


def test_what_the_job_refuses_is_refused(job, video, tmp_path, capsys):
    assert ask.main([video, "Why?", "--output", str(tmp_path), "--plan"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["v.mp4", "Why?", "--options", "red"], "--options needs at least 2 answers to choose from, got ['red']"),
        (["v.mp4", "  "], "the question is empty"),
        ([], "required: video"),
        (["v.mp4", "Why?", "--modle", "demo"], "ask.py: error: unknown option --modle; did you mean --model?"),
        (["v.mp4", "Why?", "--storage-options", "{"], "not JSON"),
    ],
)
def test_a_wrong_command_is_explained_before_anything_runs(job, capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        ask.main(arguments)
    assert message in capsys.readouterr().err
    assert job == []


def test_an_answer_in_text_holds_no_control_characters_and_few_spans(tmp_path, video):
    columns = {"options": None, "option_probabilities": None, "answer": "a\x1b[2J\u202e", "evidence": EVIDENCE * 4}
    write_run(tmp_path, [make_row("a", video, **columns, groups=(), num_groups_scored=0, warnings=("slow",))])
    (found,) = read_answers(str(tmp_path)).to_pylist()
    lines = describe_answer(found).splitlines()
    assert lines[0] == "a\\x1b[2J\\u202e"
    assert lines[2] == "confidence  entropy 0.5 nats; 0 is certain"
    assert lines[8] == "            and 3 more"
    assert lines[-1] == "warning     slow"
