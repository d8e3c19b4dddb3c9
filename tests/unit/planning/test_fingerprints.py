"""Many fingerprints at once equal those asked for one by one; listings find what single requests would."""

from datetime import UTC, datetime

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.failures import Failure, FailureClass, OutageError, PipelineError
from pipeline.planning import fingerprints, s3_listing
from pipeline.planning.fingerprints import (
    Fingerprint,
    look_up_fingerprints,
    look_up_patiently,
)
from pipeline.planning.s3_listing import list_versions, split_runs
from pipeline.results.keys import missing_fingerprint, video_fingerprint
from pipeline.video.store_source import StoredVideo
from pipeline.video.versions import object_fingerprint


class Store:
    """A bucket behind the two calls that are used of s3fs; pages hold ``page_size`` objects."""

    req_kw: dict = {}  # noqa: RUF012

    def __init__(self, keys, page_size):
        self.objects = {key: {"Key": key, "ETag": f'"{key}"', "Size": len(key)} for key in keys}
        self.page_size, self.num_lists, self.num_heads = page_size, 0, 0

    def call_s3(self, name, *, Bucket, Prefix, StartAfter):
        assert (name, Bucket) == ("list_objects_v2", "b")
        self.num_lists += 1
        after = sorted((key for key in self.objects if key.startswith(Prefix) and key > StartAfter), key=str.encode)
        page = after[: self.page_size]
        return {"Contents": [self.objects[key] for key in page], "IsTruncated": len(after) > len(page)}

    def info(self, uri, refresh):
        self.num_heads += 1
        key = uri.removeprefix("s3://b/")
        if key not in self.objects:
            raise FileNotFoundError(key)
        entry = self.objects[key]
        return {"type": "file", "ETag": entry["ETag"], "size": entry["Size"]}


@pytest.fixture
def use_store(monkeypatch):
    def use(keys, page_size=1_000):
        store = Store(keys, page_size)
        monkeypatch.setattr(fsspec, "filesystem", lambda protocol, **options: store)
        return store

    return use


def test_many_neighbours_cost_a_few_listings_and_missing_ones_a_request_each(use_store):
    keys = [f"day/v{i:05d}.mp4" for i in range(3_000)]
    store = use_store(keys)
    uris = [f"s3://b/{key}" for key in keys] + ["s3://b/day/none.mp4", "s3://b/day/v00007.mp4/x"]
    found = look_up_fingerprints(uris)
    assert (store.num_lists, store.num_heads) == (4, 2)
    assert found[5].value == video_fingerprint(uris[5])
    assert [one.failure is None for one in found] == [True] * 3_000 + [False] * 2
    assert found[-2].value == missing_fingerprint(uris[-2])
    assert found[-1].failure.failure_class is FailureClass.NOT_FOUND


def test_a_few_wanted_objects_among_very_many_are_asked_for_one_by_one(use_store):
    store = use_store([f"v{i:06d}.mp4" for i in range(60_000)])
    uris = [f"s3://b/v{i:06d}.mp4" for i in range(0, 60_000, 2_000)]
    assert all(one.failure is None for one in look_up_fingerprints(uris))
    assert (store.num_lists, store.num_heads) == (1, 29)


def test_a_bucket_that_may_not_be_listed_is_asked_for_each_object(use_store, monkeypatch):
    store = use_store([f"v{i:02d}.mp4" for i in range(40)])

    def refuse(*args, **kwargs):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(Store, "call_s3", refuse)
    assert all(one.failure is None for one in look_up_fingerprints([f"s3://b/v{i:02d}.mp4" for i in range(40)]))
    assert store.num_heads == 40


KEYS = st.text(alphabet="ab/~!é\U0001f600", min_size=1, max_size=4).filter(lambda key: not key.endswith("/"))


@settings(deadline=None, max_examples=60)
@given(there=st.sets(KEYS, max_size=40), wanted=st.sets(KEYS, min_size=1, max_size=20), page_size=st.integers(1, 9))
def test_what_a_listing_says_is_true_and_it_always_ends(there, wanted, page_size):
    with pytest.MonkeyPatch.context() as patch:
        store = Store(there, page_size)
        patch.setattr(fsspec, "filesystem", lambda protocol, **options: store)
        patch.setattr(s3_listing, "_WORTHWHILE", 0)
        found = list_versions([f"s3://b/{key}" for key in wanted], None)
    for uri, version in found.items():
        assert version.version == f'"{uri.removeprefix("s3://b/")}"'
    assert set(found) <= {f"s3://b/{key}" for key in there & wanted}
    assert store.num_lists <= len(wanted)


