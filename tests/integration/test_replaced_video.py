"""A video is replaced between planning and decoding, on a disk and in a store: the run answers about the new one."""

import json
import shutil
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from actors.decoder import DecoderActor
from jobs import run
from pipeline.results.finished import read_answers
from pipeline.results.keys import video_fingerprint
from pipeline.results.rows import VOLATILE_COLUMNS

FAST = ("--executor", "serial", "--max-frames", "64", "--frames-per-group", "16", "--progress-every", "0")


class Disk:
    def __init__(self, folder, archive):
        self.folder, self.options, self.extra = folder / "videos", None, ()
        shutil.copytree(archive.parent / "videos", self.folder)

    def uri(self, name):
        return str(self.folder / name)

    def put(self, source, name):
        fresh = self.folder / "fresh"
        fresh.write_bytes((self.folder / source).read_bytes())
        fresh.replace(self.folder / name)


class Store:
    def __init__(self, archive, endpoint):
        self.options = {"endpoint_url": endpoint, "key": "k", "secret": "hidden-secret"}
        self.extra = ("--storage-options", json.dumps(self.options))
        self.filesystem = fsspec.filesystem("s3", **self.options)
        self.filesystem.mkdir("replaced")
        for video in (archive.parent / "videos").iterdir():
            self.filesystem.pipe(f"replaced/{video.name}", video.read_bytes())

    def uri(self, name):
        return f"s3://replaced/{name}"

    def put(self, source, name):
        self.filesystem.pipe(f"replaced/{name}", self.filesystem.cat(f"replaced/{source}"))


@pytest.fixture
def storage(request, archive, tmp_path, monkeypatch):
    def never_start(*args, **kwargs):
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", never_start)
    if getattr(request, "param", "a file") == "a file":
        yield Disk(tmp_path, archive)
        return
    store = Store(archive, request.getfixturevalue("s3_endpoint"))
    yield store
    store.filesystem.rm("replaced", recursive=True)


def rows_of(output):
    paths = sorted(Path(output).glob("answers/**/part-*.parquet"))
    return sorted(
        (row for path in paths for row in pq.ParquetFile(path).read().to_pylist()), key=lambda row: row["question_id"]
    )


def without_volatile(rows):
    return [{name: value for name, value in row.items() if name not in VOLATILE_COLUMNS} for row in rows]


@pytest.mark.parametrize(
    ("storage", "stage"), [("a file", "probe"), ("a file", "decode"), ("an object", "decode")], indirect=["storage"]
)
def test_the_same_run_answers_about_the_version_that_is_there_under_its_key(
    storage, stage, model_folder, tmp_path, monkeypatch
):
    video = storage.uri("v000.mp4")
    asked = [
        {"question_id": f"{video_number}-{text}", "video": uri, "question": text, "options": ["red", "blue"]}
        for video_number, uri in enumerate((video, storage.uri("v001.mp4")))
        for text in ("What color is the star?", "What color is the ring?")
    ]
    manifest = tmp_path / "manifest.parquet"
    pq.write_table(pa.Table.from_pylist(asked), manifest)

    def answer(output):
        words = ["--manifest", str(manifest), "--output", str(output), "--model", str(model_folder), *FAST]
        return run.main([*words, *storage.extra, "--set", f"reading.cache_dir={tmp_path / 'cache'}"])

    before = video_fingerprint(video, storage_options=storage.options)
    plain, told = getattr(DecoderActor, stage), []

    def replacing(self, work):
        if work.uri == video and not told:
            told.append(storage.put("v001.mp4", "v000.mp4"))
        return plain(self, work)

    monkeypatch.setattr(DecoderActor, stage, replacing)
    assert answer(tmp_path / "out") == 0
    assert told
    after = video_fingerprint(video, storage_options=storage.options)
    rows = rows_of(tmp_path / "out")
    assert [(row["status"], row["video_fingerprint"] == after) for row in rows] == [
        ("ok", row["video"] == video) for row in rows
    ]
    assert before != after
    assert len(rows) == len(asked) == len(read_answers(str(tmp_path / "out")))
    assert answer(tmp_path / "fresh") == 0
    assert without_volatile(rows) == without_volatile(rows_of(tmp_path / "fresh"))
    files = sorted(tmp_path.glob("out/answers/**/*.parquet"))
    assert answer(tmp_path / "out") == 0
    assert sorted(tmp_path.glob("out/answers/**/*.parquet")) == files, "the next run has nothing to do"


def test_a_version_that_an_earlier_run_answered_about_is_not_answered_twice(
    storage, model_folder, tmp_path, monkeypatch
):
    """The upload is taken back while the run reads: what the run before said of the old version stands, once."""
    video, manifest = storage.uri("v000.mp4"), tmp_path / "manifest.parquet"
    row = {"question_id": "q", "video": video, "question": "What color is the star?", "options": ["red", "blue"]}
    pq.write_table(pa.Table.from_pylist([row]), manifest)
    words = ["--manifest", str(manifest), "--output", str(tmp_path / "out"), "--model", str(model_folder), *FAST]
    words += [*storage.extra, "--set", f"reading.cache_dir={tmp_path / 'cache'}"]
    assert run.main(words) == 0
    answered, look_up = rows_of(tmp_path / "out"), video_fingerprint
    first = look_up(video, storage_options=storage.options)
    monkeypatch.setattr("pipeline.planning.fingerprints.video_fingerprint", lambda *a, **k: "f" * 16)
    assert run.main(words) == 0
    assert rows_of(tmp_path / "out") == answered
    assert answered[0]["video_fingerprint"] == first
