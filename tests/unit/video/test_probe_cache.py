import dataclasses
import os

import numpy as np

from pipeline.video import probe_cache
from pipeline.video.probe import probe_video
from pipeline.video.probe_cache import ProbeCache


def _fields(probe):
    return {
        field.name: getattr(probe, field.name).tolist()
        if isinstance(getattr(probe, field.name), np.ndarray)
        else getattr(probe, field.name)
        for field in dataclasses.fields(probe)
    }


def test_a_kept_timeline_comes_back_whole_for_another_copy_of_the_video(videos, tmp_path):
    cache, probe = ProbeCache(tmp_path / "new" / "folder"), probe_video(videos["edit_list"])
    cache.put("fingerprint", probe)
    found = cache.get("fingerprint", path="/elsewhere/copy.mp4")
    assert _fields(found) == _fields(probe) | {"path": "/elsewhere/copy.mp4"}
    assert found.pts.dtype == np.int64


def test_another_key_a_damaged_entry_and_an_unusable_folder_are_misses(videos, tmp_path):
    cache, probe = ProbeCache(tmp_path), probe_video(videos["b_frames"])
    cache.put("one", probe)
    assert cache.get("two", path="x") is None
    (entry,) = tmp_path.glob("*.npz")
    for content in (b"", b"no zip", entry.read_bytes()[:200]):
        entry.write_bytes(content)
        assert cache.get("one", path="x") is None
    (tmp_path / "file").write_bytes(b"")
    nowhere = ProbeCache(tmp_path / "file")
    nowhere.put("one", probe)
    assert nowhere.get("one", path="x") is None


def test_the_entries_used_longest_ago_go_first(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(probe_cache, "MOST_ENTRIES", 2)
    cache, probe = ProbeCache(tmp_path), probe_video(videos["b_frames"])
    for age, key in ((300, "old"), (200, "middle")):
        cache.put(key, probe)
        newest = max(tmp_path.glob("*.npz"), key=lambda entry: entry.stat().st_mtime)
        os.utime(newest, (newest.stat().st_mtime - age,) * 2)
    assert cache.get("old", path="x") is not None  # which makes it the newest
    cache.put("third", probe)
    assert [cache.get(key, path="x") is not None for key in ("old", "middle", "third")] == [True, False, True]