def test_runs_stay_within_a_bucket_and_leave_versions_out(monkeypatch):
    monkeypatch.setattr(s3_listing, "RUN_OBJECTS", 2)
    uris = ["s3://b/1", "s3://a/1", "s3://b/3", "s3://b/2", "s3://b/4?versionId=7", "s3://b/4?#"]
    assert list(split_runs(uris)) == [["s3://a/1"], ["s3://b/1", "s3://b/2"], ["s3://b/3", "s3://b/4?#"]]


def test_addresses_of_one_object_that_only_a_query_tells_apart_keep_their_rows_apart(monkeypatch):
    monkeypatch.setattr(fingerprints, "video_fingerprint", lambda uri, **options: "0123456789abcdef")
    found = look_up_fingerprints([f"https://h/play?id={i}" for i in range(3)], allow_http=True)
    assert [one.value for one in found] == ["0123456789abcdef", "0123456789abcdef-1", "0123456789abcdef-2"]


def test_an_object_without_etag_is_known_by_its_time(use_store):
    store = use_store(["v1.mp4"])
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    store.objects["v1.mp4"] = {"Key": "v1.mp4", "LastModified": noon, "Size": 3}
    [version] = list_versions(["s3://b/v1.mp4"], None).values()
    assert (version.version, version.size_bytes) == (noon.isoformat(), 3)
    assert object_fingerprint("s3://b/v1.mp4", version) != object_fingerprint("s3://b/v2.mp4", version)


def test_local_files_have_the_fingerprints_of_single_look_ups(tmp_path):
    uris = [str(tmp_path / f"{i}.mp4") for i in range(1_200)]
    for uri in uris[::3]:
        (tmp_path / uri).write_text(uri)
    found = look_up_fingerprints(uris)
    for uri, one in zip(uris[:60], found, strict=False):
        try:
            expected = video_fingerprint(uri)
        except PipelineError:
            expected = missing_fingerprint(uri)
        assert one.value == expected
    assert sum(one.failure is None for one in found) == 400


def test_a_listed_object_and_a_looked_up_one_agree(use_store):
    use_store(["v.mp4"])
    version = StoredVideo(uri="s3://b/v.mp4", storage_options={}).look_up()
    assert list_versions(["s3://b/v.mp4"], None) == {"s3://b/v.mp4": version}
    assert object_fingerprint("s3://b/v.mp4", version) == video_fingerprint("s3://b/v.mp4")


def fingerprint(uri, failure_class=None):
    failure = None if failure_class is None else Failure(failure_class=failure_class, message=f"{uri}: 503")
    return Fingerprint(value=uri, failure=failure)


@pytest.fixture
def answers_from(monkeypatch):
    """A storage that answers for each video from so many seconds of waiting on; the pauses that were made."""

    def use(after_s, failure_class=FailureClass.TRANSFER):
        pauses_s = []

        def look_up(uris, **options):
            waited_s = sum(pauses_s)
            return [fingerprint(uri, failure_class if waited_s < after_s[uri] else None) for uri in uris]

        monkeypatch.setattr(fingerprints, "_look_up_all", look_up)
        return pauses_s

    return use


def test_a_storage_that_answers_for_no_video_is_waited_for(answers_from):
    after_s = {"a": 0, "b": 5, "c": 5, "d": 5}
    pauses_s = answers_from(after_s)
    found = look_up_patiently(list(after_s), outage_s=600.0, pause=pauses_s.append)
    assert found == [fingerprint(uri) for uri in after_s]
    assert pauses_s == [1.0, 2.0, 4.0]


def test_a_storage_that_stays_away_ends_with_what_to_do(answers_from):
    after_s = dict.fromkeys("abc", 1e9)
    pauses_s = answers_from(after_s)
    with pytest.raises(OutageError, match=r"3 videos has not answered .* c: 503.*reading\.outage_s"):
        look_up_patiently(list(after_s), outage_s=100.0, pause=pauses_s.append)
    assert pauses_s == [1, 2, 4, 8, 16, 30, 30, 9]


@pytest.mark.parametrize(
    ("num_videos", "failure_class", "outage_s"),
    [(2, FailureClass.TRANSFER, 600.0), (9, FailureClass.NOT_FOUND, 600.0), (9, FailureClass.TRANSFER, 0.0)],
)
def test_a_few_videos_what_is_not_there_and_no_patience_are_not_waited_for(
    num_videos, failure_class, outage_s, answers_from
):
    after_s = dict.fromkeys("abcdefghi"[:num_videos], 1e9)
    pauses_s = answers_from(after_s, failure_class)
    found = look_up_patiently(list(after_s), outage_s=outage_s, pause=pauses_s.append)
    assert found == [fingerprint(uri, failure_class) for uri in after_s]
    assert pauses_s == []
