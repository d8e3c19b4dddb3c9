import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.sources import ReadingConfig
from pipeline.video import sources
from pipeline.video.containers import Container, identify_container
from pipeline.video.sources import check_file, local_video
from pipeline.video.versions import local_version, object_fingerprint
from tests.unit.video.local_http import LocalVideo, Server, methods, reply
from tests.unit.video.staging_fakes import FakeVideo

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def resolve(uri, reading=None):
    with local_video(uri, reading=reading or ReadingConfig()) as path:
        return path


def test_a_plain_path_and_a_file_uri_resolve_to_the_same_absolute_path(videos, monkeypatch, tmp_path):
    target = tmp_path / "a b#1.mp4"
    target.write_bytes(Path(videos["b_frames"]).read_bytes())
    monkeypatch.chdir(tmp_path)
    assert resolve("a b#1.mp4") == str(target)
    assert resolve(f"file://{tmp_path}/a%20b#1.mp4") == str(target)


@pytest.mark.parametrize(
    ("name", "failure_class", "finding"),
    [
        ("text", FailureClass.UNSUPPORTED_MEDIA, "a text file"),
        ("garbage", FailureClass.UNSUPPORTED_MEDIA, "an unknown format"),
        ("empty", FailureClass.CORRUPT_MEDIA, "0 bytes"),
        ("folder", FailureClass.UNSUPPORTED_MEDIA, "a directory"),
        ("hls", FailureClass.UNSUPPORTED_MEDIA, "an HLS playlist"),
        ("concat", FailureClass.UNSUPPORTED_MEDIA, "an FFmpeg concat script"),
        ("dash", FailureClass.UNSUPPORTED_MEDIA, "a DASH manifest"),
    ],
)
def test_what_is_no_video_is_refused_by_content_and_named(broken_files, name, failure_class, finding):
    with pytest.raises(PipelineError, match=finding) as caught:
        resolve(broken_files[name])
    assert caught.value.failure_class is failure_class
    assert broken_files[name] in caught.value.message


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(PipelineError, match="does not exist") as caught:
        resolve(str(tmp_path / "nothing.mp4"))
    assert caught.value.failure_class is FailureClass.NOT_FOUND


@pytest.mark.parametrize(
    "uri",
    [
        "http://h/v.mp4?sig=secret",
        "HTTPS://h/v.mp4",
        "concat://a|b",
        "rtsp://u:secret@h/v",
        "ftp://b/v.mp4",
        "zip://v.mp4::http://h/v.zip",
        "simplecache::s3://b/v.mp4",
    ],
)
@pytest.mark.parametrize("allow_http", [False, True])
def test_schemes_outside_the_allow_list_are_refused_with_the_list(uri, allow_http):
    if uri.lower().startswith("http") and allow_http:
        return
    with pytest.raises(PipelineError, match=r"file://, s3://, gs://, az:// and, with reading.allow_http") as caught:
        resolve(uri, ReadingConfig(allow_http=allow_http))
    assert caught.value.failure_class is FailureClass.UNSUPPORTED_MEDIA
    assert "secret" not in caught.value.message


def test_a_file_uri_of_another_host_is_refused():
    with pytest.raises(PipelineError, match="'elsewhere'"):
        resolve("file://elsewhere/v.mp4")


@pytest.mark.skipif(IS_ROOT, reason="root may read everything")
def test_an_unreadable_file_is_access_denied_to_a_plain_user(videos, tmp_path):
    target = tmp_path / "v.mp4"
    target.write_bytes(Path(videos["b_frames"]).read_bytes())
    target.chmod(0)
    with pytest.raises(PipelineError) as caught:
        resolve(str(target))
    assert caught.value.failure_class is FailureClass.ACCESS_DENIED


def test_an_unreadable_file_is_access_denied(videos, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PipelineError, match="grant read access") as caught:
        check_file(videos["b_frames"])
    assert caught.value.failure_class is FailureClass.ACCESS_DENIED


@pytest.mark.parametrize(
    ("number", "failure_class"),
    [
        (errno.ELOOP, FailureClass.NOT_FOUND),
        (errno.ENAMETOOLONG, FailureClass.NOT_FOUND),
        (errno.ESTALE, FailureClass.TRANSFER),
        (errno.EIO, FailureClass.TRANSFER),
    ],
)
def test_a_file_server_that_is_away_is_a_transfer_failure_but_a_bad_path_is_not_found(
    monkeypatch, number, failure_class
):
    def fail(path):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "stat", fail)
    with pytest.raises(PipelineError) as caught:
        check_file("/mnt/v.mp4")
    assert caught.value.failure_class is failure_class


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("b_frames", Container.ISO_BMFF),
        ("mkv", Container.MATROSKA),
        ("mpegts", Container.MPEG_TS),
        ("avi", Container.AVI),
        ("flv", Container.FLV),
    ],
)
def test_containers_are_recognised_by_content_whatever_the_suffix(videos, tmp_path, name, container):
    renamed = tmp_path / "video.bin"
    renamed.write_bytes(Path(videos[name]).read_bytes())
    assert identify_container(str(renamed)) is container


@pytest.fixture
def reading(tmp_path):
    return ReadingConfig(cache_dir=str(tmp_path / "cache"))


