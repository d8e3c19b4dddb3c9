import os
from pathlib import Path

import fsspec
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.containers import Container, identify_container
from pipeline.video.sources import check_file, redact_uri, resolve_local, stage_object

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def test_a_plain_path_and_a_file_uri_resolve_to_the_same_absolute_path(videos, monkeypatch, tmp_path):
    target = tmp_path / "a b#1.mp4"
    target.write_bytes(Path(videos["b_frames"]).read_bytes())
    monkeypatch.chdir(tmp_path)
    assert resolve_local("a b#1.mp4") == str(target)
    assert resolve_local(f"file://{tmp_path}/a%20b#1.mp4") == str(target)


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
        resolve_local(broken_files[name])
    assert caught.value.failure_class is failure_class
    assert broken_files[name] in caught.value.message


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(PipelineError, match="does not exist") as caught:
        resolve_local(str(tmp_path / "nothing.mp4"))
    assert caught.value.failure_class is FailureClass.NOT_FOUND


@pytest.mark.parametrize(
    "uri", ["http://host/v.mp4", "https://host/v.mp4", "concat://a|b", "rtsp://host/v", "gs://b/v.mp4"]
)
def test_schemes_outside_the_allow_list_are_refused_with_the_list(uri):
    with pytest.raises(PipelineError, match=r"file://, s3://") as caught:
        resolve_local(uri)
    assert caught.value.failure_class is FailureClass.UNSUPPORTED_MEDIA


def test_a_file_uri_of_another_host_is_refused():
    with pytest.raises(PipelineError, match="'elsewhere'"):
        resolve_local("file://elsewhere/v.mp4")


@pytest.mark.skipif(IS_ROOT, reason="root may read everything")
def test_an_unreadable_file_is_access_denied_to_a_plain_user(videos, tmp_path):
    target = tmp_path / "v.mp4"
    target.write_bytes(Path(videos["b_frames"]).read_bytes())
    target.chmod(0)
    with pytest.raises(PipelineError) as caught:
        resolve_local(str(target))
    assert caught.value.failure_class is FailureClass.ACCESS_DENIED


def test_an_unreadable_file_is_access_denied(videos, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PipelineError, match="grant read access") as caught:
        check_file(videos["b_frames"])
    assert caught.value.failure_class is FailureClass.ACCESS_DENIED


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


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://key:secret@bucket/v.mp4?X-Amz-Signature=1#t", "s3://bucket/v.mp4"),
        ("/data/a?b.mp4", "/data/a?b.mp4"),
        ("file:///data/v.mp4", "file:///data/v.mp4"),
    ],
)
def test_credentials_are_stripped_from_shown_uris(uri, shown):
    assert redact_uri(uri) == shown


@pytest.fixture
def memory():
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe("/bucket/v.mp4", b"x" * 1000)
    yield filesystem
    filesystem.rm("/bucket", recursive=True)


def test_a_remote_object_is_staged_once_and_again_when_it_changed(memory, tmp_path):
    first = stage_object(memory, "memory://bucket/v.mp4", staging_dir=str(tmp_path))
    assert Path(first).read_bytes() == b"x" * 1000
    assert stage_object(memory, "memory://bucket/v.mp4", staging_dir=str(tmp_path)) == first
    memory.pipe("/bucket/v.mp4", b"y" * 999)
    second = stage_object(memory, "memory://bucket/v.mp4", staging_dir=str(tmp_path))
    assert Path(second).read_bytes() == b"y" * 999
    assert second != first


def _short_copy(source, target):
    Path(target).write_bytes(b"x")


def _raise(error):
    def fail(*args):
        raise error

    return fail


@pytest.mark.parametrize(
    ("get_file", "failure_class"),
    [
        (_short_copy, FailureClass.TRANSFER),
        (_raise(OSError("reset")), FailureClass.TRANSFER),
        (_raise(PermissionError("no")), FailureClass.ACCESS_DENIED),
        (_raise(FileNotFoundError("gone")), FailureClass.NOT_FOUND),
    ],
)
def test_a_failed_copy_is_classified_and_leaves_nothing_behind(memory, monkeypatch, tmp_path, get_file, failure_class):
    monkeypatch.setattr(memory, "get_file", get_file)
    with pytest.raises(PipelineError) as caught:
        stage_object(memory, "memory://bucket/v.mp4", staging_dir=str(tmp_path))
    assert caught.value.failure_class is failure_class
    assert list(tmp_path.iterdir()) == []
