"""A secret file and a local server that no video may make the pipeline touch, and how to tell that one was."""

import os
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.video.odd_videos import write_video

SECRET_MARK = b"MARK-OF-THE-SECRET-FILE-0451"
SECRET_COLOR = (255, 0, 200)
_LONG_AGO_NS = 10**18


def _paint_secret(index: int, *, width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), SECRET_COLOR, dtype=np.uint8)


@dataclass(kw_only=True, slots=True)
class Tripwires:
    """``requests`` holds the first bytes that each connection to the server sent."""

    secret_path: str
    server_url: str
    requests: list[bytes] = field(default_factory=list)

    def arm(self) -> None:
        """Make the secret's time of access old, so that the next reading changes it."""
        os.utime(self.secret_path, ns=(_LONG_AGO_NS, os.stat(self.secret_path).st_mtime_ns))

    def secret_was_read(self) -> bool:
        """Since ``arm``; needs a file system that keeps times of access, as the test of this class checks."""
        return os.stat(self.secret_path).st_atime_ns != _LONG_AGO_NS

    def shows_secret(self, frames: np.ndarray) -> bool:
        """Whether the (n, height, width, 3) frames hold the secret's bytes, or its picture."""
        near = np.abs(frames.astype(np.int16) - np.array(SECRET_COLOR, dtype=np.int16)).max(axis=-1) < 40
        return SECRET_MARK in frames.tobytes() or bool((near.mean(axis=(1, 2)) > 0.5).any())


@contextmanager
def tripwires(folder: Path) -> Iterator[Tripwires]:
    """The secret is a real MPEG-TS video that carries a mark; the server hands that video to whoever asks."""
    secret = folder / "secret.ts"
    write_video(secret, num_frames=24, paint=_paint_secret)
    body = secret.read_bytes() + SECRET_MARK * 20
    secret.write_bytes(body)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(0.5)
            try:
                received: Any = self.request.recv(4096)
            except OSError:
                received = b"(nothing)"
            wires.requests.append(received)
            head = f"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\nContent-Length: {len(body)}\r\n\r\n"
            self.request.sendall(head.encode() + body)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        wires = Tripwires(secret_path=str(secret), server_url=f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wires.arm()
        yield wires
        server.shutdown()
