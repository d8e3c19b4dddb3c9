"""One job with hostile files and three good videos: each row ends as it must, and the good ones are answered.

By default every fourth file (`-m slow`: all); tests/unit/video/test_hostile_files.py reads each of them alone.
"""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from jobs import run
from pipeline.lab.benchmarks.fuzzing import child_pids
from pipeline.results.demo_warning import DEMO_MODEL_WARNING
from tests.unit.video.hostile_files import make_hostile_files
from tests.unit.video.hostile_mp4 import OK, WARNED
from tests.unit.video.tripwires import SECRET_MARK, tripwires

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
# Every frame is sampled, so that a lost one is always a wanted one.
OPTIONS = ["--executor", "serial", "--max-frames", "128", "--frames-per-group", "64", "--sample-fps", "25"]
SETTINGS = ("reading.decode_timeout_s=20", "reading.decode_memory_bytes=536870912", "execution.max_attempts=1")
SETTINGS += ("sampling.min_pixels=784", "sampling.max_pixels=3136", "answering.answer_tokens=1")  # for speed


@pytest.fixture
def no_ray(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", fail)


def as_question(question_id, video):
    return {
        "question_id": question_id,
        "video": video,
        "question": "What color is the star?",
        "options": ["red", "blue"],
    }


def expected_of(file):
    """A manifest cannot hold NUL characters; such rows fail before any file is opened."""
    return frozenset({"manifest"}) if "\0" in file.uri else file.expected


def outcome_of(row):
    if row["status"] == "ok":
        of_model = (DEMO_MODEL_WARNING, "the options' letters have ")  # which was not trained on such pictures
        return WARNED if any(not warning.startswith(of_model) for warning in row["warnings"]) else OK
    return row["error_class"]


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)], ids=["every fourth", "all"])
def test_hostile_files_fail_alone_and_reach_nothing(step, archive, model_folder, tmp_path, no_ray, read_rows):
    children_before = child_pids()
    with tripwires(tmp_path) as wires:
        files = make_hostile_files(tmp_path / "h", server_url=wires.server_url, secret_path=wires.secret_path)
        files = [file for file in files if file.uri.encode(errors="ignore").decode() == file.uri]  # as Parquet demands
        assert len(files) > 250
        files = files[::step]
        rows = [as_question(f"h{index:03}", file.uri) for index, file in enumerate(files)]
        videos = archive.parent / "videos"
        (videos / "v002.mp4").write_bytes((videos / "v000.mp4").read_bytes())
        for index in range(3):  # among the others: at the start, in the middle, at the end
            rows.insert(index * len(files) // 2, as_question(f"good{index}", str(videos / f"v{index:03}.mp4")))
        manifest, output = tmp_path / "manifest.parquet", tmp_path / "out"
        pq.write_table(pa.Table.from_pylist(rows), manifest)
        arguments = ["--manifest", str(manifest), "--output", str(output), "--model", str(model_folder), *OPTIONS]
        arguments += ["--skip-bad-rows"]
        for setting in (*SETTINGS, f"reading.cache_dir={tmp_path / 'cache'}"):
            arguments += ["--set", setting]
        assert run.main(arguments) == 3
        assert wires.requests == []
        assert not wires.secret_was_read()
    found = {row["question_id"]: row for row in read_rows(output)}
    assert sorted(found) == sorted(row["question_id"] for row in rows)
    assert [found[f"good{index}"]["status"] for index in range(3)] == ["ok"] * 3
    surprises = {
        file.name: (
            outcome_of(found[f"h{index:03}"]),
            sorted(expected_of(file)),
            found[f"h{index:03}"]["error_message"],
        )
        for index, file in enumerate(files)
        if outcome_of(found[f"h{index:03}"]) not in expected_of(file)
    }
    assert surprises == {}
    assert SECRET_MARK.decode() not in repr(list(found.values()))
    assert not any(SECRET_MARK in path.read_bytes() for path in Path(output).rglob("*") if path.is_file())
    assert child_pids() <= children_before
