"""Videos in an S3 store (moto's server): each failure with its class, and the cache between processes."""

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from s3fs import S3FileSystem

from pipeline.failures import FailureClass, PipelineError
from pipeline.results.keys import video_fingerprint
from pipeline.settings.sources import ReadingConfig
from pipeline.video import store_source
from pipeline.video.remote import Patience
from pipeline.video.sources import local_video
from pipeline.video.store_source import StoredVideo

ROOT = Path(__file__).resolve().parents[2]
CONTENT = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 200
IMPATIENT = {"retries": {"max_attempts": 0}, "connect_timeout": 2, "read_timeout": 2}


@pytest.fixture(scope="module")
def options(s3_endpoint):
    return {"endpoint_url": s3_endpoint, "key": "k", "secret": "hidden"}


@pytest.fixture
def store(options):
    filesystem = fsspec.filesystem("s3", **options)
    filesystem.mkdir("archive")
    filesystem.pipe("archive/v.mp4", CONTENT)
    yield filesystem
    filesystem.rm("archive", recursive=True)


@pytest.fixture
def reading(tmp_path):
    return ReadingConfig(cache_dir=str(tmp_path))


@pytest.fixture
def downloads(monkeypatch):
    """URIs of all downloads of this process."""
    seen = []
    download = StoredVideo.download
    monkeypatch.setattr(StoredVideo, "download", lambda self, *a, **k: seen.append(self.uri) or download(self, *a, **k))
    return seen


def read(uri, reading, options):
    with local_video(uri, reading=reading, storage_options=options) as path:
        return Path(path).read_bytes()


def fail(uri, reading, options):
    with pytest.raises(PipelineError) as caught:
        read(uri, reading, options)
    assert "hidden" not in caught.value.message
    assert uri in caught.value.message
    return caught.value.failure_class


def test_an_object_is_fetched_once_and_anew_when_it_changed(store, options, reading, downloads):
    assert read("s3://archive/v.mp4", reading, options) == CONTENT
    assert read("s3://archive/v.mp4", reading, options) == CONTENT
    assert len(downloads) == 1
    changed = CONTENT[:-1] + b"!"  # of the same size: the ETag tells
    store.pipe("archive/v.mp4", changed)
    assert read("s3://archive/v.mp4", reading, options) == changed
    assert len(downloads) == 2


def test_an_object_that_was_listed_before_it_changed_is_still_fetched_anew(store, options, reading):
    store.ls("archive", refresh=True)
    fsspec.filesystem("s3", **options).dircache.update(store.dircache)
    assert read("s3://archive/v.mp4", reading, options) == CONTENT
    other = S3FileSystem(**options, skip_instance_cache=True)
    other.pipe("archive/v.mp4", CONTENT + b"more")
    assert read("s3://archive/v.mp4", reading, options) == CONTENT + b"more"


def test_a_large_object_arrives_in_parts(store, options, reading, monkeypatch):
    monkeypatch.setattr(store_source, "_PART_BYTES", 10_000)
    assert read("s3://archive/v.mp4", reading, options) == CONTENT


def test_an_object_replaced_during_the_copy_is_a_transfer_failure_and_then_read_anew(
    store, options, reading, monkeypatch
):
    download = StoredVideo.download

    def replace_then_download(self, path, *, max_bytes):
        monkeypatch.undo()
        download(self, path, max_bytes=max_bytes)
        store.pipe("archive/v.mp4", CONTENT[::-1])
        store.pipe("archive/v.mp4", CONTENT[:12] + b"new")

    monkeypatch.setattr(StoredVideo, "download", replace_then_download)
    assert fail("s3://archive/v.mp4", reading, options) is FailureClass.TRANSFER
    assert read("s3://archive/v.mp4", reading, options) == CONTENT[:12] + b"new"


@pytest.mark.parametrize(
    ("uri", "failure_class"),
    [
        ("s3://archive/none.mp4", FailureClass.NOT_FOUND),
        ("s3://no-such-bucket/v.mp4", FailureClass.NOT_FOUND),
        ("s3://Not_A bucket!/v.mp4", FailureClass.NOT_FOUND),
        ("s3://archive/folder", FailureClass.UNSUPPORTED_MEDIA),
        ("s3://archive", FailureClass.UNSUPPORTED_MEDIA),
        ("s3://archive/text.mp4", FailureClass.UNSUPPORTED_MEDIA),
        ("s3://archive/empty.mp4", FailureClass.CORRUPT_MEDIA),
    ],
)
def test_what_cannot_be_a_video_has_its_class(store, options, reading, uri, failure_class):
    store.pipe("archive/folder/v.mp4", CONTENT)
    store.pipe("archive/text.mp4", b"words " * 100)
    store.pipe("archive/empty.mp4", b"")
    assert fail(uri, reading, options) is failure_class


def test_an_object_above_the_limit_is_not_fetched(store, options, tmp_path, downloads):
    limited = ReadingConfig(cache_dir=str(tmp_path), max_file_bytes=len(CONTENT) - 1)
    assert fail("s3://archive/v.mp4", limited, options) is FailureClass.TOO_LARGE
    assert downloads == []


