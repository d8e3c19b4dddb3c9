import errno
import fcntl
import os
import shutil
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.local_cache import LocalCache
from pipeline.video.remote import ObjectVersion
from pipeline.video.staging import video_cache
from tests.unit.video.staging_fakes import FakeVideo, hold, hold_found, stored, use

DiskUsage = namedtuple("DiskUsage", "total used free")


@pytest.fixture
def cache(tmp_path):
    return video_cache(tmp_path / "videos", max_bytes=300)


def test_an_object_is_fetched_once_and_again_when_size_or_version_changed(cache):
    video = FakeVideo("s3://b/v.mp4")
    first = use(cache, video)
    assert use(cache, video) == first
    assert Path(first).is_absolute()
    assert video.num_downloads == 1
    video.version = "2"
    second = use(cache, video)
    video.content = b"y" * 99
    third = use(cache, video)
    assert len({first, second, third}) == 3
    assert video.num_downloads == 3


def test_objects_of_the_same_size_and_version_at_other_addresses_are_kept_apart(cache):
    first, second = FakeVideo("https://h/v?id=1", content=b"a" * 50), FakeVideo("https://h/v?id=2", content=b"b" * 50)
    assert use(cache, first) != use(cache, second)
    assert (first.num_downloads, second.num_downloads) == (1, 1)


def test_the_longest_unused_copy_makes_room_and_use_counts(cache, tmp_path):
    a, b, c, d = (FakeVideo(f"s3://b/{name}") for name in "abcd")
    paths = {video.uri: Path(use(cache, video)).name for video in (a, b, c)}
    use(cache, a)
    paths[d.uri] = Path(use(cache, d)).name
    assert stored(tmp_path) == {paths[video.uri] for video in (a, c, d)}
    use(cache, b)
    assert stored(tmp_path) == {paths[video.uri] for video in (a, b, d)}
    assert [video.num_downloads for video in (a, b, c, d)] == [1, 2, 1, 1]


def test_room_is_made_before_the_download_starts(cache, tmp_path):
    old = [use(cache, FakeVideo(f"s3://b/{index}")) for index in range(3)]
    seen = []
    video = FakeVideo("s3://b/new", content=b"n" * 200, on_download=[lambda: seen.append(stored(tmp_path))])
    use(cache, video)
    assert seen == [{Path(old[2]).name}]


def test_a_copy_in_use_is_never_removed_and_the_cap_holds_again_when_it_is_given_back(cache, tmp_path):
    held, big = FakeVideo("s3://b/held"), FakeVideo("s3://b/big", content=b"b" * 290)
    use(cache, held)
    with hold(cache, held) as held_path, hold(cache, big) as big_path:
        assert Path(held_path).read_bytes() == held.content
        assert Path(big_path).read_bytes() == big.content
    assert len(stored(tmp_path)) == 1
    assert held.num_downloads == 1


def test_a_file_above_the_cap_is_staged_and_goes_first_when_nobody_holds_it(cache, tmp_path):
    small, huge = FakeVideo("s3://b/small"), FakeVideo("s3://b/huge", content=b"h" * 301)
    with hold(cache, small) as small_path, hold(cache, huge) as huge_path:
        assert Path(huge_path).stat().st_size == 301
    assert stored(tmp_path) == {Path(small_path).name}
    use(cache, huge)
    assert huge.num_downloads == 2


def test_a_second_reader_waits_for_the_first_one_and_shares_its_copy(cache):
    video = FakeVideo("s3://b/v")
    started, found, paths = threading.Event(), video.look_up(), []

    def read():
        started.set()
        with hold_found(cache, video, found) as path:
            paths.append(path)

    other = threading.Thread(target=read)

    def start_the_other():
        other.start()
        assert started.wait(5)
        other.join(0.05)
        assert other.is_alive()

    video.on_download.append(start_the_other)
    with hold(cache, video) as path:
        other.join(5)  # it need not wait until the first reader is done
        assert paths == [path]
    assert video.num_downloads == 1


class OvertakenCache(LocalCache):
    """Just before it may fetch something itself, another reader has fetched it."""

    def _lock(self, key, mode):
        if mode == fcntl.LOCK_EX | fcntl.LOCK_NB:
            use(LocalCache(self._folder, suffix=".video"), self.video)
        return super()._lock(key, mode)


def test_what_another_reader_fetched_in_the_meantime_is_not_fetched_again(tmp_path):
    overtaken = OvertakenCache(tmp_path / "videos", suffix=".video")
    overtaken.video = FakeVideo("s3://b/v")
    use(overtaken, overtaken.video)
    assert overtaken.video.num_downloads == 1


