"""A local HTTP(S) server for tests, with one answer per path and a record of what was asked."""

import http.server
import threading
import time
from functools import partial

import pytest

from pipeline.failures import PipelineError
from pipeline.video.http_source import HttpVideo

BODY = bytes(range(256)) * 40
TAGGED = {"ETag": '"v1"', "Content-Length": str(len(BODY))}
LocalVideo = partial(HttpVideo, is_allowed_address=lambda address: True)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append((self.command, self.path, dict(self.headers)))
        answer = self.server.answers[self.path.partition("?")[0]]
        answer(self)

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


def reply(status=200, headers=TAGGED, body=BODY):
    def answer(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if not {"Content-Length", "Transfer-Encoding"} & set(headers):
            handler.close_connection = True
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)
        handler.wfile.flush()
        handler.close_connection = True

    return answer


def redirect(location, status=302):
    return reply(status, {"Location": location, "Content-Length": "0"}, b"")


def only_get(answer, status=405):
    refuse = reply(status, {"Content-Length": "0"}, b"")
    return lambda handler: (answer if handler.command == "GET" else refuse)(handler)


class Server:
    """A local server whose answers are set by path; keeps what was asked."""

    def __init__(self, host="127.0.0.1", context=None):
        self._server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *args: None
        self._server.answers, self._server.requests = {}, []
        self.answers, self.requests = self._server.answers, self._server.requests
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"http{'s' if context else ''}://{'localhost' if context else host}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


def chunked(body, whole=True):
    data = b"%x;note\r\n%b\r\n" % (len(body), body) + b"0\r\n\r\n" * whole
    return reply(headers={"Transfer-Encoding": "chunked", "ETag": "e"}, body=data)


def drip(prefix, unit, pause_s):
    def answer(handler):
        handler.wfile.write(prefix)
        handler.close_connection = True
        for _ in range(200):
            handler.wfile.write(unit)
            handler.wfile.flush()
            time.sleep(pause_s)

    return answer


def fail(action):
    with pytest.raises(PipelineError) as caught:
        action()
    return caught.value.failure_class, caught.value.message


def methods(server):
    return [method for method, _, _ in server.requests]


def download(video, tmp_path, max_bytes=1 << 30):
    video.download(str(tmp_path / "v"), max_bytes=max_bytes)
    return (tmp_path / "v").read_bytes()
