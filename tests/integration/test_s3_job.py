"""Manifest, videos and results in an S3 store (moto's server): the whole job from its command line, without Ray."""

import json
import time

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from jobs import run
from pipeline.planning.fingerprints import look_up_fingerprints
from pipeline.results.finished import read_answers
from pipeline.results.keys import video_fingerprint
from pipeline.video.store_source import StoredVideo

SECRETS = ("hidden-key-id", "hidden-secret-key")
FAST = ("--executor", "serial", "--max-frames", "128", "--frames-per-group", "32")


@pytest.fixture(scope="module")
def options(s3_endpoint):
    return {"endpoint_url": s3_endpoint, "key": SECRETS[0], "secret": SECRETS[1]}


@pytest.fixture
def store(options, archive):
    """Buckets with the archive and room for results."""
    filesystem = fsspec.filesystem("s3", **options)
    for bucket in ("archive-in", "archive-out"):
        filesystem.mkdir(bucket)
    filesystem.pipe("archive-in/set/manifest.parquet", archive.read_bytes())
    for video in (archive.parent / "videos").iterdir():
        filesystem.pipe(f"archive-in/set/videos/{video.name}", video.read_bytes())
    yield filesystem
    for bucket in ("archive-in", "archive-out"):
        filesystem.rm(bucket, recursive=True)


@pytest.fixture
def run_job(options, store, model_folder, tmp_path, monkeypatch):
    """Run the job over a manifest in the store; Ray must not start."""

    def never_start(*args, **kwargs):
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", never_start)

    def start(*extra, manifest="s3://archive-in/set/manifest.parquet"):
        words = ["--manifest", manifest, "--output", "s3://archive-out/nightly", "--model", str(model_folder), *FAST]
        words += ["--storage-options", json.dumps(options), "--set", f"reading.cache_dir={tmp_path}", *extra]
        return run.main(words)

    return start


def summaries(store):
    found = [json.loads(store.cat(path)) for path in store.glob("archive-out/nightly/runs/*/summary.json")]
    return sorted(found, key=lambda summary: summary["started_at"])


def assert_no_secret(store, options, printed):
    rows = read_answers("s3://archive-out/nightly", storage_options=options)
    texts = [printed.out, printed.err, str(rows.to_pylist()), str(rows.schema)]
    texts += [store.cat(path).decode() for path in store.find("archive-out") if not path.endswith(".parquet")]
    assert len(texts) >= 4 + 3  # config.yaml, summary.json, progress.json and provenance.json
    assert not [text for text in texts for secret in SECRETS if secret in text]


def test_an_archive_is_answered_from_s3_to_s3_and_a_second_run_does_nothing(store, options, run_job, capsys):
    assert run_job() == 0
    rows = read_answers("s3://archive-out/nightly", storage_options=options).to_pylist()
    assert [row["status"] for row in rows] == ["ok"] * 6
    assert {row["video"] for row in rows} == {
        "s3://archive-in/set/videos/v000.mp4",
        "s3://archive-in/set/videos/v001.mp4",
    }
    names = {path.rpartition("/")[2] for path in store.find("archive-out/nightly/runs")}
    assert names == {"config.yaml", "summary.json", "progress.json", "provenance.json"}
    parts = store.find("archive-out/nightly/answers")
    started = time.monotonic()
    assert run_job() == 0
    assert time.monotonic() - started < 20
    assert store.find("archive-out/nightly/answers") == parts
    counts = [(s["num_ok"], s["num_skipped"], s["num_groups_encoded"]) for s in summaries(store)]
    assert counts == [(6, 0, 8), (0, 6, 0)]
    assert_no_secret(store, options, capsys.readouterr())


