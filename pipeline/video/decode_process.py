"""The child process in which untrusted files are read: it is killed without harm. Started by ``isolated``.

It has no network where the kernel lets a process give that up, dies with its parent, and is the first to go when the
machine runs out of memory. Run as ``python -m pipeline.video.decode_process DESCRIPTOR``.
"""

import ctypes
import mmap
import os
import signal
import sys
from contextlib import suppress
from multiprocessing import reduction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.decode import decode_stretch
from pipeline.video.decode_requests import READY, DecodeReply, ProbeRequest, Request, UnpackRequest, pack_reply
from pipeline.video.frame_store.pictures import load_codecs, unpack_pictures
from pipeline.video.probe import VideoProbe, probe_video

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def main(descriptor: int) -> None:
    """Serve requests until the parent closes its end."""
    _guard_process()
    import av  # noqa: F401 - every request needs it, and no deadline should count its loading

    load_codecs()
    connection: Connection[Any, Any] = Connection(descriptor)
    connection.send_bytes(READY)
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        try:
            reply = pack_reply(_answer(request, connection))
        except PipelineError as error:
            reply = pack_reply(error)
        connection.send_bytes(reply)


def _answer(request: Request, connection: "Connection[Any, Any]") -> VideoProbe | DecodeReply:
    if isinstance(request, ProbeRequest):
        return probe_video(request.path, max_missing_share=request.max_bad_frames_share, reading=request.reading)
    descriptor = reduction.recv_handle(connection)
    height, width = request.size
    num_frames = len(request.lengths if isinstance(request, UnpackRequest) else request.frame_indices)
    shape = (num_frames, height, width, 3)
    with os.fdopen(descriptor, "r+b") as file:
        shared = mmap.mmap(file.fileno(), int(np.prod(shape, dtype=np.int64)))
    out = np.frombuffer(shared, dtype=np.uint8).reshape(shape)
    if isinstance(request, UnpackRequest):
        return _unpack(request, out)
    decoded = decode_stretch(request.probe, request.frame_indices, size=request.size, backend=request.backend, out=out)
    return DecodeReply(
        decoder=decoded.decoder, num_frames_decoded=decoded.num_frames_decoded, bad_frames=decoded.bad_frames
    )


def _unpack(request: UnpackRequest, out: npt.NDArray[np.uint8]) -> DecodeReply:
    try:
        unpack_pictures(request.packed, request.lengths, out, request.quality)
    except ValueError as error:
        raise PipelineError(FailureClass.CORRUPT_MEDIA, str(error)) from error
    return DecodeReply(decoder="", num_frames_decoded=0, bad_frames=())


def _guard_process() -> None:
    """What the kernel offers, where it does; without it the parent's deadline and memory limit still hold."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    if libc.unshare(_CLONE_NEWNET) != 0:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


if __name__ == "__main__":
    main(int(sys.argv[1]))
