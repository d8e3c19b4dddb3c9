"""The parent's end of a ``decode_process``: starts it, waits for replies, kills it past its deadline or its memory."""

import logging
import mmap
import signal
import tempfile
import time
from collections.abc import Collection, Sequence
from functools import cache
from multiprocessing import Pipe, reduction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from pipeline.failures import FailureClass, PipelineError
from pipeline.sandbox.child import start_child
from pipeline.sandbox.layers import LAYERS, SandboxReport, unpack_report
from pipeline.settings.sources import ReadingConfig
from pipeline.video.decode_requests import READY, Reply, Request, unpack_reply

_MODULE = "pipeline.video.decode_process"
START_TIMEOUT_S = 120.0
RECYCLE_BYTES = 512 * 1024**2
RECYCLE_REQUESTS = 200
_TICK_S = 0.1
_MOST_GREETING_BYTES = 65_536
_LOG = logging.getLogger("adapttoken.video")


class ReaderLostError(Exception):
    """The child is gone; ``failure`` says why, if trying again does not help either."""

    def __init__(self, failure: PipelineError) -> None:
        super().__init__(failure.message)
        self.failure = failure


class DecodeChild:
    """One running ``decode_process``.

    Args:
        reading: ``sandbox``, and the limits that go with it.
        library: that it loads beside PyAV; nothing can be loaded later.
        layers: of the sandbox; all but in tests of one alone.

    Raises:
        PipelineError: ``INTERNAL``: it cannot start, or has less of a sandbox than ``reading.sandbox`` requires.
    """

    def __init__(self, reading: ReadingConfig, *, library: str = "pyav", layers: Collection[str] = LAYERS) -> None:
        self._connection, theirs = Pipe()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in kill
        options = {
            "descriptor": theirs.fileno(),
            "library": library,
            "layers": [] if reading.sandbox == "off" else list(layers),
            "memory_bytes": reading.decode_memory_bytes,
            "cpu_s": reading.decode_timeout_s * RECYCLE_REQUESTS + START_TIMEOUT_S,
        }
        descriptors = [theirs.fileno()]
        self._process = start_child(_MODULE, options, stderr=self._stderr, descriptors=descriptors)
        theirs.close()
        self._num_requests = 0
        greeting = self._greeting() if self._connection.poll(START_TIMEOUT_S) else b""
        if not greeting.startswith(READY):
            self._give_up(f"the decoding process could not start: {self._last_words()}")
        self.sandbox: SandboxReport = unpack_report(greeting[len(READY) :])
        refusal = self.sandbox.refusal() if reading.sandbox == "require" else None
        if refusal is not None:
            self._give_up(refusal)
        _tell_once(self.sandbox.summary, self.sandbox.lack)

    def _greeting(self) -> bytes:
        try:
            return self._connection.recv_bytes(_MOST_GREETING_BYTES)
        except (EOFError, OSError):
            return b""

    def _give_up(self, reason: str) -> NoReturn:
        self.kill()
        raise PipelineError(FailureClass.INTERNAL, reason)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def is_worn(self) -> bool:
        """Whether a fresh process is due: this one has grown, or has served for long."""
        return self._num_requests >= RECYCLE_REQUESTS or private_bytes(self.pid) > RECYCLE_BYTES

    def ask(self, request: Request, path: str, reading: ReadingConfig, *, descriptors: Sequence[int]) -> Reply:
        """Send one request with its descriptors and wait for the reply, up to the deadline and the memory limit."""
        self._num_requests += 1
        self._stderr.truncate(0)
        connection: Connection[Any, Any] = self._connection
        deadline = time.monotonic() + reading.decode_timeout_s
        try:
            connection.send(request)
            for descriptor in descriptors:
                reduction.send_handle(connection, descriptor, self.pid)
            while not connection.poll(_TICK_S):
                if time.monotonic() > deadline:
                    raise ReaderLostError(_overdue(path, reading.decode_timeout_s))
                num_bytes = private_bytes(self.pid)
                if num_bytes > reading.decode_memory_bytes:
                    raise ReaderLostError(_bloated(path, num_bytes, reading.decode_memory_bytes))
            packed = connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise ReaderLostError(self._explain_death(path)) from error
        try:
            return unpack_reply(packed, path=path)
        except ValueError as error:
            taken_over = PipelineError(FailureClass.CORRUPT_MEDIA, f"{path}: {error}; do not trust this file.")
            raise ReaderLostError(taken_over) from error

    def _explain_death(self, path: str) -> PipelineError:
        code = self._process.wait(timeout=START_TIMEOUT_S)
        if code == -signal.SIGKILL:
            return PipelineError(
                FailureClass.OUT_OF_MEMORY,
                f"{path}: the decoding process was killed from outside, as the system does when memory is short; "
                "give the node more memory or run fewer decoders (execution.num_decoders).",
            )
        if code < 0:
            return PipelineError(
                FailureClass.CORRUPT_MEDIA,
                f"{path} crashes its decoder ({signal.Signals(-code).name}); re-encode it, or copy it again.",
            )
        return PipelineError(FailureClass.INTERNAL, f"{path}: the decoding process ended: {self._last_words()}")

    def _last_words(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.poll()}"

    def kill(self) -> None:
        """Whatever it is doing, it ends; its memory comes back."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        self._stderr.close()


def try_sandbox(reading: ReadingConfig) -> SandboxReport:
    """What a decoding process on this machine has; says so in the log.

    Raises:
        PipelineError: As ``DecodeChild``.
    """
    child = DecodeChild(reading)
    child.kill()
    return child.sandbox


@cache
def _tell_once(summary: str, lack: str) -> None:
    """Per process: what protects it from its videos, and what does not."""
    if lack:
        _LOG.warning("videos are decoded in a sandbox of %s; not to be had here: %s", summary, lack)
    else:
        _LOG.info("videos are decoded in a sandbox of %s", summary)


def private_bytes(pid: int) -> int:
    """Memory that only this process holds, shared frames not counted; 0 where there is no /proc."""
    try:
        _, resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[:3]
    except OSError:
        return 0
    return (int(resident) - int(shared)) * mmap.PAGESIZE


def _overdue(path: str, timeout_s: float) -> PipelineError:
    return PipelineError(
        FailureClass.DECODE_TIMEOUT,
        f"{path}: one reading took more than {timeout_s:g} s; re-encode the video or raise reading.decode_timeout_s.",
    )


def _bloated(path: str, num_bytes: int, limit: int) -> PipelineError:
    return PipelineError(
        FailureClass.OUT_OF_MEMORY,
        f"{path}: decoding took {num_bytes:,} bytes, allowed are {limit:,}; re-encode the video or raise "
        "reading.decode_memory_bytes.",
    )
