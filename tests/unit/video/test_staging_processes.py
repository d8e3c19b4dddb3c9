"""The cache between processes, and whose folder it may be."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.sources import ReadingConfig
from pipeline.video.staging import cache_folder, video_cache
from tests.unit.video.staging_fakes import FakeVideo, stored, use

ROOT = Path(__file__).resolve().parents[3]
READER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from pipeline.video.remote import ObjectVersion
from pipeline.video.staging import VideoCopy, video_cache

class Slow:
    uri = "s3://b/v"
    def look_up(self):
        return ObjectVersion(size_bytes=100, version="1")
    def download(self, path, *, max_bytes):
        Path(path).write_bytes(b"x" * 50)
        print("downloading", flush=True)
        time.sleep({pause_s})
        Path(path).write_bytes(b"x" * 100)

copy = VideoCopy(remote=Slow(), found=Slow().look_up(), max_file_bytes=1000)
with video_cache(Path({folder!r}), max_bytes=300).hold(copy) as path:
    print("holding", len(Path(path).read_bytes()), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def start_reader(tmp_path):
    """Start a process that fetches and holds one object until a line comes or it is killed."""
    started = []

    def start(pause_s):
        (tmp_path / "videos").mkdir(exist_ok=True)
        script = READER.format(root=str(ROOT), folder=str(tmp_path / "videos"), pause_s=pause_s)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([sys.executable, "-c", script], **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_two_processes_fetch_an_object_once(start_reader):
    first, second = start_reader(0.3), start_reader(0.3)
    said = [process.communicate("\n", timeout=20)[0] for process in (first, second)]
    assert [text.count("holding 100") for text in said] == [1, 1]
    assert "".join(said).count("downloading") == 1


def test_a_copy_held_by_another_process_stays_until_that_process_dies(start_reader, cache, tmp_path):
    process = start_reader(0)
    lines = [process.stdout.readline().strip() for _ in range(2)]
    assert lines == ["downloading", "holding 100"]
    (held,) = stored(tmp_path)
    other = FakeVideo("s3://b/other", content=b"o" * 290)
    use(cache, other)
    assert held in stored(tmp_path)
    process.kill()
    process.wait()
    use(cache, other)
    assert held not in stored(tmp_path)


def test_a_dead_downloader_leaves_no_lock_and_its_partial_file_goes_with_the_next_visit(start_reader, cache, tmp_path):
    process = start_reader(60)
    assert process.stdout.readline().strip() == "downloading"
    use(cache, FakeVideo("s3://b/other"))
    (part,) = stored(tmp_path, "part")  # alive: left alone
    process.send_signal(signal.SIGKILL)
    process.wait()
    use(cache, FakeVideo("s3://b/other"))
    assert stored(tmp_path, "part") == set()
    again = FakeVideo("s3://b/v")
    assert Path(use(cache, again)).stem == Path(part).stem
    assert again.num_downloads == 1


@pytest.fixture
def cache(tmp_path):
    return video_cache(tmp_path / "videos", max_bytes=300)


def test_the_folder_is_private_and_below_cache_dir_or_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    name = f"adapttoken-{os.getuid()}"
    assert cache_folder(ReadingConfig()) == tmp_path / name
    chosen = cache_folder(ReadingConfig(cache_dir=str(tmp_path / "new" / "cache")))
    assert chosen == tmp_path / "new" / "cache" / name
    chosen.chmod(0o777)
    assert cache_folder(ReadingConfig(cache_dir=str(tmp_path / "new" / "cache"))).stat().st_mode & 0o777 == 0o700


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    cache_folder(ReadingConfig(cache_dir=str(tmp_path)))
    uid = os.getuid()
    (tmp_path / f"adapttoken-{uid}").rename(tmp_path / f"adapttoken-{uid + 1}")
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    with pytest.raises(PipelineError, match=rf"belongs to user {uid}, not {uid + 1}.*reading\.cache_dir") as caught:
        cache_folder(ReadingConfig(cache_dir=str(tmp_path)))
    assert caught.value.failure_class is FailureClass.ACCESS_DENIED


def test_a_link_prepared_by_others_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"adapttoken-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PipelineError, match="is a link"):
        cache_folder(ReadingConfig(cache_dir=str(tmp_path)))


def test_a_cache_dir_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PipelineError, match="cannot be made") as caught:
        cache_folder(ReadingConfig(cache_dir=str(tmp_path / "file")))
    assert caught.value.failure_class is FailureClass.ACCESS_DENIED
