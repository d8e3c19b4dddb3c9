"""Parts of videos, transcripts and lists of videos as a user asks them: a real job over real H.264, shipped weights."""

import json
from dataclasses import replace

import fsspec
import pyarrow.parquet as pq
import pytest

from actors.outcomes import VideoOutcome
from actors.ray_executor import run_on_ray
from actors.serial_executor import run_serial
from actors.worker_pool import ActorOptions
from jobs import run
from jobs.wiring.model_source import load_configured_model
from pipeline import answer_video, load_video_model
from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.manifest.reading import read_manifest
from pipeline.manifest.time_range import TimeRange
from pipeline.manifest.transcripts import transcript_of
from pipeline.passes import whole_video
from pipeline.planning.transcripts import read_transcripts
from pipeline.results.rows import VOLATILE_COLUMNS
from pipeline.results.views import open_database

SRT = "1\n00:00:01,000 --> 00:00:09,000\nLook at it.\n\n2\n00:02:00,000 --> 00:02:09,000\nGood night.\n"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Two videos of 200 s with one needle each, and what the archive says of both: (folder, first, second)."""
    folder = tmp_path_factory.mktemp("films")
    manifest = write_archive(folder, ArchiveSpec(num_frames=(400, 400), questions_per_video=1, seed=90_210))
    first, second = pq.read_table(manifest).to_pylist()
    return folder, first, second


def around(needle):
    """A part with the needle, and one as long without it."""
    start_s = max(0.0, needle["needle_start_s"] - 20)
    inside = {"start_s": start_s, "end_s": start_s + 60}
    away = 0.0 if start_s > 80 else 130.0
    return inside, {"start_s": away, "end_s": away + 60}


def ask(needle, question_id, **cells):
    return {"question_id": question_id} | {name: needle[name] for name in ("video", "question", "options")} | cells


@pytest.fixture(scope="module")
def job(films):
    """Run rows over an output folder: (exit code, rows by question id)."""
    folder, _, _ = films

    def run_rows(rows, output="out", *more):
        (folder / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
        arguments = ["--manifest", str(folder / "m.jsonl"), "--output", str(folder / output), "--model", "demo"]
        code = run.main([*arguments, "--executor", "serial", *more])
        files = sorted((folder / output).glob("answers/**/part-*.parquet"))
        found = [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
        return code, {row["question_id"]: row for row in found}

    return run_rows


@pytest.fixture(scope="module")
def answered(films, job):
    folder, first, second = films
    (folder / "said.srt").write_text(SRT)
    inside, outside = around(first)
    rows = [
        ask(first, "all"),
        ask(first, "inside", **inside),
        ask(first, "outside", **outside),
        ask(first, "beyond", start_s=1_000),
        ask(first, "said", transcript="said.srt"),
        ask(first, "unsaid", transcript="none.srt"),
        ask(second, "which", video=[first["video"], second["video"]]),
    ]
    code, found = job(rows)
    assert code == 3  # two questions failed, and none is allowed to
    return rows, found, (inside, outside)


def test_the_needle_is_found_in_its_part_and_in_no_other(films, answered):
    _, first, _ = films
    _, rows, parts = answered
    for name, part in zip(("inside", "outside"), parts, strict=True):
        spans = rows[name]["evidence"]
        assert spans
        assert all(part["start_s"] <= span["start_s"] < span["end_s"] <= part["end_s"] for span in spans)
        assert (rows[name]["asked_start_s"], rows[name]["asked_end_s"]) == (part["start_s"], part["end_s"])
        assert (rows[name]["num_sampled_frames"], rows[name]["duration_s"]) == (120, 200.0)
    assert rows["inside"]["answer"] == rows["all"]["answer"] == first["expected"]
    assert rows["inside"]["answer_entropy"] < 0.2
    assert rows["outside"]["answer_entropy"] > 1  # of four options at most 1.39
    top = rows["inside"]["evidence"][0]
    assert top["start_s"] < first["needle_end_s"]
    assert top["end_s"] > first["needle_start_s"]


def test_the_part_that_is_the_whole_video_is_answered_with_the_same_bits(films, job):
    _, _, second = films
    code, rows = job([ask(second, "whole"), ask(second, "to the end", start_s=0, end_s=1_000)], "twins")
    assert code == 0
    differ = {"question_id", "question_key", "asked_start_s", "asked_end_s", "warnings"} | VOLATILE_COLUMNS
    whole, part = ({n: v for n, v in rows[i].items() if n not in differ} for i in ("whole", "to the end"))
    assert part == whole
    assert rows["to the end"]["question_key"] != rows["whole"]["question_key"]
    assert rows["to the end"]["warnings"] == ["end_s=1000 lies after the video's end at 200 s: asked until there"]


def test_what_cannot_be_asked_fails_alone_with_the_remedy(answered):
    _, rows, _ = answered
    failed = {name: row["error_message"] for name, row in rows.items() if row["status"] == "failed"}
    assert failed.keys() == {"beyond", "unsaid"}
    assert "correct start_s and end_s in the manifest" in failed["beyond"]
    assert "check the path, or leave the cell empty" in failed["unsaid"]


def test_a_transcript_is_heard_and_the_row_shows_the_question_as_it_was_written(films, answered):
    _, first, _ = films
    _, rows, _ = answered
    assert rows["said"]["question"] == first["question"]
    assert rows["said"]["transcript"] == "said.srt"
    assert rows["said"]["option_probabilities"] != rows["all"]["option_probabilities"]


def test_the_video_that_shows_it_ranks_first(films, answered):
    folder, first, second = films
    with open_database(str(folder / "out"), num_threads=1) as connection:
        query = "SELECT video, certainty, answer FROM best_by_question WHERE asked_id = 'which' ORDER BY rank"
        best, other = connection.execute(query).fetchall()
    assert (best[0], best[2]) == (f"{folder}/{second['video']}", second["expected"])
    assert other[0] == f"{folder}/{first['video']}"
    assert best[1] > -0.2
    assert other[1] < -1


def test_a_second_run_does_nothing_and_another_part_is_new_work(job, answered, capsys):
    asked, rows, _ = answered
    assert job(asked) == (0, rows)
    assert "plan: 0 questions about 0 videos to answer" in capsys.readouterr().err
    moved = [row | {"end_s": row["end_s"] - 1} if row["question_id"] == "inside" else row for row in asked]
    assert job(moved, "out", "--plan") == (0, rows)
    printed = capsys.readouterr()
    assert "plan: 1 question about 1 video to answer" in printed.err
    (frames,) = (line.split()[2] for line in printed.out.splitlines() if line.startswith("sampled frames"))
    assert frames == "118"  # 59 s at two frames per second


def test_from_python_it_is_the_same_answer(films, answered):
    folder, first, _ = films
    _, rows, (inside, _) = answered
    model, config = load_video_model("demo")
    asked = [(first["question"], first["options"])]
    (found,) = answer_video(f"{folder}/{first['video']}", asked, model=model, config=config, **inside)
    assert (found.answer, found.entropy) == (rows["inside"]["answer"], rows["inside"]["answer_entropy"])
    assert [span.start_s for span in found.evidence] == [span["start_s"] for span in rows["inside"]["evidence"]]
    path = str(folder / "said.srt")
    (said,) = answer_video(f"{folder}/{first['video']}", asked, model=model, config=config, transcript=path)
    assert said.entropy == rows["said"]["answer_entropy"]


@pytest.mark.usefixtures("ray_cluster")
def test_ray_the_serial_executor_and_the_plain_loop_give_the_same_bits_of_two_parts_of_a_video(make_job, place):
    job = make_job("adapttoken-lite", num_scorers=2, **{"sampling.frames_per_group": 8})
    parts = (TimeRange(start_s=20.3, end_s=52.0), TimeRange(start_s=100.0, end_s=130.0))
    said, task = transcript_of(SRT), job.tasks[0]

    def of(video_id, part):
        asked = tuple(replace(question, time_range=part, transcript=said) for question in task.questions)
        return replace(task, video_id=video_id, questions=asked, time_range=part)

    tasks = tuple(of(number, part) for number, part in enumerate(parts))
    job = replace(job, tasks=tasks, num_videos=2)

    def rows_of(events):
        return {
            event.video_id: [{n: getattr(row, n) for n in SEEN} for row in event.rows]
            for event in events
            if isinstance(event, VideoOutcome)
        }

    serial = rows_of(run_serial(job))
    assert rows_of(run_on_ray(job, ActorOptions(scorer=(place,) * 2, decoder=(place,)))) == serial
    model = load_configured_model(job.config)
    for task in tasks:
        part, rows = task.time_range, serial[task.video_id]
        answers = whole_video.answer_video(task.uri, task.questions, model=model, config=job.config, time_range=part)
        for row, found in zip(rows, answers, strict=True):
            assert (row["answer"], row["answer_entropy"]) == (found.answer, found.entropy)
            spans = [(s.start_s, s.end_s, s.weight) for s in found.evidence]
            assert [(s.start_s, s.end_s, s.weight) for s in row["evidence"]] == spans
            assert all(part.start_s <= start_s < end_s <= part.end_s for start_s, end_s, _ in spans)
    assert {row["status"] for rows in serial.values() for row in rows} == {"ok"}


SEEN = ("status", "answer", "answer_entropy", "option_probabilities", "evidence", "groups", "kept_tokens", "warnings")


def test_transcripts_lie_on_s3_too(s3_endpoint, tmp_path):
    options = {"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": s3_endpoint}}
    store = fsspec.filesystem("s3", **options)
    store.mkdir("said")
    store.pipe({"said/set/a.srt": SRT.encode(), "said/set/none.srt": b""})
    cells = ["a.srt", "s3://said/set/a.srt", "none.srt", "gone.srt", "It rains."]
    rows = [{"video": "a.mp4", "question": f"{i}?", "transcript": cell} for i, cell in enumerate(cells)]
    store.pipe("said/set/m.jsonl", "\n".join(map(json.dumps, rows)).encode())
    questions = read_manifest("s3://said/set/m.jsonl", storage_options=options).questions
    found = [question.transcript for question in read_transcripts(questions, storage_options=options)]
    assert [one.text for one in found] == [SRT, SRT, "", None, "It rains."]
    assert found[3].failure.failure_class == "manifest"
    assert "there is no transcript at s3://said/set/gone.srt" in found[3].failure.message
