import os
import socket

import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.remote import ObjectVersion, Patience
from tests.unit.video.local_http import (
    BODY,
    TAGGED,
    LocalVideo,
    Server,
    chunked,
    download,
    drip,
    fail,
    methods,
    only_get,
    reply,
)


@pytest.fixture(scope="module")
def shared_server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(shared_server):
    shared_server.answers.clear()
    shared_server.requests.clear()
    shared_server.answers["/v.mp4"] = reply()
    return shared_server


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (TAGGED, ObjectVersion(size_bytes=len(BODY), version='"v1"')),
        (TAGGED | {"Last-Modified": "Mon"}, ObjectVersion(size_bytes=len(BODY), version='"v1"')),
        ({"Content-Length": "7", "Last-Modified": "Mon"}, ObjectVersion(size_bytes=7, version="Mon")),
        ({"Content-Length": "7"}, ObjectVersion(size_bytes=7, version=None)),
        ({"ETag": "e"}, ObjectVersion(size_bytes=None, version="e")),
        ({"Content-Length": "9" * 5000}, ObjectVersion(size_bytes=None, version=None)),
        ({"Content-Length": "-1"}, ObjectVersion(size_bytes=None, version=None)),
    ],
)
def test_size_and_version_come_from_the_headers_without_reading_the_body(server, headers, found):
    server.answers["/v.mp4"] = reply(headers=headers, body=b"")
    assert LocalVideo(uri=f"{server.url}/v.mp4").look_up() == found
    assert methods(server) == ["HEAD"]


@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_a_server_that_refuses_head_is_asked_with_get(server, status):
    server.answers["/v.mp4"] = only_get(reply(), status)
    found = LocalVideo(uri=f"{server.url}/v.mp4?sig=x").look_up()
    assert found == ObjectVersion(size_bytes=len(BODY), version='"v1"')
    assert methods(server) == ["HEAD", "GET"]


@pytest.mark.parametrize(
    ("status", "failure_class"),
    [
        (401, FailureClass.ACCESS_DENIED),
        (403, FailureClass.ACCESS_DENIED),
        (404, FailureClass.NOT_FOUND),
        (410, FailureClass.NOT_FOUND),
        (400, FailureClass.TRANSFER),
        (429, FailureClass.TRANSFER),
        (500, FailureClass.TRANSFER),
        (503, FailureClass.TRANSFER),
        (204, FailureClass.TRANSFER),
    ],
)
def test_a_status_decides_the_failure_class_and_secrets_stay_out_of_the_message(
    server, tmp_path, status, failure_class
):
    server.answers["/v.mp4"] = reply(status, {"Content-Length": "0"}, b"")
    video = LocalVideo(uri=f"http://me:hidden@127.0.0.1:{server.port}/v.mp4?sig=secret")
    for action in (video.look_up, lambda: download(video, tmp_path)):
        found, message = fail(action)
        assert found is failure_class
        assert f"{server.url}/v.mp4 was answered with status {status}" in message
        assert "secret" not in message
        assert "hidden" not in message


@pytest.mark.parametrize("answer", [reply(), chunked(BODY), reply(headers={"ETag": "e"})])
def test_the_body_arrives_whole_with_a_length_in_chunks_or_until_the_end(server, tmp_path, answer):
    server.answers["/v.mp4"] = answer
    assert download(LocalVideo(uri=f"{server.url}/v.mp4"), tmp_path) == BODY


@pytest.mark.parametrize("answer", [reply(body=BODY[:-1]), reply(body=b""), chunked(BODY, whole=False)])
def test_a_body_that_is_cut_off_is_a_transfer_failure(server, tmp_path, answer):
    server.answers["/v.mp4"] = answer
    failure_class, message = fail(lambda: download(LocalVideo(uri=f"{server.url}/v.mp4"), tmp_path))
    assert failure_class is FailureClass.TRANSFER
    assert "IncompleteRead" in message