class RemovedCache(LocalCache):
    """What it fetched is removed, lock file and all, before it can share the lock; then somebody fetches it again."""

    def _fetch(self, key, remote, lock):
        super()._fetch(key, remote, lock)
        for path in self._folder.glob(f"{key}.*"):
            path.unlink()
        use(video_cache(self._folder, max_bytes=300), remote.remote)


def test_a_copy_that_was_removed_and_came_back_is_held_by_the_new_lock(cache, tmp_path):
    held, big = FakeVideo("s3://b/held"), FakeVideo("s3://b/big", content=b"b" * 290)
    with hold(RemovedCache(tmp_path / "videos", suffix=".video", max_bytes=300), held) as path:
        use(cache, big)
        assert path.exists()


def test_concurrent_downloads_count_each_others_reservations(cache, tmp_path):
    use(cache, FakeVideo("s3://b/old"))
    inner = FakeVideo("s3://b/inner", content=b"i" * 130)
    outer = FakeVideo("s3://b/outer", content=b"o" * 120, on_download=[lambda: use(cache, inner)])
    seen = []
    inner.on_download.append(lambda: seen.append(stored(tmp_path)))
    use(cache, outer)
    assert seen == [set()]  # beside the 60 bytes that have arrived so far, 100 + 130 would have fitted
    assert len(stored(tmp_path)) == 2


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda video: setattr(video, "version", "2"), "changed while it was copied .*version 1, to 100, 2"),
        (lambda video: setattr(video, "content", b"z"), "changed while it was copied .*from 100 bytes.* to 1, 1"),
    ],
)
def test_an_object_that_changes_during_the_copy_is_a_transfer_failure(cache, tmp_path, break_it, message):
    video = FakeVideo("https://b/v?sig=secret")
    video.on_download.append(lambda: break_it(video))
    with pytest.raises(PipelineError, match=message) as caught, hold(cache, video):
        pass
    assert caught.value.failure_class is FailureClass.TRANSFER
    assert "secret" not in caught.value.message
    assert stored(tmp_path) == stored(tmp_path, "part") == set()


def test_a_short_copy_is_a_transfer_failure(cache, tmp_path):
    video = FakeVideo("s3://b/v")
    found = ObjectVersion(size_bytes=101, version="1")
    with (
        pytest.raises(PipelineError, match="has 101 bytes but 100 arrived") as caught,
        hold_found(cache, video, found),
    ):
        pass
    assert caught.value.failure_class is FailureClass.TRANSFER
    assert stored(tmp_path) == stored(tmp_path, "part") == set()


def test_after_a_failed_download_the_next_one_succeeds_and_nothing_stays_reserved(cache, tmp_path):
    def fail():
        raise PipelineError(FailureClass.TRANSFER, "cut off")

    kept = [use(cache, FakeVideo(f"s3://b/{index}", content=b"k" * 50)) for index in range(2)]
    video = FakeVideo("s3://b/v", content=b"x" * 190, on_download=[fail])
    with pytest.raises(PipelineError, match="cut off"), hold(cache, video):
        pass
    video.on_download.clear()
    path = use(cache, video)
    assert stored(tmp_path) == {Path(kept[0]).name, Path(kept[1]).name, Path(path).name}


def test_an_object_of_unknown_size_is_kept_by_what_arrived(cache, tmp_path):
    video = FakeVideo("https://h/v", content=b"u" * 301, knows_size=False, version=None)
    with hold(cache, video) as path:
        assert Path(path).read_bytes() == video.content
    assert stored(tmp_path) == set()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_a_transfer_failure_that_names_folder_and_setting(cache, tmp_path, number):
    def fill_disk():
        raise OSError(number, os.strerror(number))

    video = FakeVideo("s3://b/v", on_download=[fill_disk])
    with pytest.raises(PipelineError, match=r"reading\.cache_dir") as caught, hold(cache, video):
        pass
    assert caught.value.failure_class is FailureClass.TRANSFER
    assert str(tmp_path) in caught.value.message
    assert stored(tmp_path, "part") == set()


def test_copies_make_room_on_a_disk_smaller_than_the_cap(cache, tmp_path, monkeypatch):
    def disk_usage(folder):
        return DiskUsage(250, 0, 250 - sum(copy.stat().st_size for copy in Path(folder).glob("*.video")))

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    for index in range(4):
        use(cache, FakeVideo(f"s3://b/{index}"))
    assert len(stored(tmp_path)) == 2
    too_much = FakeVideo("s3://b/large", content=b"l" * 251)
    with pytest.raises(PipelineError, match="251 bytes wanted, 250 free"), hold(cache, too_much):
        pass
    assert too_much.num_downloads == 0
