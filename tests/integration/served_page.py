"""The page's server in a thread, and a client that speaks to it over HTTP."""

import asyncio
import http.client
import json
import threading
from contextlib import ExitStack, closing, contextmanager

from aiohttp import web

from jobs.serve import _build_parser, _read_settings
from jobs.wiring.serving import prepare


class Client:
    """One server, and how to ask it."""

    def __init__(self, server, port):
        self.server, self.port = server, port

    def get(self, path, **headers):
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", path, headers=headers)
            reply = connection.getresponse()
            return reply.status, reply.read(), dict(reply.getheaders())

    def json(self, path):
        status, body, _ = self.get(path)
        return status, json.loads(body)

    @contextmanager
    def asking(self, body, content_type="application/json"):
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            text = body if isinstance(body, str) else json.dumps(body)
            connection.request("POST", "/api/ask", body=text.encode(), headers={"Content-Type": content_type})
            yield connection.getresponse()

    def ask(self, **question):
        """All events: (name, what is said)."""
        with self.asking(question) as reply:
            if reply.status != 200:
                return reply.status, json.loads(reply.read())["error"]
            assert reply.headers["Content-Type"] == "text/event-stream"
            return list(events_of(reply))


def events_of(reply):
    name = None
    for line in reply:
        text = line.decode().rstrip("\n")
        if text.startswith("event: "):
            name = text.removeprefix("event: ")
        elif text.startswith("data: "):
            yield name, json.loads(text.removeprefix("data: "))


@contextmanager
def serving(*words):
    """A server in a thread of its own; what the command would have made of these words."""
    parser = _build_parser("serve.py")
    options, rest = parser.parse_known_args([*words, "--port", "0"])
    loop, begun, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    ports = []

    async def run(served):
        runner = web.AppRunner(served.server.app(), handler_cancellation=True, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ports.append(runner.addresses[0][1])
        begun.set()
        await ended.wait()
        served.server.withdraw_all()
        await runner.cleanup()

    with ExitStack() as stack:
        served = prepare(options, _read_settings(parser, rest), stack)
        thread = threading.Thread(target=loop.run_until_complete, args=(run(served),))
        thread.start()
        assert begun.wait(60)
        try:
            yield Client(served.server, ports[0])
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join(60)
            loop.close()
