"""Attack: bad weather. Storage that is away for a while, an expired token, a full disk, scorers that are killed.

    python tests/attacks/weather.py                            all cases, some ten minutes on 2 cores
    python tests/attacks/weather.py folder-away-2s scorer-kills   some of them

Settings are the defaults, but for how long an outage is waited for (5 s where it does not end by itself). A case holds
where no row has failed once the same command was typed again, exit codes are right, and every reader (pandas, Polars,
DuckDB's read_parquet, the view) sees each question once. Before, 1 to 8 of 12 rows failed, and the same command exited
0 with them still failed, for ever; a folder away for a whole run left 24 rows for 12 questions, 12 of them failures.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

from tests.attacks.jobs_under_attack import Place, all_answered, expect, ray_processes, run_cases  # noqa: E402

NUM_VIDEOS = 6
SHORT = ("--set", "reading.outage_s=5")
GOES_ON = "the same command goes on"
_EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


def when(is_time: Callable[[], bool], act: Callable[[], object]) -> Callable[[int], bool]:
    """For ``Place.run(during=…)``: act when it is time."""

    def during(_: int) -> bool:
        if is_time():
            act()
            return True
        return False

    return during


def _asked(place: Place) -> int:
    return place.ask(place.add_videos(NUM_VIDEOS))


def _later(seconds: float, act: Callable[[], object]) -> None:
    threading.Timer(seconds, act).start()


def folder_away_2s(folder: Path) -> list[str]:
    """From the first commit on; nothing may fail, not even at first."""
    place = Place(folder)
    num, away = _asked(place), folder / "away"

    def go_away() -> None:
        place.videos.rename(away)
        _later(2.0, lambda: away.rename(place.videos))

    found = expect(place.run(during=when(lambda: place.num_files() > 0, go_away)), 0)
    return found + all_answered(place, num)


def folder_away_whole_run(folder: Path) -> list[str]:
    """It is back for the second run, and away again for the third."""
    place = Place(folder)
    num, away = _asked(place), folder / "away"
    place.videos.rename(away)
    found = expect(place.run(), 3, what="first")
    away.rename(place.videos)
    found += expect(place.run(), 0, what="second") + all_answered(place, num)
    place.videos.rename(away)
    return found + expect(place.run(), 0, what="third") + all_answered(place, num)


def folder_away_for_good(folder: Path) -> list[str]:
    """From the first commit on: the job ends and says what to do, nothing has failed."""
    place = Place(folder)
    num, away = _asked(place), folder / "away"
    ended = place.run(*SHORT, during=when(lambda: place.num_files() > 0, lambda: place.videos.rename(away)))
    found = expect(ended, 1, GOES_ON, what="first")
    if failed := place.rest():
        found.append(f"first: {failed} rows failed for it")
    away.rename(place.videos)
    return found + expect(place.run(), 0, what="second") + all_answered(place, num)


class _Weather:
    """What an S3 store answers to everything now: None, or a status and a body."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.body = b""
        self.num_refused = 0

    def turn(self, status: int | None, body: bytes = b"") -> None:
        self.body, self.status = body, status