def test_one_poisoned_video_fails_alone(store, options, run_job, capsys, archive):
    store.pipe("archive-in/set/videos/poison.mp4", b"#EXTM3U\nhttp://elsewhere/x\n" * 99)
    rows = pq.read_table(archive).to_pylist()
    table = pa.Table.from_pylist([*rows, rows[0] | {"question_id": "poison", "video": "videos/poison.mp4"}])
    with store.open("archive-in/set/more.parquet", "wb") as file:
        pq.write_table(table, file)
    assert run_job(manifest="s3://archive-in/set/more.parquet") == 3
    found = read_answers("s3://archive-out/nightly", storage_options=options).to_pylist()
    assert {row["question_id"]: row["error_class"] for row in found if row["status"] != "ok"} == {
        "poison": "unsupported_media"
    }
    assert len(found) == 7
    assert summaries(store)[0]["exit_code"] == 3
    assert_no_secret(store, options, capsys.readouterr())


def test_copies_under_keys_with_marks_are_videos_of_their_own(store, options, run_job, archive):
    [row, *_] = pq.read_table(archive).to_pylist()
    names = ["copy#1.mp4", "copy#2.mp4", "why? 1.mp4", "why? 2.mp4", "50%25 ä.mp4", "50% ä.mp4"]
    for name in names:
        store.pipe_file(f"archive-in/set#1/{name}", (archive.parent / row["video"]).read_bytes())
    rows = [row | {"question_id": name, "video": name, "meta": {}} for name in names]
    store.pipe_file("archive-in/set#1/marks.jsonl", "\n".join(map(json.dumps, rows)).encode())
    assert run_job(manifest="s3://archive-in/set#1/marks.jsonl") == 0
    found = read_answers("s3://archive-out/nightly", storage_options=options).to_pylist()
    assert {row["question_id"]: row["status"] for row in found} == dict.fromkeys(names, "ok")
    assert {row["question_id"]: row["video"] for row in found} == {
        name: f"s3://archive-in/set#1/{name}" for name in names
    }


def test_a_plan_reads_no_whole_video_and_writes_nothing(store, options, run_job, capsys, monkeypatch, tmp_path):
    monkeypatch.delattr(StoredVideo, "download")
    assert run_job("--plan", "--plan-output", str(tmp_path / "plan.json")) == 0
    assert store.find("archive-out") == []
    plan = json.loads((tmp_path / "plan.json").read_text())
    figures = (
        "num_videos",
        "num_questions",
        "num_probed",
        "num_estimated",
        "sampled_frames",
        "groups",
        "question_groups",
    )
    assert [plan[name] for name in figures] == [2, 6, 2, 0, 256, 8, 24]
    printed = capsys.readouterr()
    assert "questions to answer" in printed.out
    assert not [secret for secret in SECRETS if secret in printed.out + printed.err]


def test_versions_of_many_objects_come_from_a_listing_and_are_those_of_single_requests(store, options, monkeypatch):
    uris = [f"s3://archive-in/many/é {i}.mp4" for i in range(25)]
    for uri in uris:
        store.pipe(uri, uri.encode())
    single = [video_fingerprint(uri, storage_options=options) for uri in uris]
    monkeypatch.delattr(StoredVideo, "look_up")
    assert [found.value for found in look_up_fingerprints(uris, storage_options=options)] == single


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"endpoint_url": "http://127.0.0.1:9"}, "cannot be read"),
        ({"no_such_option": 1}, "no_such_option"),
    ],
)
def test_a_store_that_cannot_be_reached_is_said_without_credentials(options, changes, expected, model_folder, capsys):
    impatient = {"config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1}, "skip_instance_cache": True}
    words = [
        "--manifest",
        "s3://archive-in/m.csv",
        "--output",
        "s3://archive-out/x",
        "--model",
        str(model_folder),
        *FAST,
    ]
    assert run.main([*words, "--storage-options", json.dumps(options | impatient | changes)]) == 2
    printed = capsys.readouterr()
    assert expected in printed.err
    assert "Traceback" not in printed.err
    assert not [secret for secret in SECRETS if secret in printed.out + printed.err]
