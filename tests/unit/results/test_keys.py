import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.questions import Question, RejectedRow
from pipeline.results.keys import (
    missing_fingerprint,
    part_name,
    question_key,
    question_keys,
    rejected_key,
    video_fingerprint,
)
from pipeline.video import sources
from pipeline.video.store_source import StoredVideo
from tests.unit.video.local_http import LocalVideo, Server, reply

ROOT = Path(__file__).resolve().parents[3]


class FakeStore:
    """A store in the place of S3; names say which error it answers with, or what is special about an object."""

    etag = "1"

    def info(self, path, **kwargs):
        for word, error in (("absent", FileNotFoundError), ("denied", PermissionError), ("slow", TimeoutError)):
            if word in path:
                raise error(path)
        info = {"name": path, "size": 3, "type": "directory" if "folder" in path else "file"}
        return info if "untagged" in path else info | {"ETag": self.etag}


@pytest.fixture
def tagged(monkeypatch):
    monkeypatch.setattr(StoredVideo, "_filesystem", lambda self: FakeStore())
    return lambda etag: monkeypatch.setattr(FakeStore, "etag", etag)


@pytest.fixture
def web(monkeypatch):
    """A local server in the place of every host."""
    server = Server()
    monkeypatch.setattr(sources, "HttpVideo", LocalVideo)
    yield server
    server.stop()


def question(text="Why?", options=None, row_index=0):
    return Question(question_id=str(row_index), video="/v.mp4", text=text, options=options, row_index=row_index)


def test_a_local_fingerprint_changes_with_name_size_and_time_but_not_with_content(tmp_path):
    path = tmp_path / "a.mp4"

    def fingerprint(content, mtime_ns, name="a.mp4"):
        path.write_bytes(content)
        os.utime(path, ns=(0, mtime_ns))
        return video_fingerprint(str(path.rename(tmp_path / name)))

    first = fingerprint(b"abc", 10**18)
    assert len(first) == 16
    assert int(first, 16) >= 0
    assert fingerprint(b"xyz", 10**18) == first
    assert video_fingerprint(f"file://{path}") == first
    spaced = path.rename(tmp_path / "a b.mp4")
    assert len(video_fingerprint(f"file://{tmp_path}/a%20b.mp4")) == 16
    spaced.rename(path)
    others = [fingerprint(b"abcd", 10**18), fingerprint(b"abc", 10**18 + 1), fingerprint(b"abc", 10**18, name="b.mp4")]
    assert len({first, *others}) == 4


def test_a_remote_fingerprint_follows_the_etag_and_ignores_credentials(tagged):
    first = video_fingerprint("s3://bucket/a.mp4")
    assert video_fingerprint("s3://user:pw@bucket/a.mp4") == first
    assert video_fingerprint("s3://bucket/b.mp4") != first
    tagged("2")
    assert video_fingerprint("s3://bucket/a.mp4") != first


def test_copies_under_keys_that_differ_behind_a_mark_have_fingerprints_of_their_own(tagged):
    names = [f"copy{mark}{number}.mp4" for mark in "#?%" for number in (1, 2)]
    assert len({video_fingerprint(f"s3://bucket/{name}") for name in names}) == 6


def test_without_a_version_the_query_string_tells_objects_apart(tagged):
    first, second = (video_fingerprint(f"s3://bucket/untagged?id={i}") for i in (1, 2))
    assert first != second


def test_a_fingerprint_over_http_follows_the_etag_and_ignores_the_signature(web):
    for name, etag in (("a", "1"), ("b", "1"), ("c", "2")):
        web.answers[f"/{name}.mp4"] = reply(headers={"ETag": etag, "Content-Length": "5"}, body=b"")
    first = video_fingerprint(f"{web.url}/a.mp4?sig=1", allow_http=True)
    assert video_fingerprint(f"http://u:p@127.0.0.1:{web.port}/a.mp4?sig=2", allow_http=True) == first
    assert video_fingerprint(f"{web.url}/b.mp4", allow_http=True) != first
    web.answers["/a.mp4"] = web.answers["/c.mp4"]
    assert video_fingerprint(f"{web.url}/a.mp4?sig=1", allow_http=True) != first
    assert {method for method, _, _ in web.requests} == {"HEAD"}


@pytest.mark.parametrize("headers", [{"ETag": "1"}, {"Content-Length": "5"}])
def test_over_http_the_query_counts_unless_size_and_version_are_known(web, headers):
    web.answers["/play"] = reply(headers=headers, body=b"")
    fingerprints = {video_fingerprint(f"{web.url}/play?id={i}", allow_http=True) for i in (1, 2)}
    assert len(fingerprints) == 2


def test_http_is_refused_unless_allowed_and_never_reaches_this_machine(web, monkeypatch):
    uri = f"{web.url}/a.mp4?sig=secret"
    with pytest.raises(PipelineError, match=r"reading\.allow_http") as caught:
        video_fingerprint(uri)
    assert caught.value.failure_class is FailureClass.UNSUPPORTED_MEDIA
    monkeypatch.undo()
    with pytest.raises(PipelineError, match="public addresses only") as denied:
        video_fingerprint(uri, allow_http=True)
    assert denied.value.failure_class is FailureClass.ACCESS_DENIED
    assert web.requests == []
    assert "secret" not in str(caught.value) + str(denied.value)


