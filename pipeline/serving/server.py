"""The page's server: what it asks for, and what comes back. Heavy work is done in threads; the loop only carries."""

import asyncio
import json
import logging
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
from aiohttp import web

from pipeline.failures import PipelineError, with_store_errors
from pipeline.serving.answer_lines import LineQuery
from pipeline.serving.asked import Ask, WithdrawnError
from pipeline.serving.guard import Guard, Handler
from pipeline.serving.library import Library
from pipeline.serving.page import served_page
from pipeline.uris import redact_text

if TYPE_CHECKING:
    from pipeline.serving.desk import Desk

Json = dict[str, Any]

HEARTBEAT_S = 1.0
"""Between two signs of life: who has gone is noticed by then."""
_MAX_BODY_BYTES = 256 * 1024
_LOG = logging.getLogger("adapttoken.serve")


class Refusal(ValueError):  # noqa: N818 - it is what is said, not what broke
    """What cannot be done as it was asked for; becomes a reply of this status."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class PageServer:
    """Handlers over a library of answers and videos, and the desk where questions are answered."""

    def __init__(self, library: Library, desk: "Desk | None", guard: Guard, *, title: str) -> None:
        self._library, self._desk, self._guard, self._title = library, desk, guard, title
        self._withdrawals: set[threading.Event] = set()

    def app(self) -> web.Application:
        """With its routes."""
        app = web.Application(middlewares=[self._guard.check, say_errors], client_max_size=_MAX_BODY_BYTES)
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/api/head", self._head),
                web.get("/api/answers", self._answers),
                web.get("/api/answers/{key}", self._answer),
                web.get("/api/answers/{key}/frames", self._frames),
                web.get("/api/answers/{key}/video", self._video),
                web.post("/api/ask", self._ask),
            ]
        )
        return app

    def withdraw_all(self) -> None:
        """End the work on every open question soon."""
        for withdrawal in self._withdrawals:
            withdrawal.set()

    def wait_until_idle(self, timeout_s: float, *, num_open: int = 0) -> bool:
        """Whether so few questions are open before the time is over; from another thread."""
        end_s = time.monotonic() + timeout_s
        while len(self._withdrawals) > num_open and time.monotonic() < end_s:
            time.sleep(0.01)
        return len(self._withdrawals) <= num_open

    async def _page(self, request: web.Request) -> web.Response:
        head = await asyncio.to_thread(self._describe)
        page, policy = served_page(self._title, head)
        return web.Response(
            body=page, content_type="text/html", charset="utf-8", headers={"Content-Security-Policy": policy}
        )

    async def _head(self, request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(self._describe))

    def _describe(self) -> Json:
        desk = self._desk
        asked = {"can_ask": desk is not None, "model": desk and desk.model, "methods": desk.methods if desk else []}
        return self._library.describe() | asked

    async def _answers(self, request: web.Request) -> web.Response:
        wanted = {name: request.query[name] for name in ("search", "sort", "show", "method") if name in request.query}
        try:
            page = int(request.query.get("page", "0"))
        except ValueError:
            raise Refusal(f"page must be a number, got {request.query['page']!r}") from None
        query = LineQuery(**wanted, page=page)
        return web.json_response(await asyncio.to_thread(self._library.page, query))

    async def _answer(self, request: web.Request) -> web.Response:
        found = await asyncio.to_thread(self._library.answer, request.match_info["key"])
        return web.json_response(_found(found, request))

    async def _frames(self, request: web.Request) -> web.Response:
        found = await asyncio.wrap_future(self._library.frames(request.match_info["key"]))
        return web.json_response(_found(found, request))

    async def _video(self, request: web.Request) -> web.StreamResponse:
        """The file itself; parts of it where the browser asks for those."""
        path = await asyncio.to_thread(self._library.video_file, request.match_info["key"])
        response = web.FileResponse(_found(path, request))
        response.headers["Content-Security-Policy"] = "default-src 'none'; media-src 'self'; sandbox"
        return response

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events until the answer is there; who goes away withdraws the question."""
        ask = await self._read_question(request)
        assert self._desk is not None
        loop, events = asyncio.get_running_loop(), asyncio.Queue[tuple[str, Json]]()
        is_withdrawn = threading.Event()

        def tell(name: str, said: Json) -> None:
            loop.call_soon_threadsafe(events.put_nowait, (name, said))

        future = self._desk.submit(ask, tell, is_withdrawn)
        future.add_done_callback(lambda done: tell("over", {}) if not loop.is_closed() else None)
        self._withdrawals.add(is_withdrawn)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        try:
            await response.prepare(request)
            await self._carry(request, response, events)
            if future.done():
                await _send(response, *await asyncio.to_thread(self._outcome, future))
                await response.write_eof()
        except ConnectionResetError:
            _LOG.info("a question was withdrawn: its page has gone")
        finally:
            is_withdrawn.set()
            future.cancel()
            self._withdrawals.discard(is_withdrawn)
        return response

    async def _read_question(self, request: web.Request) -> Ask:
        if self._desk is None:
            raise Refusal("this server only shows answers: start it with --model to ask", 403)
        if request.content_type != "application/json":
            raise Refusal(f"a question is sent as application/json, got {request.content_type}", 415)
        try:
            given = await request.json()
        except (ValueError, RecursionError):
            raise Refusal("the question is no JSON") from None
        if not isinstance(given, dict) or not all(isinstance(given.get(name), str) for name in ("video", "question")):
            raise Refusal("a question is an object with the texts video and question")
        options = given.get("options")
        is_list = isinstance(options, list) and all(isinstance(one, str) for one in options)
        if options is not None and not is_list:
            raise Refusal(f"options must be a list of texts, or null, got {json.dumps(options)[:80]}")
        uri = await asyncio.to_thread(self._library.uri_of, given["video"])
        if uri is None:
            raise Refusal(f"there is no video {given['video'][:200]!r} here: start the server with it", 404)
        method = given.get("method") or self._desk.methods[0]
        return Ask(video=uri, text=given["question"], method=str(method), options=tuple(options) if options else None)

    async def _carry(
        self, request: web.Request, response: web.StreamResponse, events: "asyncio.Queue[tuple[str, Json]]"
    ) -> None:
        """What is told, until it is over.

        Raises:
            ConnectionResetError: Nobody listens any more.
        """
        while True:
            try:
                name, said = await asyncio.wait_for(events.get(), HEARTBEAT_S)
            except TimeoutError:
                name, said = "", {}
            if name == "over":
                return
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError
            if name:
                await _send(response, name, said)
            else:
                await response.write(b": still at it\n\n")

    def _outcome(self, future: "Future[pa.Table]") -> tuple[str, Json]:
        """The answer as a line of the list, or what failed: this question alone."""
        if future.cancelled():
            return "failed", {"error": "the question was withdrawn"}
        error = future.exception()
        if error is None:
            row = future.result()
            return "answered", {"entry": self._library.add(row), "model": row.column("model")[0].as_py()}
        if isinstance(error, WithdrawnError):
            return "failed", {"error": "the server is being ended"}
        if not isinstance(error, PipelineError | ValueError | OSError):
            _LOG.error("a question failed", exc_info=error)
        return "failed", {"error": describe_error(error)}


