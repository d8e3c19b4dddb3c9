"""Transcripts: read once before any work, chosen by sampled frames, put before the question; a bad one fails alone."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import fsspec
import pyarrow as pa
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.questions import Question
from pipeline.manifest.reading import read_manifest
from pipeline.manifest.time_range import TimeRange
from pipeline.manifest.transcripts import transcript_of
from pipeline.method.selectors.registry import get_selector
from pipeline.method.subtitles import HEADING, NO_SUBTITLES
from pipeline.planning.job_plan import plan_job
from pipeline.planning.question_check import check_questions
from pipeline.planning.question_transcript import ask_with_transcript
from pipeline.planning.transcripts import MOST_TRANSCRIPT_BYTES, load_transcript
from pipeline.planning.video_plan import plan_video
from pipeline.results.rows import QuestionResult, RunStamp, failed_result
from pipeline.results.schema import results_table
from pipeline.results.writer import commit_answers
from tests.unit.engine.fakes import FakeLayout, make_config, make_probe
from tests.unit.engine.test_refused_questions import WordTokenizer

STAMP = RunStamp(run_id="r", method="adapttoken", model="demo", model_revision="1", config_hash="c" * 16)
SRT = """1
00:00:00,000 --> 00:00:00,900
one

2
00:00:03,100 --> 00:00:03,200
between frames

