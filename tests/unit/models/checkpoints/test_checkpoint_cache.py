"""Copies of remote checkpoints on a node, against a storage that lives in a dictionary."""

import shutil
import threading
from collections import namedtuple

import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.checkpoints.cache import CheckpointCopy, RemoteFile, checkpoint_cache, revision_of

FILES = {"config.json": b"{}", "a.safetensors": b"A" * 1_000, "b.safetensors": b"B" * 500}


class FakeStore:
    """A remote folder that counts its downloads."""

    def __init__(self, name="s3://bucket/model", content=FILES):
        self.name, self.content, self.downloads = name, dict(content), []
        self.copy = None

    def list_files(self):
        return tuple(
            RemoteFile(name=name, size_bytes=len(data), version=str(hash(data)))
            for name, data in sorted(self.content.items())
        )

    def download(self, file_name, path):
        self.downloads.append(file_name)
        path.write_bytes(self.content[file_name])


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def cache(tmp_path):
    return checkpoint_cache(tmp_path / "models")


def hold(cache, store, listed=None):
    return cache.hold(CheckpointCopy(remote=store, files=listed or store.list_files()))


def read(cache, store):
    with hold(cache, store) as folder:
        store.copy = folder
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_checkpoint_is_fetched_once_and_read_again(cache, store):
    assert read(cache, store) == FILES
    assert read(cache, store) == FILES
    assert sorted(store.downloads) == sorted(FILES)


def test_another_revision_is_another_copy(cache, store):
    read(cache, store)
    store.content["a.safetensors"] = b"C" * 1_000
    assert read(cache, store)["a.safetensors"] == b"C" * 1_000
    assert len(store.downloads) == 6


def test_a_copy_that_lost_a_file_or_bytes_is_fetched_anew(cache, store):
    with hold(cache, store) as folder:
        (folder / "config.json").unlink()
        (folder / "a.safetensors").write_bytes(b"A")
    assert read(cache, store) == FILES


def test_whole_files_of_an_attempt_that_broke_off_are_kept(cache, store):
    class Broken(FakeStore):
        def download(self, file_name, path):
            if file_name == "config.json":
                path.write_bytes(b"{")
                raise PipelineError(FailureClass.TRANSFER, "the line broke")
            super().download(file_name, path)

    broken = Broken()
    with pytest.raises(PipelineError, match="the line broke"):
        read(cache, broken)
    assert sorted(broken.downloads) == ["a.safetensors", "b.safetensors"]
    assert read(cache, store) == FILES
    assert store.downloads == ["config.json"]


def test_a_file_that_arrives_short_is_a_transfer_failure(cache, store):
    listed = store.list_files()
    store.content["b.safetensors"] = b"B"
    with (
        pytest.raises(PipelineError, match=r"s3://bucket/model/b.safetensors has 500 bytes but 1 arrived") as caught,
        hold(cache, store, listed),
    ):
        pytest.fail("an incomplete checkpoint was handed out")
    assert caught.value.failure_class is FailureClass.TRANSFER


def test_a_checkpoint_that_changes_while_it_is_copied_is_not_handed_out(cache, store, tmp_path):
    listed = store.list_files()
    store.content["b.safetensors"] = b"X" * 500  # of the same size: the version tells
    with pytest.raises(PipelineError, match="changed while it was copied"), hold(cache, store, listed):
        pytest.fail("a mixed checkpoint was handed out")
    assert [path for path in (tmp_path / "models").iterdir() if path.is_dir()] == []
    assert read(cache, store)["b.safetensors"] == b"X" * 500


def test_processes_that_want_the_same_checkpoint_wait_for_one_download(tmp_path):
    store, seen, started = FakeStore(), [], threading.Barrier(4)

    def work():
        started.wait()
        seen.append(read(checkpoint_cache(tmp_path), store))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert seen == [FILES] * 4
    assert sorted(store.downloads) == sorted(FILES)


Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A disk of 4,000 bytes that holds nothing but the cache."""

    def usage(folder):
        used = sum(path.stat().st_size for path in (tmp_path / "models").rglob("*") if path.is_file())
        return Usage(4_000, used, 4_000 - used)

    monkeypatch.setattr(shutil, "disk_usage", usage)


def names(stores):
    """Which of these stores still have the copy that was read last."""
    return [store.name for store in stores if store.copy.is_dir()]


def test_the_copy_unused_for_longest_makes_room(cache, small_disk):
    first, second, third = (FakeStore(f"s3://bucket/{n}") for n in (1, 2, 3))
    read(cache, first)
    read(cache, second)
    read(cache, first)
    read(cache, third)
    assert names((first, second, third)) == [first.name, third.name]


def test_a_copy_in_use_stays_and_the_disk_is_reported_full(cache, small_disk, tmp_path):
    first, second = FakeStore("s3://bucket/1"), FakeStore("s3://bucket/2", {**FILES, "c.safetensors": b"C" * 2_000})
    with hold(cache, first) as folder:
        with pytest.raises(PipelineError, match=r"3502 bytes wanted, 2498 free\).*reading.cache_dir") as caught:
            read(cache, second)
        assert (folder / "config.json").read_bytes() == b"{}"
    assert caught.value.failure_class is FailureClass.TRANSFER
    assert second.downloads == []
    assert read(cache, second)["c.safetensors"] == b"C" * 2_000


def test_leftovers_of_a_dead_process_go_first(cache, small_disk, tmp_path):
    first, second = FakeStore("s3://bucket/1"), FakeStore("s3://bucket/2")
    read(cache, first)
    part = tmp_path / "models" / "dead.part"
    part.mkdir()
    (part / "a.safetensors").write_bytes(b"A" * 2_000)
    (tmp_path / "models" / "dead.lock").touch()
    read(cache, second)
    assert not part.exists()
    assert names((first, second)) == [first.name, second.name]


def test_a_folder_that_cannot_be_made_is_reported_with_its_setting(tmp_path, store):
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match=r"cannot be copied to .*reading\.cache_dir"):
        read(checkpoint_cache(tmp_path / "file" / "models"), store)


@pytest.mark.parametrize("change", [{"name": "c"}, {"size_bytes": 2}, {"version": "w"}])
def test_the_revision_is_told_by_names_sizes_and_versions_in_any_order(change):
    fields = {"name": "a", "size_bytes": 1, "version": "v"}
    one, other = RemoteFile(**fields), RemoteFile(name="b", size_bytes=1, version="v")
    assert revision_of([one, other]) == revision_of([other, one])
    assert revision_of([RemoteFile(**fields | change), other]) != revision_of([one, other])
    assert len(revision_of([one])) == 16


def test_copies_are_for_this_user_alone(cache, store, tmp_path):
    read(cache, store)
    assert (tmp_path / "models").stat().st_mode & 0o077 == 0
