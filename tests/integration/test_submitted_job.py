"""``ray job submit`` to a cluster of four nodes with GPUs that are none: from S3 to S3, and what the exit code says."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest

from cluster.local_nodes import local_nodes
from pipeline.results.finished import read_answers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ("execution.num_scorers=2", "execution.gpus_per_scorer=1", "execution.num_decoders=2")


@pytest.fixture(scope="module")
def options(s3_endpoint):
    return {"endpoint_url": s3_endpoint, "key": "some-key-id", "secret": "some-secret-key"}


@pytest.fixture(scope="module")
def store(options, archive):
    filesystem = fsspec.filesystem("s3", **options)
    filesystem.mkdir("nightly")
    filesystem.pipe("nightly/in/manifest.parquet", archive.read_bytes())
    for video in (archive.parent / "videos").iterdir():
        filesystem.pipe(f"nightly/in/videos/{video.name}", video.read_bytes())
    return filesystem


@pytest.fixture(scope="module")
def submit(options, store):
    """Submits the job with an output of its own; returns the finished ``ray job submit``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(output):
        command = [str(Path(sys.executable).with_name("ray")), "job", "submit", "--address", f"http://127.0.0.1:{port}"]
        command += ["--working-dir", str(ROOT), "--", sys.executable, "jobs/run.py", "--model", "demo"]
        command += ["--manifest", "s3://nightly/in/manifest.parquet", "--output", output, "--frames-per-group", "32"]
        command += ["--storage-options", json.dumps(options)]
        for setting in SETTINGS:
            command += ["--set", setting]
        environment = os.environ | {"RAY_AUTH_MODE": "token"}
        for _ in range(120):  # a young cluster's head takes a while before it accepts jobs
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
            if "No available agent" not in done.stderr:
                break
            time.sleep(0.5)
        return done

    with local_nodes(num_nodes=3, cpus_per_node=2, gpus_per_node=1, dashboard_port=port):
        yield run


def test_a_submitted_job_answers_everything_and_succeeds(submit, options, store):
    done = submit("s3://nightly/good")
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert "6 answered, 0 failed" in done.stdout
    store.invalidate_cache()
    rows = read_answers("s3://nightly/good", storage_options=options).to_pylist()
    assert [row["status"] for row in rows] == ["ok"] * 6
    assert options["secret"] not in str(rows)


def test_a_poisoned_video_fails_the_job_and_no_other_row(submit, options, store):
    store.pipe("nightly/in/videos/v000.mp4", b"this is not a video" * 1_000)
    done = submit("s3://nightly/poisoned")
    assert done.returncode != 0
    assert "3 answered, 3 failed" in done.stdout, done.stdout[-3_000:] + done.stderr[-3_000:]
    store.invalidate_cache()  # it has listed the bucket before the job wrote to it
    rows = read_answers("s3://nightly/poisoned", storage_options=options).to_pylist()
    found = sorted((Path(row["video"]).name, row["status"], row["error_class"]) for row in rows)
    assert found == [("v000.mp4", "failed", "unsupported_media")] * 3 + [("v001.mp4", "ok", None)] * 3