@pytest.fixture
def put(monkeypatch):
    """Let every remote URI name one object in memory."""

    def put(content):
        video = FakeVideo("s3://bucket/v.mp4", content=content)
        monkeypatch.setattr(sources, "remote_video", lambda uri, storage_options: video)
        return video

    return put


def test_a_remote_video_is_a_local_copy_that_is_fetched_once(put, videos, reading):
    video = put(Path(videos["b_frames"]).read_bytes())
    for _ in range(2):
        with local_video(video.uri, reading=reading) as path:
            assert Path(path).read_bytes() == video.content
            assert path.startswith(reading.cache_dir)
    assert video.num_downloads == 1


def test_a_remote_file_above_the_whole_cache_is_refused_before_it_is_copied(put, videos, reading):
    video = put(Path(videos["b_frames"]).read_bytes())
    size = len(video.content)
    with pytest.raises(PipelineError, match=r"raise reading\.cache_bytes") as caught:
        resolve(video.uri, replace(reading, cache_bytes=size - 1))
    assert caught.value.failure_class is FailureClass.TOO_LARGE
    assert video.num_downloads == 0
    resolve(video.uri, replace(reading, cache_bytes=size))
    assert video.num_downloads == 1


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_file_above_the_limit_is_too_large_before_anything_is_copied(put, videos, reading, is_remote):
    video = put(Path(videos["b_frames"]).read_bytes())
    uri, size = video.uri if is_remote else videos["b_frames"], len(video.content)
    with pytest.raises(PipelineError, match=rf"has {size} bytes, allowed are {size - 1};.*max_file_bytes") as caught:
        resolve(uri, replace(reading, max_file_bytes=size - 1))
    assert caught.value.failure_class is FailureClass.TOO_LARGE
    assert video.num_downloads == 0
    with local_video(uri, reading=replace(reading, max_file_bytes=size)) as path:
        assert Path(path).stat().st_size == size


@pytest.mark.parametrize(
    ("content", "failure_class", "finding"),
    [
        (b"", FailureClass.CORRUPT_MEDIA, "0 bytes"),
        (b"this is not a video " * 20, FailureClass.UNSUPPORTED_MEDIA, "a text file"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", FailureClass.UNSUPPORTED_MEDIA, "an HLS playlist"),
    ],
)
def test_a_remote_object_is_judged_like_a_file_and_named_by_its_uri(put, reading, content, failure_class, finding):
    video = put(content)
    with pytest.raises(PipelineError, match=f"^{video.uri} is .*{finding}") as caught:
        resolve(video.uri.replace("://", "://user:secret@"), reading)
    assert caught.value.failure_class is failure_class
    assert reading.cache_dir not in caught.value.message
    assert "secret" not in caught.value.message


def test_errors_of_whoever_reads_the_copy_name_the_uri(put, videos, reading):
    video = put(Path(videos["b_frames"]).read_bytes())
    with (
        pytest.raises(PipelineError, match=f"^{video.uri} lasts too long") as caught,
        local_video(video.uri, reading=reading) as path,
    ):
        raise PipelineError(FailureClass.TOO_LARGE, f"{path} lasts too long")
    assert caught.value.failure_class is FailureClass.TOO_LARGE


def test_http_addresses_are_fetched_where_allowed_but_never_from_this_machine(videos, reading, monkeypatch):
    server = Server()
    content = Path(videos["b_frames"]).read_bytes()
    server.answers["/v.mp4"] = reply(headers={"ETag": "1", "Content-Length": str(len(content))}, body=content)
    allowing = replace(reading, allow_http=True)
    try:
        with pytest.raises(PipelineError, match="public addresses only") as caught:
            resolve(f"{server.url}/v.mp4", allowing)
        assert caught.value.failure_class is FailureClass.ACCESS_DENIED
        assert server.requests == []
        monkeypatch.setattr(sources, "HttpVideo", LocalVideo)
        for _ in range(2):
            with local_video(f"{server.url}/v.mp4?sig=1", reading=allowing) as path:
                assert Path(path).read_bytes() == content
        assert methods(server) == ["HEAD", "GET", "HEAD", "HEAD"]
    finally:
        server.stop()


def test_a_file_that_is_replaced_while_it_is_read_is_no_broken_video(videos, tmp_path):
    path, content = tmp_path / "v.mp4", Path(videos["b_frames"]).read_bytes()
    path.write_bytes(content)
    planned = object_fingerprint(str(path), local_version(path.stat()))
    reading = ReadingConfig(cache_dir=str(tmp_path))
    with local_video(str(path), reading=reading, fingerprint=f"{planned}-1"):
        pass
    for error in (None, PipelineError(FailureClass.CORRUPT_MEDIA, "half a frame")):
        path.write_bytes(content)
        planned = object_fingerprint(str(path), local_version(path.stat()))
        staged = local_video(str(path), reading=reading, fingerprint=planned)
        with pytest.raises(PipelineError, match="was replaced since this run was planned") as caught, staged:  # noqa: PT012
            path.write_bytes(content + b"more")
            if error:
                raise error
        assert caught.value.failure_class is FailureClass.TRANSFER