3
00:00:04,000 --> 00:00:09,000
<i>two</i>
"""
VTT = "WEBVTT\n\n00:00.000 --> 00:00.900\n<v A>one\n\n00:04.000 --> 00:09.000 align:start\ntwo\n"


def ask(transcript):
    said = None if transcript is None else transcript_of(transcript)
    return Question(question_id="q", video="v", text="Why?", options=None, row_index=0, transcript=said)


def plan(part=None):
    """Frames at 0, 0.5, 1, … 19.5 s are sampled."""
    config = make_config()
    selector = get_selector(config.method)
    planned = plan_video(make_probe(40), layout=FakeLayout(), selector=selector, config=config, time_range=part)
    assert set(planned.sample.times_s.tolist()) <= {index / 2 for index in range(40)}
    return planned


@pytest.mark.parametrize("text", [SRT, VTT, SRT.replace("\n", "\r\n")])
def test_lines_that_a_sampled_frame_shows_stand_before_the_question(text):
    assert ask_with_transcript(ask(text), plan()).text == f"{HEADING}\none\ntwo\nWhy?"


@pytest.mark.parametrize(
    ("part", "lines"),
    [
        (TimeRange(start_s=4.5, end_s=6.0), ["two"]),
        (TimeRange(start_s=1.0, end_s=4.0), [NO_SUBTITLES]),
        (TimeRange(end_s=0.5), ["one"]),
        (TimeRange(start_s=0.95, end_s=3.0), [NO_SUBTITLES]),  # its first frame came on show at 0.5 s
        (TimeRange(start_s=9.0), [NO_SUBTITLES]),
    ],
)
def test_of_a_part_only_its_own_lines_are_taken(part, lines):
    assert ask_with_transcript(ask(SRT), plan(part)).text.split("\n") == [HEADING, *lines, "Why?"]


def test_text_without_times_stands_there_whole_and_no_transcript_changes_nothing():
    assert ask_with_transcript(ask(" It rains.\nAll day. "), plan()).text == f"{HEADING}\nIt rains.\nAll day.\nWhy?"
    assert ask_with_transcript(ask(None), plan()) == ask(None)


def check(questions, *, positions=4_096):
    config, layout = make_config(), FakeLayout()
    layout.max_positions = positions
    return check_questions(questions, plan(), tokenizer=WordTokenizer(), layout=layout, config=config)


def test_the_length_of_a_prompt_counts_its_transcript_and_a_long_one_fails_alone():
    questions = [ask("word " * 20_000), ask(SRT), ask(None)]
    found = check(questions)
    assert list(found.refused) == [0]
    assert found.refused[0].failure_class is FailureClass.TOO_LARGE
    assert "its options and its transcript; beside" in found.refused[0].message
    assert found.num_tokens[1:] == (len(f"{HEADING} one two Why?".split()), 1)
    asked = found.as_asked(questions)
    assert [one.text for one in asked[1:]] == [f"{HEADING}\none\ntwo\nWhy?", "Why?"]
    assert all(one.transcript is None for one in asked)


@pytest.fixture
def plan_rows(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"a")

    def make(*transcripts, **options):
        rows = [
            {"question_id": str(i), "video": "a.mp4", "question": f"{i}?", "transcript": cell}
            for i, cell in enumerate(transcripts)
        ]
        (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
        manifest = read_manifest(str(tmp_path / "m.jsonl"))
        return plan_job(manifest, stamp=STAMP, output_uri=str(tmp_path / "out"), **options)

    return make


def keys(planned):
    return [key for task in planned.tasks for key in task.question_keys]


def test_a_file_counts_by_its_content_wherever_it_lies(plan_rows, tmp_path):
    (tmp_path / "one.srt").write_text(SRT)
    first = keys(plan_rows("one.srt"))
    (tmp_path / "two.SRT").write_text(SRT)
    assert keys(plan_rows("two.SRT")) == keys(plan_rows(SRT)) == first
    (tmp_path / "one.srt").write_text(SRT.replace("two", "three"))
    assert keys(plan_rows("one.srt")) != first
    (tmp_path / "one.srt").write_bytes(SRT.encode("utf-16"))
    assert keys(plan_rows("one.srt")) == first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no transcript at .*bad.srt: check the path, or leave the cell empty"),
        (b"hello", "has no line like 00:00:01,000 --> 00:00:02,000: not an SRT file; correct it"),
        (b"WEBVTT\n\nhello", "no line like 00:01.000 --> 00:02.000: not a WebVTT file; correct it"),
        (b"1\n00:00:01,000 --> 00:00:02,000\nna\xefve", "is no text in UTF-8 .*: write it as UTF-8"),
        (b" " * (MOST_TRANSCRIPT_BYTES + 1), "is larger than 16 MiB: cut it"),
    ],
)
def test_a_file_that_cannot_be_used_fails_its_question_alone_with_the_remedy(plan_rows, tmp_path, content, message):
    if content is not None:
        (tmp_path / "bad.srt").write_bytes(content)
    planned = plan_rows("bad.srt", None, SRT)
    assert planned.num_without_transcript == 1
    (task,) = planned.tasks
    found = check(task.questions)
    assert list(found.refused) == [0]
    assert found.refused[0].failure_class is FailureClass.MANIFEST
    with pytest.raises(PipelineError, match=message):
        raise PipelineError(FailureClass.MANIFEST, found.refused[0].message)
    assert keys(plan_rows("bad.srt", None, SRT)) == list(task.question_keys)


def test_a_storage_that_is_away_is_a_circumstance_and_a_web_address_is_refused(plan_rows, monkeypatch):
    def size(path):
        raise TimeoutError(path)

    away, open_other = SimpleNamespace(size=size), fsspec.core.url_to_fs
    monkeypatch.setattr(
        fsspec.core, "url_to_fs", lambda uri, **o: (away, uri) if uri.startswith("s3") else open_other(uri, **o)
    )
    (task,) = plan_rows("s3://b/a.srt", "https://h/a.vtt?sig=hidden").tasks
    classes = [question.transcript.failure.failure_class for question in task.questions]
    assert classes == [FailureClass.TRANSFER, FailureClass.MANIFEST]
    assert "copy it to a plain path or to s3://" in task.questions[1].transcript.failure.message
    assert "hidden" not in task.questions[1].transcript.failure.message


def test_a_transcript_that_went_away_takes_no_answer_back(plan_rows, tmp_path):
    (tmp_path / "a.srt").write_text(SRT)
    (task,) = plan_rows("a.srt", None).tasks
    rows = [done(question, key) for question, key in zip(task.questions, task.question_keys, strict=True)]
    commit_answers(str(tmp_path / "out"), results_table(rows, pa.table({})), list(task.question_keys))
    (tmp_path / "a.srt").unlink()
    planned = plan_rows("a.srt", None, "new.srt")
    assert [question.question_id for task in planned.tasks for question in task.questions] == ["2"]
    assert planned.num_skipped_away == 1


def done(question, key):
    failure = PipelineError(FailureClass.MODEL, "m").to_failure()
    row = failed_result(question, failure, question_key=key, stamp=STAMP, finished_at=datetime.now(UTC))
    answered: QuestionResult = replace(row, status="ok", answer="A", error_class=None, error_message=None)
    return answered


def test_from_python_a_transcript_is_text_or_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.vtt").write_text(VTT)
    assert load_transcript("a.vtt").text == VTT
    assert load_transcript(str(tmp_path / "a.vtt")).text == VTT
    assert load_transcript("It rains.").text == "It rains."
    with pytest.raises(PipelineError, match="there is no transcript at"):
        load_transcript("b.srt")