@web.middleware
async def say_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What was asked for wrongly, and what the storage does not give, in one line."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return web.json_response({"error": str(refusal)}, status=refusal.status)
    except ValueError as error:
        return web.json_response({"error": describe_error(error)}, status=400)
    except PipelineError as error:
        return web.json_response({"error": describe_error(error)}, status=404)
    except ConnectionResetError:
        raise
    except with_store_errors(OSError, duckdb.Error) as error:
        return web.json_response({"error": describe_error(error)}, status=503)
    except web.HTTPException as error:
        return web.json_response({"error": f"{error.status} {error.reason}: {request.path}"}, status=error.status)


def describe_error(error: BaseException) -> str:
    """In one line, without credentials."""
    text = error.message if isinstance(error, PipelineError) else str(error)
    named = isinstance(error, PipelineError | ValueError | OSError)
    return " ".join(redact_text(text if named else f"{type(error).__name__}: {text}").split())[:600]


async def _send(response: web.StreamResponse, name: str, said: Json) -> None:
    await response.write(f"event: {name}\ndata: {json.dumps(said, allow_nan=False)}\n\n".encode())


def _found(value: Any, request: web.Request) -> Any:
    if value is None:
        raise Refusal(f"there is no answer {request.match_info['key'][:80]!r} here", 404)
    return value
