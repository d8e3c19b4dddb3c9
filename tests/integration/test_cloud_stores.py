"""Videos, manifest, model and answers on gs:// and az:// as on s3://: the same rows, identity, ranges, conditions.

Google's by an emulator from PyPI, Azure's by Azurite: ``npm install -g azurite``, then ``pytest -m npm -n 0``.
"""

import json
from itertools import count

import fsspec
import pytest

from jobs.query import main as query
from jobs.run import main as run
from pipeline.failures import FailureClass, PipelineError
from pipeline.planning.headers import fetch_header
from pipeline.results.atomic_files import change_file, current_version, delete_unchanged, write_bytes_atomic
from pipeline.results.finished import read_answers
from pipeline.results.keys import video_fingerprint
from pipeline.video.store_source import StoredVideo
from tests.integration.cloud_stores import azure_store, google_store

FAST = ("--executor", "serial", "--max-frames", "64", "--frames-per-group", "32", "--limit", "2")
NUMBERS = count()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("gs", id="google"),
        pytest.param("az", id="azure", marks=pytest.mark.npm),
    ],
)
def store(request, tmp_path_factory):
    """Scheme and storage options."""
    if request.param == "gs":
        pytest.importorskip("gcsfs")
        pytest.importorskip("gcp_storage_emulator")
        with google_store() as options:
            yield "gs", options
        return
    pytest.importorskip("adlfs")
    with azure_store(tmp_path_factory.mktemp("azurite")) as options:
        assert options is not None, "Azurite is not installed: npm install -g azurite"
        yield "az", options


@pytest.fixture
def files(store):
    scheme, options = store
    return fsspec.filesystem(scheme, **options)


@pytest.fixture
def place(store):
    """A prefix of its own in the store."""
    return f"{store[0]}://archive/test-{next(NUMBERS)}"


def test_a_whole_job_lies_there_and_a_second_one_has_nothing_to_do(store, files, place, archive, model_folder, capsys):
    _, options = store
    for path in [archive, *(archive.parent / "videos").iterdir()]:
        files.pipe_file(f"{place}/in/{path.relative_to(archive.parent)}", path.read_bytes())
    for path in model_folder.iterdir():
        files.pipe_file(f"{place}/model/{path.name}", path.read_bytes())
    words = ["--manifest", f"{place}/in/{archive.name}", "--output", f"{place}/out", "--model", f"{place}/model"]
    with_options = ["--storage-options", json.dumps(options)]
    words += [*FAST, *with_options, "--frame-store", f"{place}/frames"]
    assert run(words) == 0, capsys.readouterr().err
    rows = read_answers(f"{place}/out", storage_options=options).to_pylist()
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert all(row["video"].startswith(f"{place}/in/videos/") for row in rows)
    files.invalidate_cache()
    assert files.find(f"{place}/frames")
    capsys.readouterr()
    assert run([*words, "--plan"]) == 0
    assert "0 fail without being asked, 2 done earlier" in capsys.readouterr().err
    assert query([f"{place}/out", "SELECT count(*) AS n FROM answers", "--format", "csv", *with_options]) == 0
    assert capsys.readouterr().out.split() == ["n", "2"]


def test_other_bytes_of_one_size_are_another_version_and_the_same_ones_too_if_written_again(store, files, place):
    _, options = store
    seen = set()
    for content in (b"one", b"two"):
        files.pipe_file(f"{place}/v.mp4", content)
        seen.add(video_fingerprint(f"{place}/v.mp4", storage_options=options))
    assert len(seen) == 2
    assert video_fingerprint(f"{place}/v.mp4", storage_options=options) in seen


def test_a_download_has_the_bytes_and_what_is_missing_has_its_class(store, files, place, tmp_path, monkeypatch):
    _, options = store
    content = bytes(range(256)) * 1_000
    files.pipe_file(f"{place}/v.mp4", content)
    monkeypatch.setattr("pipeline.video.store_source._PART_BYTES", 10_000)  # ranges
    video = StoredVideo(uri=f"{place}/v.mp4", storage_options=options)
    video.download(str(tmp_path / "copy"), max_bytes=10**6)
    assert (tmp_path / "copy").read_bytes() == content
    with pytest.raises(PipelineError, match="does not exist") as raised:
        StoredVideo(uri=f"{place}/none.mp4", storage_options=options).look_up()
    assert raised.value.failure_class is FailureClass.NOT_FOUND


def test_a_plan_reads_only_the_index_of_a_video(store, files, place, archive, tmp_path, monkeypatch):
    _, options = store
    (video, *_) = sorted((archive.parent / "videos").iterdir())
    files.pipe_file(f"{place}/v.mp4", video.read_bytes())
    monkeypatch.setattr("pipeline.planning.headers.HEAD_BYTES", 4_096)
    header = fetch_header(f"{place}/v.mp4", tmp_path / "head.mp4", storage_options=options)
    assert not header.is_whole
    assert header.bytes_read < video.stat().st_size
    assert (tmp_path / "head.mp4").stat().st_size == video.stat().st_size


def test_a_change_that_another_writer_overtakes_is_made_again_on_the_newer_content(store, files, place):
    _, options = store
    path = f"{place}/f".partition("://")[2]
    for before in (None, b"a"):
        if before is not None:
            write_bytes_atomic(f"{place}/f", before, storage_options=options)
        calls = []

        def append(old, calls=calls):
            calls.append(old)
            if len(calls) == 1:  # somebody else is faster
                write_bytes_atomic(f"{place}/f", b"other ", storage_options=options)
            return (old or b"") + b"mine"

        change_file(files, path, append)
        assert files.cat_file(path) == b"other mine"
        assert calls == [before, b"other "]


def test_only_what_has_not_changed_is_deleted(store, files, place):
    _, options = store
    path = f"{place}/f".partition("://")[2]
    write_bytes_atomic(f"{place}/f", b"one", storage_options=options)
    version = current_version(files, path)
    write_bytes_atomic(f"{place}/f", b"two", storage_options=options)
    assert not delete_unchanged(files, path, version)
    assert files.cat_file(path) == b"two"
    assert delete_unchanged(files, path, current_version(files, path))
    assert current_version(files, path) is None
    assert not delete_unchanged(files, path, version)