def test_without_credentials_access_is_denied(options, reading, monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    nameless = {"endpoint_url": options["endpoint_url"], "skip_instance_cache": True}
    assert fail("s3://archive/v.mp4", reading, nameless) is FailureClass.ACCESS_DENIED


def test_an_endpoint_that_nobody_answers_is_a_transfer_failure(reading):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        options = {"endpoint_url": endpoint, "key": "k", "secret": "hidden", "config_kwargs": IMPATIENT}
        assert fail("s3://archive/v.mp4", reading, options) is FailureClass.TRANSFER


@contextmanager
def broken_store(*, status=200, body=b"", promised=0):
    """A store that answers every request alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(promised))
            self.send_header("ETag", '"1"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    yield {"endpoint_url": endpoint, "key": "k", "secret": "hidden", "config_kwargs": IMPATIENT}
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "failure_class"),
    [(403, FailureClass.ACCESS_DENIED), (500, FailureClass.TRANSFER), (503, FailureClass.TRANSFER)],
)
def test_a_status_of_the_store_decides_the_class(reading, status, failure_class):
    with broken_store(status=status) as options:
        assert fail("s3://archive/v.mp4", reading, options) is failure_class
        with pytest.raises(PipelineError) as caught:
            video_fingerprint("s3://archive/v.mp4", storage_options=options)
        assert caught.value.failure_class is failure_class


@pytest.mark.parametrize("part_bytes", [1 << 20, 10_000])
def test_a_connection_cut_in_the_middle_is_a_transfer_failure_and_leaves_nothing(
    reading, monkeypatch, tmp_path, part_bytes
):
    monkeypatch.setattr(S3FileSystem, "retries", 2)
    monkeypatch.setattr(store_source, "_PART_BYTES", part_bytes)
    with broken_store(body=CONTENT[:5_000], promised=len(CONTENT)) as options:
        assert fail("s3://archive/v.mp4", reading, options) is FailureClass.TRANSFER
    assert not list(tmp_path.rglob("*.video")) + list(tmp_path.rglob("*.part"))


READER = """
import json, sys
from pathlib import Path
from pipeline.settings.sources import ReadingConfig
from pipeline.video.store_source import StoredVideo
from pipeline.video.sources import local_video
options, cache_dir = json.loads(sys.argv[1]), sys.argv[2]
download = StoredVideo.download
def counted(self, path, *, max_bytes):
    print("download", flush=True)
    download(self, path, max_bytes=max_bytes)
StoredVideo.download = counted
with local_video("s3://archive/v.mp4", reading=ReadingConfig(cache_dir=cache_dir), storage_options=options) as path:
    print(len(Path(path).read_bytes()), flush=True)
    sys.stdin.readline()
"""


def test_two_processes_fetch_an_object_once(store, options, tmp_path):
    command = [sys.executable, "-c", READER, json.dumps(options), str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    said = [process.communicate("\n", timeout=60)[0].split() for process in processes]
    assert sorted(said, key=len) == [[str(len(CONTENT))], ["download", str(len(CONTENT))]]


def test_the_fingerprint_follows_the_object(store, options):
    first = video_fingerprint("s3://archive/v.mp4", storage_options=options)
    assert video_fingerprint("s3://archive/v.mp4", storage_options=options) == first
    store.pipe("archive/v.mp4", CONTENT[:-1] + b"!")
    assert video_fingerprint("s3://archive/v.mp4", storage_options=options) != first


def test_an_object_that_was_replaced_since_the_plan_is_refused_before_it_is_fetched(store, options, reading, downloads):
    planned = video_fingerprint("s3://archive/v.mp4", storage_options=options)
    with local_video("s3://archive/v.mp4", reading=reading, storage_options=options, fingerprint=planned) as path:
        assert Path(path).read_bytes() == CONTENT
    store.pipe("archive/v.mp4", CONTENT[:-1] + b"!")  # of the same size
    again = local_video("s3://archive/v.mp4", reading=reading, storage_options=options, fingerprint=planned)
    with pytest.raises(PipelineError, match=r"s3://archive/v\.mp4 was replaced since this run") as caught, again:
        pass
    assert caught.value.failure_class is FailureClass.TRANSFER
    assert len(downloads) == 1


def test_a_store_that_drips_is_not_waited_for(tmp_path):
    """One byte now and then keeps every socket's own timeout from striking."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.send_header("ETag", '"1"')
            self.end_headers()
            for at in range(len(CONTENT) if self.command == "GET" else 0):
                if is_over.wait(0.05):
                    return
                self.wfile.write(CONTENT[at : at + 1])
                self.wfile.flush()

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    is_over = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    options = {"key": "k", "secret": "hidden", "config_kwargs": IMPATIENT}
    options["endpoint_url"] = f"http://127.0.0.1:{server.server_address[1]}"
    patience = Patience(grace_s=0.3, min_bytes_per_s=1e6)
    video = StoredVideo(uri="s3://archive/v.mp4", storage_options=options, patience=patience)
    try:
        with pytest.raises(PipelineError, match=r"v.mp4 comes too slowly: \d+ bytes not there after 0 s") as caught:
            video.download(str(tmp_path / "copy"), max_bytes=1 << 20)
        assert caught.value.failure_class is FailureClass.TRANSFER
    finally:
        is_over.set()
        server.shutdown()
        server.server_close()