def test_fingerprints_need_no_http_library():
    script = "import sys, pipeline.results.keys; print({'aiohttp', 's3fs', 'requests', 'av'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("uri", "failure_class", "message"),
    [
        ("{tmp}/none.mp4", FailureClass.NOT_FOUND, "no video at .*/none.mp4: check the path"),
        ("{tmp}/file/below.mp4", FailureClass.NOT_FOUND, "no video at"),
        ("{tmp}/nul\0.mp4", FailureClass.NOT_FOUND, "no video at"),
        ("s3://u:secret@absent/a.mp4", FailureClass.NOT_FOUND, "s3://absent/a.mp4 does not exist"),
        ("nosuch://u:secret@h/a.mp4", FailureClass.UNSUPPORTED_MEDIA, "nosuch://h/a.mp4 has the scheme 'nosuch'"),
        ("zip://a::https://u:secret@10.0.0.1/a.zip", FailureClass.UNSUPPORTED_MEDIA, "has the scheme 'zip'"),
        ("s3://u:secret@denied/a.mp4", FailureClass.ACCESS_DENIED, "s3://denied/a.mp4 may not be read"),
        ("s3://slow/a.mp4", FailureClass.TRANSFER, r"could not be fetched \(TimeoutError\)"),
        ("{tmp}", FailureClass.UNSUPPORTED_MEDIA, "is a folder"),
        ("/dev/null", FailureClass.UNSUPPORTED_MEDIA, "is a folder or a device"),
        ("s3://bucket/folder", FailureClass.UNSUPPORTED_MEDIA, "is a directory"),
    ],
)
def test_what_cannot_be_fingerprinted_fails_with_its_class(tmp_path, tagged, uri, failure_class, message):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PipelineError, match=message) as caught:
        video_fingerprint(uri.format(tmp=tmp_path))
    assert caught.value.failure_class is failure_class
    assert "secret" not in str(caught.value)


def test_a_local_file_that_may_not_be_read_is_access_denied(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    with pytest.raises(PipelineError, match="may not be read") as caught:
        video_fingerprint(str(path))
    assert caught.value.failure_class is FailureClass.ACCESS_DENIED


def test_missing_videos_have_stable_distinct_stand_ins():
    assert missing_fingerprint("/a.mp4") == missing_fingerprint("file:///a.mp4")
    assert missing_fingerprint("/a.mp4") != missing_fingerprint("/b.mp4")


def test_question_keys_are_pinned_because_stored_results_depend_on_them():
    assert question_key("f" * 16, "Why?", ("red", "blue"), "c" * 16) == "af8270e0abdaa21895c89e1b31a8af91"
    assert question_key("f" * 16, "Why?", None, "c" * 16) == "ff167f480260b8b344f54670dbc1e428"


@settings(deadline=None, max_examples=100)
@given(
    parts=st.lists(
        st.tuples(
            st.text(max_size=3), st.text(max_size=3), st.none() | st.lists(st.text(max_size=2), max_size=3).map(tuple)
        ),
        unique=True,
        min_size=2,
        max_size=5,
    )
)
def test_keys_differ_whenever_any_part_differs(parts):
    keys = [question_key(fingerprint, text, options, "c") for fingerprint, text, options in parts]
    assert len(set(keys)) == len(parts)
    assert {len(key) for key in keys} == {32}


def test_a_question_asked_twice_gets_two_keys_and_the_first_is_the_plain_one():
    questions = [question(), question("Who?", row_index=1), question(row_index=2)]
    keys = question_keys(questions, fingerprint="f", config_hash="c")
    assert keys[:2] == [question_key("f", "Why?", None, "c"), question_key("f", "Who?", None, "c")]
    assert keys[2] == question_key("f", "Why?", None, "c", occurrence=1)
    assert len(set(keys)) == 3


def test_rejected_rows_that_hold_the_same_have_keys_of_their_own():
    rejected = [RejectedRow(question=question(text="", row_index=i), message="m") for i in (0, 0, 1)]
    first, again, other = (rejected_key(row, config_hash="c") for row in rejected)
    assert first == again != other


@settings(deadline=None, max_examples=50)
@given(keys=st.sets(st.text("0123456789abcdef", min_size=32, max_size=32), min_size=1, max_size=8), data=st.data())
def test_a_part_is_named_by_its_keys_in_any_order(keys, data):
    shuffled = data.draw(st.permutations(sorted(keys)))
    assert part_name(shuffled) == part_name(sorted(keys))
    assert part_name(shuffled) != part_name([*shuffled, "more"])


@pytest.mark.parametrize("keys", [[], ["a", "b", "a"]])
def test_a_part_needs_unique_keys(keys):
    with pytest.raises(ValueError, match="keys must be unique and at least one"):
        part_name(keys)