@contextmanager
def store_with_weather(place: Place) -> Iterator[tuple[_Weather, tuple[str, ...], Any]]:
    """The videos in an S3 store behind a proxy that has weather; with the arguments for the command, and behind it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server, weather = ThreadedMotoServer("127.0.0.1", 0, verbose=False), _Weather()
    server.start()
    behind = server.get_host_and_port()

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if weather.status is not None:
                weather.num_refused += 1
                self._reply(weather.status, {}, weather.body)
                return
            connection = HTTPConnection(*behind, timeout=60)
            connection.request(self.command, self.path, headers=dict(self.headers))
            answer = connection.getresponse()
            self._reply(answer.status, dict(answer.getheaders()), answer.read())
            connection.close()

        do_HEAD = do_GET

        def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = headers.get("Content-Length", str(len(body))) if self.command == "HEAD" else str(len(body))
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    options = {"key": "k", "secret": "s", "endpoint_url": f"http://{behind[0]}:{behind[1]}"}
    filesystem = fsspec.filesystem("s3", **options)
    filesystem.makedirs("weather", exist_ok=True)  # what moto stores, it stores for the process
    for number in range(NUM_VIDEOS):
        filesystem.pipe(f"weather/v{number}.mp4", place.source.read_bytes())
    options = options | {"endpoint_url": f"http://127.0.0.1:{proxy.server_address[1]}"}
    try:
        cache = f"reading.cache_dir={place.folder / 'cache'}"
        yield weather, ("--storage-options", json.dumps(options), "--set", cache), filesystem
    finally:
        proxy.shutdown()
        server.stop()


def _refused(status: int, body: bytes, seconds: float | None, folder: Path) -> list[str]:
    """A store that refuses all from the first commit on, for so long or until the command has ended."""
    place = Place(folder)
    num = place.ask([f"s3://weather/v{number}.mp4" for number in range(NUM_VIDEOS)])
    with store_with_weather(place) as (weather, options, _):

        def refuse() -> None:
            weather.turn(status, body)
            if seconds is not None:
                _later(seconds, lambda: weather.turn(None))

        more = () if seconds is not None else SHORT
        ended = place.run(*options, *more, during=when(lambda: place.num_files() > 0, refuse))
        weather.turn(None)
        if seconds is not None:
            found = expect(ended, 0)
        else:
            found = expect(ended, 1, GOES_ON, what="first")
            if failed := place.rest():
                found.append(f"first: {failed} rows failed for it")
            found += expect(place.run(*options), 0, what="second")
        if not weather.num_refused:
            found.append("nothing was refused")
        return found + all_answered(place, num)


def s3_answers_503_for_20s(folder: Path) -> list[str]:
    """Waited for."""
    return _refused(503, b"<Error><Code>SlowDown</Code></Error>", 20.0, folder)


def s3_answers_503_until_the_end(folder: Path) -> list[str]:
    """Given up, nothing burnt; the next run answers."""
    return _refused(503, b"<Error><Code>SlowDown</Code></Error>", None, folder)


def token_expired_for_20s(folder: Path) -> list[str]:
    """As S3 says it: 400 with a code, which an answer to HEAD cannot carry."""
    return _refused(400, _EXPIRED, 20.0, folder)


def token_expired_until_the_end(folder: Path) -> list[str]:
    """Given up, nothing burnt; with a new token the next run answers."""
    return _refused(400, _EXPIRED, None, folder)


def access_denied_until_the_end(folder: Path) -> list[str]:
    """Likewise."""
    return _refused(403, b"<Error><Code>AccessDenied</Code></Error>", None, folder)


@contextmanager
def _small_disk(path: Path, size: str) -> Iterator[Path]:
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], capture_output=True, check=False
    )
    if done.returncode:
        raise SystemExit("the cases of full disks mount a tmpfs: run them as root, or name the others")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def _fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def output_disk_full(folder: Path) -> list[str]:
    """From the first commit on: exit code 1; with room again the same command answers the rest."""
    place = Place(folder)
    num = _asked(place)
    with _small_disk(folder / "disk", "4m") as disk:
        place.output = disk / "out"
        found = expect(
            place.run(during=when(lambda: place.num_files() > 0, lambda: _fill(disk))),
            1,
            "No space left",
            what="first",
        )
        (disk / "filler").unlink()
        if failed := place.rest():
            found.append(f"first: {failed} rows failed for it")
        return found + expect(place.run(), 0, what="second") + all_answered(place, num)


def scorer_killed_five_times(folder: Path) -> list[str]:
    """At default attempts, on Ray."""
    place = Place(folder)
    num, killed = _asked(place), set[int]()

    def kill(driver: int) -> bool:
        victims = [one for one in ray_processes("Scorer.run", driver) if one not in killed]
        for victim in victims[:1]:
            time.sleep(1.0)  # it has begun to work
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                return False
            killed.add(victim)
        return len(killed) == 5

    long = ("--max-frames", "600", "--frames-per-group", "8", "--progress-every", "0")  # outlives five of them
    ended = place.run(during=kill, options=long)
    shutil.rmtree(place.videos)  # a second run finds nothing to do
    found = expect(ended, 0, what="first") + all_answered(place, num)
    return (
        found + expect(place.run(options=(*long, "--executor", "serial")), 0, what="second") + all_answered(place, num)
    )


CASES = {
    case.__name__.replace("_", "-"): case
    for case in (
        folder_away_2s,
        folder_away_whole_run,
        folder_away_for_good,
        s3_answers_503_for_20s,
        s3_answers_503_until_the_end,
        token_expired_for_20s,
        token_expired_until_the_end,
        access_denied_until_the_end,
        output_disk_full,
        scorer_killed_five_times,
    )
}

if __name__ == "__main__":
    sys.exit(run_cases(CASES, __doc__))