@pytest.mark.parametrize("answer", [reply(), chunked(BODY), reply(headers={})])
def test_a_body_above_the_limit_is_too_large_whether_it_is_announced_or_not(server, tmp_path, answer):
    server.answers["/v.mp4"] = answer
    video = LocalVideo(uri=f"{server.url}/v.mp4")
    assert download(video, tmp_path, max_bytes=len(BODY)) == BODY
    failure_class, message = fail(lambda: download(video, tmp_path, max_bytes=len(BODY) - 1))
    assert failure_class is FailureClass.TOO_LARGE
    assert f"allowed are {len(BODY) - 1}" in message
    assert "reading.max_file_bytes" in message


def test_an_endless_body_stops_at_the_limit(server, tmp_path):
    def endless(handler):
        reply(headers={}, body=b"")(handler)
        while True:  # until the client hangs up
            handler.wfile.write(b"x" * 65536)

    server.answers["/v.mp4"] = endless
    failure_class, _ = fail(lambda: download(LocalVideo(uri=f"{server.url}/v.mp4"), tmp_path, max_bytes=200_000))
    assert failure_class is FailureClass.TOO_LARGE
    assert (tmp_path / "v").stat().st_size <= 200_000


def test_an_announced_empty_body_is_corrupt_media(server, tmp_path):
    server.answers["/v.mp4"] = reply(headers={"Content-Length": "0"}, body=b"")
    failure_class, _ = fail(lambda: download(LocalVideo(uri=f"{server.url}/v.mp4"), tmp_path))
    assert failure_class is FailureClass.CORRUPT_MEDIA


@pytest.mark.parametrize(
    "answer",
    [
        drip(b"", b"", 0.005),
        drip(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x", 0.005),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x", 0.005),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x", 0.005),
    ],
    ids=["silent", "headers", "body", "chunk sizes"],
)
def test_a_silent_or_dripping_server_is_given_up(server, tmp_path, answer):
    server.answers["/v.mp4"] = answer
    patience = Patience(silence_s=0.3, grace_s=0.1, min_bytes_per_s=1e6)
    failure_class, message = fail(lambda: download(LocalVideo(uri=f"{server.url}/v.mp4", patience=patience), tmp_path))
    assert failure_class is FailureClass.TRANSFER
    assert "TimeoutError" in message


def test_an_unreachable_server_and_an_unknown_host_are_transfer_failures(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert fail(LocalVideo(uri=f"http://127.0.0.1:{port}/v.mp4").look_up)[0] is FailureClass.TRANSFER

    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert fail(LocalVideo(uri="http://nowhere.example/v.mp4").look_up)[0] is FailureClass.TRANSFER


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n"])
def test_an_answer_that_is_no_http_is_a_transfer_failure(server, answer):
    server.answers["/v.mp4"] = drip(answer, b"", 0)
    assert fail(LocalVideo(uri=f"{server.url}/v.mp4").look_up)[0] is FailureClass.TRANSFER


@pytest.mark.parametrize(
    "uri", ["http://", "http:///v.mp4", "http://h:port/v.mp4", "http://h:99999/v", "http://a..b/v"]
)
def test_addresses_that_name_no_server_are_refused(uri):
    failure_class, message = fail(LocalVideo(uri=uri).look_up)
    assert failure_class is FailureClass.UNSUPPORTED_MEDIA
    assert "no usable address" in message


def test_spaces_and_other_characters_of_a_path_are_quoted_and_escapes_kept(server):
    server.answers["/a%20%C3%A4%2F.mp4"] = reply()
    LocalVideo(uri=f"{server.url}/a ä%2F.mp4?q=ü&r=%20#t").look_up()
    assert server.requests[0][1] == "/a%20%C3%A4%2F.mp4?q=%C3%BC&r=%20"


def test_a_full_disk_is_not_called_trouble_of_the_network(server, tmp_path):
    with pytest.raises(OSError, match="No space left") as caught:
        LocalVideo(uri=f"{server.url}/v.mp4").download("/dev/full", max_bytes=1 << 30)
    assert not isinstance(caught.value, PipelineError)
    assert os.strerror(28) in str(caught.value)
