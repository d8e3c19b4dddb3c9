"""The CronJob's very command, night after night over an archive that grows: only what is new or changed is paid for."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import yaml

from jobs import run

CRONJOB = Path(__file__).resolve().parents[2] / "cluster" / "nightly_cronjob.yaml"
SMALL = ("--executor=serial", "--set=execution.gpus_per_scorer=0", "--max-frames=128", "--frames-per-group=32")


@pytest.fixture
def night(archive, model_folder, tmp_path, monkeypatch):
    """Runs the command over ``tmp_path / "in"``; returns its exit code and what its summary counts."""

    def never_start(*args, **kwargs):
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", never_start)
    [container] = yaml.safe_load(CRONJOB.read_text())["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    here = {
        "s3://videos/manifest.parquet": str(tmp_path / "in" / "manifest.parquet"),
        "s3://videos/answers": str(tmp_path / "out"),
        "s3://models/Qwen2.5-VL-7B-Instruct": str(model_folder),
    }
    python, script, *words = container["args"]
    assert (python, script) == ("python", "jobs/run.py")
    arguments = [f"{name}={here.pop(value, value)}" if value else name for name, _, value in map(split, words)]
    assert not here, "the command names other places"

    def start():
        before = set((tmp_path / "out").glob("runs/*/summary.json"))
        code = run.main([*arguments, *SMALL])
        [path] = set((tmp_path / "out").glob("runs/*/summary.json")) - before
        summary = json.loads(path.read_text())
        counted = ("num_ok", "num_skipped", "num_videos", "num_groups_encoded", "num_decode_passes")
        return code, *(summary[name] for name in counted)

    return start


def split(word):
    return word.partition("=")


@pytest.fixture
def grow(archive, tmp_path):
    """Puts a manifest of (question_id, video, question) beside the videos, which are copies of the archive's."""
    videos = tmp_path / "in" / "videos"
    videos.mkdir(parents=True)

    def write(*questions, copies=()):
        for source, target in copies:
            shutil.copyfile(archive.parent / "videos" / source, videos / target)
        rows = [
            {"question_id": name, "video": f"videos/{video}", "question": question, "options": ["red", "blue"]}
            for name, video, question in questions
        ]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in" / "manifest.parquet")

    return write


def test_each_night_pays_only_for_what_is_new_or_changed(night, grow, tmp_path, read_rows):
    star, ring = "What color is the star?", "What color is the ring?"
    first = [("a", "one.mp4", star), ("b", "two.mp4", star)]
    grow(*first, copies=[("v000.mp4", "one.mp4"), ("v001.mp4", "two.mp4")])
    assert night() == (0, 2, 0, 2, 8, 2)

    more = [*first, ("c", "one.mp4", ring), ("d", "three.mp4", star), ("e", "three.mp4", ring)]
    grow(*more, copies=[("v001.mp4", "three.mp4")])
    assert night() == (0, 3, 2, 2, 8, 2)

    assert night() == (0, 0, 5, 0, 0, 0)

    grow(*more, copies=[("v000.mp4", "two.mp4")])  # other bytes under the old name
    assert night() == (0, 1, 4, 1, 4, 1)

    rows = read_rows(tmp_path / "out")
    assert [row["question_id"] for row in rows] == ["a", "b", "b", "c", "d", "e"]
    assert {row["status"] for row in rows} == {"ok"}
    old, new = (row for row in rows if row["question_id"] == "b")
    assert old["question_key"] != new["question_key"]
    assert old["video_fingerprint"] != new["video_fingerprint"]
    assert len({row["run_id"] for row in rows}) == 3
