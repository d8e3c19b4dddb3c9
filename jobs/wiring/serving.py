"""From the command line of ``serve.py`` to a server that runs, and its end."""

import argparse
import asyncio
import signal
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from pipeline.counted import counted
from pipeline.results.part_files import AnswersFolder
from pipeline.serving.answer_lines import AnswerLines
from pipeline.serving.guard import Guard, is_loopback, make_token
from pipeline.serving.library import Library
from pipeline.serving.server import PageServer
from pipeline.settings.sources import ReadingConfig
from pipeline.uris import has_scheme, strip_secrets


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Served:
    """What is needed to run it.

    Attributes:
        described: what it serves, in a line.
    """

    server: PageServer
    host: str
    port: int
    token: str | None
    described: str


def prepare(options: argparse.Namespace, settings: argparse.Namespace, stack: ExitStack) -> Served:
    """Load the model, read the folder; what has to be closed goes onto ``stack``.

    Raises:
        ValueError: A setting, a place or the token cannot be used.
        PipelineError: The model cannot be used.
        OSError: Something cannot be read.
    """
    token = _token(options)
    guard = Guard(host=options.host, token=token, allowed_hosts=options.allow_host)
    output, videos = _sort_places(options.places, settings)
    run_id = f"served-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    desk, config = None, None
    if not options.no_ask:
        from jobs.wiring.asking import open_desk  # torch, transformers: not for who only looks

        desk, config = open_desk(settings, keep_bytes=int(options.keep_gib * 1024**3), run_id=run_id)
        stack.callback(desk.close)
    lines = AnswerLines(output, storage_options=settings.storage_options)
    library = Library(
        lines,
        videos,
        output_uri=output,
        run={"run_id": run_id, "stop_entropy": config.stopping.stop_entropy if config else None},
        reading=config.reading if config else ReadingConfig(),
        are_files_shown=not options.no_video_links,
        storage_options=settings.storage_options,
    )
    stack.callback(library.close)
    shown = [strip_secrets(output)] if output else []
    named = f"; model {desk.model}, method {' or '.join(desk.methods)}" if desk else ""
    described = ", ".join([*shown, *([counted(len(videos), "video")] if videos else [])]) + named
    title = f"Answers of {shown[0].rstrip('/').rpartition('/')[2]}" if shown else "Ask your videos"
    server = PageServer(library, desk, guard, title=title)
    return Served(server=server, host=options.host, port=options.port, token=token, described=described)


def run_server(served: Served, *, announce: Callable[[int], None]) -> None:
    """Serve until SIGINT or SIGTERM; open questions are withdrawn.

    Args:
        served: from `prepare`.
        announce: told the port once it is listened at.

    Raises:
        OSError: The port cannot be had.
    """
    asyncio.run(_serve(served, announce))


async def _serve(served: Served, announce: Callable[[int], None]) -> None:
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    runner = web.AppRunner(served.server.app(), handler_cancellation=True, access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, served.host, served.port).start()
        announce(runner.addresses[0][1])
        await ended.wait()
    finally:
        served.server.withdraw_all()
        await runner.cleanup()


def _token(options: argparse.Namespace) -> str | None:
    if options.token_file:
        return Path(options.token_file).read_text(encoding="utf-8").strip()
    return None if is_loopback(options.host) else make_token()


def _sort_places(places: Sequence[str], settings: argparse.Namespace) -> tuple[str | None, list[str]]:
    """The output folder, if one is named, and the videos."""
    folders = [place for place in places if _is_output(place, settings)]
    if len(folders) > 1:
        raise ValueError(f"one output folder at a time can be shown, got {len(folders)}: {', '.join(folders)}")
    videos = [place if has_scheme(place) else str(Path(place).absolute()) for place in places if place not in folders]
    return (folders[0] if folders else None), videos


def _is_output(place: str, settings: argparse.Namespace) -> bool:
    if not has_scheme(place):
        return Path(place).is_dir()
    if place.startswith(("http://", "https://")):
        return False
    return AnswersFolder(place, settings.storage_options).is_there()
