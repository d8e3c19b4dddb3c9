"""The child process: what it returns, and what happens when it hangs, crashes or grows."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.sources import ReadingConfig
from pipeline.video import decode_child
from pipeline.video.decode import decode_stretch
from pipeline.video.decode_child import private_bytes
from pipeline.video.isolated import IsolatedReader
from pipeline.video.probe import probe_video

INDICES = np.array([3, 4, 17, 40], dtype=np.int64)


@pytest.fixture
def make_reader():
    readers = []

    def make(**reading):
        readers.append(IsolatedReader(ReadingConfig(**reading), max_bad_frames_share=0.05))
        return readers[-1]

    yield make
    for reader in readers:
        reader.close()


def _is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("name", ["b_frames", "mpegts", "rotated"])
def test_a_child_returns_what_the_same_call_returns_here(make_reader, videos, name):
    reader, path = make_reader(), videos[name]
    probe = reader.probe(path)
    np.testing.assert_array_equal(probe.pts, probe_video(path).pts)
    found, expected = (read(probe, INDICES, size=(32, 40)) for read in (reader.decode, decode_stretch))
    np.testing.assert_array_equal(found.frames, expected.frames)
    assert (found.decoder, found.num_frames_decoded, found.bad_frames) == (
        expected.decoder,
        expected.num_frames_decoded,
        expected.bad_frames,
    )


def test_a_refusal_keeps_its_class_and_the_child_goes_on(make_reader, videos, broken_files):
    reader = make_reader()
    with pytest.raises(PipelineError, match="not a video file") as caught:
        reader.probe(broken_files["garbage"])
    assert caught.value.failure_class is FailureClass.UNSUPPORTED_MEDIA
    pid = reader.child_pid
    assert reader.probe(videos["mkv"]).num_frames == 48
    assert reader.child_pid == pid


@pytest.mark.parametrize(
    ("limit", "value", "failure_class"),
    [
        ("max_duration_s", 1.0, FailureClass.TOO_LARGE),
        ("max_video_frames", 47, FailureClass.TOO_LARGE),
        ("max_frame_pixels", 96 * 64 - 1, FailureClass.TOO_LARGE),
    ],
)
def test_a_limit_names_itself_and_the_option_that_raises_it(make_reader, videos, limit, value, failure_class):
    with pytest.raises(PipelineError, match=f"raise reading.{limit}") as caught:
        make_reader(**{limit: value}).probe(videos["b_frames"])
    assert caught.value.failure_class is failure_class
    generous = {"max_duration_s": 2.0, "max_video_frames": 48, "max_frame_pixels": 96 * 64}[limit]
    assert make_reader(**{limit: generous}).probe(videos["b_frames"]).num_frames == 48


def test_a_probe_that_hangs_is_killed_at_its_deadline(make_reader, videos):
    reader = make_reader(decode_timeout_s=0.3)
    pid = reader._start().pid
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(PipelineError, match=r"more than 0\.3 s.*reading\.decode_timeout_s") as caught:
        reader.probe(videos["b_frames"])
    assert caught.value.failure_class is FailureClass.DECODE_TIMEOUT
    assert time.monotonic() - started < 5
    assert not _is_running(pid)
    assert reader.child_pid is None


@pytest.mark.parametrize("blow", [signal.SIGSTOP, signal.SIGSEGV, signal.SIGKILL])
def test_frames_that_cost_a_child_its_life_are_read_by_pyav_in_another(make_reader, videos, blow):
    reader = make_reader(decode_timeout_s=2.0)
    probe = reader.probe(videos["b_frames"])
    assert reader.decode(probe, INDICES, backend="decord").decoder == "decord"
    os.kill(reader.child_pid, blow)
    decoded = reader.decode(probe, INDICES, backend="decord")
    assert decoded.decoder == "pyav"
    np.testing.assert_array_equal(decoded.frames, decode_stretch(probe, INDICES).frames)


def test_a_video_that_the_named_library_must_not_read_is_read_by_pyav(make_reader, videos):
    reader = make_reader()
    for name, decoder in (("b_frames", "decord"), ("mpegts", "pyav")):
        probe = reader.probe(videos[name])
        decoded = reader.decode(probe, INDICES, backend="decord")
        assert decoded.decoder == decoder
        np.testing.assert_array_equal(decoded.frames, decode_stretch(probe, INDICES).frames)


@pytest.mark.parametrize(
    ("blow", "failure_class", "finding"),
    [
        (signal.SIGSEGV, FailureClass.CORRUPT_MEDIA, "crashes its decoder"),
        (signal.SIGKILL, FailureClass.OUT_OF_MEMORY, "killed from outside"),
    ],
)
def test_a_crash_is_a_typed_failure(make_reader, videos, blow, failure_class, finding):
    reader = make_reader()
    reader.probe(videos["b_frames"])
    os.kill(reader.child_pid, blow)
    with pytest.raises(PipelineError, match=finding) as caught:
        reader.probe(videos["b_frames"])
    assert caught.value.failure_class is failure_class
    assert reader.probe(videos["b_frames"]).num_frames == 48


def test_a_child_beyond_its_memory_is_killed(make_reader, videos):
    reader = make_reader(decode_memory_bytes=2**20, decode_timeout_s=30.0)
    os.kill(reader._start().pid, signal.SIGSTOP)  # so that it is still there when it is looked at
    with pytest.raises(PipelineError, match=r"allowed are 1,048,576; .*reading\.decode_memory_bytes") as caught:
        reader.probe(videos["b_frames"])
    assert caught.value.failure_class is FailureClass.OUT_OF_MEMORY


def test_a_child_that_has_grown_or_served_for_long_is_replaced(make_reader, videos, monkeypatch):
    reader = make_reader()
    reader.probe(videos["b_frames"])
    assert reader.child_pid is not None
    monkeypatch.setattr(decode_child, "RECYCLE_BYTES", 2**20)
    reader.probe(videos["b_frames"])
    assert reader.child_pid is None


def test_a_child_dies_with_its_parent_even_while_it_is_busy(videos):
    script = (
        "import sys\n"
        "from pipeline.settings.config import ReadingConfig\n"
        "from pipeline.video.isolated import IsolatedReader\n"
        "reader = IsolatedReader(ReadingConfig(), max_bad_frames_share=0.05)\n"
        "reader.probe(sys.argv[1])\n"
        "print(reader.child_pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, videos["b_frames"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    pid = int(parent.stdout.readline())
    os.kill(pid, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while _is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_running(pid)


def test_a_child_knows_no_credentials_and_no_network(make_reader, videos, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    reader = make_reader()
    reader.probe(videos["b_frames"])
    environment = Path(f"/proc/{reader.child_pid}/environ").read_bytes()
    assert environment.replace(b"LD_LIBRARY_PATH=", b"").count(b"=") == 0
    networks = [os.readlink(f"/proc/{pid}/ns/net") for pid in ("self", reader.child_pid)]
    if networks[0] == networks[1]:
        pytest.skip("this kernel does not let a process leave the network")
    with socket.create_server(("127.0.0.1", 0)) as server:
        listening_here, listening_there = (
            f":{server.getsockname()[1]:04X} " in Path(f"/proc/{pid}/net/tcp").read_text()
            for pid in ("self", reader.child_pid)
        )
    assert (listening_here, listening_there) == (True, False)


def test_private_memory_is_counted_without_shared_frames():
    assert 2**20 < private_bytes(os.getpid()) < 2**40
    assert private_bytes(2**30) == 0
