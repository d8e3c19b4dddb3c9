import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s3fs import S3FileSystem

from pipeline.uris import containing_folder, redact_text, resolve_uri, strip_secrets


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://user:pw@host/a.mp4?X-Amz-Signature=s&b=1#t", "https://host/a.mp4"),
        ("s3://key:secret@bucket/a@b.mp4", "s3://bucket/a@b.mp4"),
        ("https://user:p@ss@host/a.mp4", "https://host/a.mp4"),
        ("gs://bucket/copy#1.mp4?x", "gs://bucket/copy#1.mp4?x"),
        ("abfs://films@account.dfs.core.windows.net/a.mp4", "abfs://films@account.dfs.core.windows.net/a.mp4"),
        ("az://account:key@films/a.mp4", "az://films/a.mp4"),
        ("s3://bucket/copy#1.mp4", "s3://bucket/copy#1.mp4"),
        ("s3://bucket/why? 50%25 ä.mp4?versionId=3", "s3://bucket/why? 50%25 ä.mp4?versionId=3"),
        ("s3://bucket/mirror/https://u@host/a.mp4?x", "s3://bucket/mirror/https://u@host/a.mp4?x"),
        ("/data/https://u@host/a.mp4?x", "/data/https://u@host/a.mp4?x"),
        ("filecache::https://u:p@host/a.mp4?sig=1", "filecache::https://host/a.mp4"),
        ("/data/why?#1.mp4", "/data/why?#1.mp4"),  # a local name, not a query
        ("file:///data/why?.mp4", "file:///data/why?.mp4"),
        ("https://host?token=x", "https://host"),
    ],
)
def test_strip_secrets(uri, expected):
    assert strip_secrets(uri) == expected


_S3 = S3FileSystem(key="k", secret="s")


def test_addresses_inside_messages_lose_their_secrets():
    text = "cannot open 'https://u:p@h/a.mp4?sig=s', tried s3://k:s@b/a#1.mp4?x and /data/a?.mp4"
    assert redact_text(text) == "cannot open 'https://h/a.mp4', tried s3://b/a#1.mp4?x and /data/a?.mp4"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/set/videos.csv", "s3://bucket/set"),
        ("https://h/set/videos.csv?sig=a/b", "https://h/set"),
        ("s3://bucket/set#1/what?/videos.csv", "s3://bucket/set#1/what?"),
        ("/data/set/videos.csv", "/data/set"),
        ("videos.csv", os.getcwd()),
    ],
)
def test_containing_folder(uri, expected):
    assert containing_folder(uri) == expected


@pytest.mark.parametrize(
    ("uri", "folder", "expected"),
    [
        ("a.mp4", "/data", "/data/a.mp4"),
        ("./clips/../a.mp4", "/data", "/data/a.mp4"),
        ("a.mp4", "s3://bucket/set", "s3://bucket/set/a.mp4"),
        ("../b//a.mp4", "s3://bucket/set", "s3://bucket/b/a.mp4"),
        ("clips #1/50%3F?.mp4", "s3://bucket/set#2", "s3://bucket/set#2/clips #1/50%3F?.mp4"),
        ("clips/a://b.mp4", "/data", "/data/clips/a:/b.mp4"),
        ("/other/./a.mp4", "s3://bucket/set", "/other/a.mp4"),
        ("https://h/a.mp4?x=1", "/data", "https://h/a.mp4?x=1"),
    ],
)
def test_relative_addresses_resolve_against_the_folder_with_one_spelling(uri, folder, expected):
    assert resolve_uri(uri, folder) == expected


KEYS = st.text(alphabet="ab/.#?%&=@: ä\u0301😀", min_size=1, max_size=12).filter(lambda key: key.strip("/") == key)


@given(first=KEYS, second=KEYS)
def test_what_s3fs_tells_apart_is_told_apart_and_is_the_same_object(first, second):
    shown = [strip_secrets(f"s3://user:pw@bucket/{key}") for key in (first, second)]
    for key, uri in zip((first, second), shown, strict=True):
        assert _S3.split_path(uri)[:2] == ("bucket", key.partition("?versionId=")[0])
    assert (shown[0] == shown[1]) == (first == second)
