"""The child process in which untrusted files are read: it is killed without harm. Started by ``decode_child``.

It loads what it needs, goes into the sandbox, and reads what it is handed as a descriptor. It dies with its parent, and
is the first to go when the machine runs out of memory.
"""

import errno
import json
import mmap
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.sandbox.child import forget_environment
from pipeline.sandbox.layers import enter_sandbox
from pipeline.sandbox.privileges import Limits
from pipeline.video.decode import decode_stretch
from pipeline.video.decode_requests import (
    READY,
    DecodeReply,
    DecodeRequest,
    ProbeRequest,
    Reply,
    Request,
    UnpackRequest,
    pack_reply,
)
from pipeline.video.frame_store.pictures import load_codecs, unpack_pictures
from pipeline.video.loaded_first import load_for_good
from pipeline.video.probe import probe_video
from pipeline.video.video_file import UnreadableError, handed_over

_MADE_TO_CHECK = 4 * 1024**3  # bytes that a file may announce and never fill; the parent counts what is filled


def main(options: str) -> None:
    """Serve requests until the parent closes its end.

    Args:
        options: ``DecodeChild``'s, as JSON.
    """
    given = json.loads(options)
    library: str = given["library"]
    load_for_good(library)
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"  # a process of one thread can be confined
    load_codecs()
    forget_environment()
    limits = Limits(private_bytes=given["memory_bytes"] + _MADE_TO_CHECK, cpu_s=given["cpu_s"])
    report = enter_sandbox(parent=given["parent"], limits=limits, layers=given["layers"])
    connection: Connection[Any, Any] = Connection(given["descriptor"])
    connection.send_bytes(READY + report.pack())
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        connection.send_bytes(pack_reply(_answer(request, connection)))


def _answer(request: Request, connection: "Connection[Any, Any]") -> Reply:
    name = request.path
    try:
        with _handed_over(request, connection):
            if isinstance(request, ProbeRequest):
                share = request.max_bad_frames_share
                return probe_video(request.path, max_missing_share=share, reading=request.reading)
            return _fill(request, connection)
    except PipelineError as error:
        return error
    except UnreadableError as error:
        return PipelineError(FailureClass.TRANSFER, f"{name} cannot be read ({error}); it is tried again.")
    except MemoryError:
        return _out_of_memory(name)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        return _out_of_memory(name)


@contextmanager
def _handed_over(request: Request, connection: "Connection[Any, Any]") -> Iterator[None]:
    with ExitStack() as handed:
        if request.is_handed_over:
            handed.enter_context(handed_over(request.path, reduction.recv_handle(connection)))
        yield


def _fill(request: DecodeRequest | UnpackRequest, connection: "Connection[Any, Any]") -> DecodeReply:
    descriptor = reduction.recv_handle(connection)
    height, width = request.size
    num_frames = len(request.lengths if isinstance(request, UnpackRequest) else request.frame_indices)
    shape = (num_frames, height, width, 3)
    num_bytes = int(np.prod(shape, dtype=np.int64))
    num_packed = sum(request.lengths) if isinstance(request, UnpackRequest) else 0
    with os.fdopen(descriptor, "r+b") as file:
        shared = mmap.mmap(file.fileno(), num_bytes + num_packed)
    out = np.frombuffer(shared, dtype=np.uint8, count=num_bytes).reshape(shape)
    if isinstance(request, UnpackRequest):
        return _unpack(request, memoryview(shared)[num_bytes:], out)
    decoded = decode_stretch(request.probe, request.frame_indices, size=request.size, backend=request.backend, out=out)
    return DecodeReply(
        decoder=decoded.decoder, num_frames_decoded=decoded.num_frames_decoded, bad_frames=decoded.bad_frames
    )


def _out_of_memory(path: str) -> PipelineError:
    return PipelineError(
        FailureClass.OUT_OF_MEMORY,
        f"{path}: decoding asked for more memory than it may have; re-encode the video or raise "
        "reading.decode_memory_bytes.",
    )


def _unpack(request: UnpackRequest, packed: memoryview, out: npt.NDArray[np.uint8]) -> DecodeReply:
    try:
        unpack_pictures(packed, request.lengths, out, request.quality)
    except ValueError as error:
        raise PipelineError(FailureClass.CORRUPT_MEDIA, str(error)) from error
    return DecodeReply(decoder="", num_frames_decoded=0, bad_frames=())
