"""Reads videos in a child process, so that a file which hangs, crashes or bloats its decoder costs nothing but itself.

Frames come back through shared memory. What another library did not survive is tried once more with PyAV.
"""

import mmap
import os
import tempfile
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.config import ReadingConfig
from pipeline.video.decode import Backend, DecodedFrames
from pipeline.video.decode_child import DecodeChild, ReaderLostError
from pipeline.video.decode_requests import DecodeReply, DecodeRequest, ProbeRequest, Reply, Request, UnpackRequest
from pipeline.video.frame_store.pictures import Quality
from pipeline.video.probe import VideoProbe

Images = npt.NDArray[np.uint8]


class IsolatedReader:
    """One child process at a time, started when needed. For one thread."""

    def __init__(self, reading: ReadingConfig, *, max_bad_frames_share: float) -> None:
        self._reading, self._max_bad_share = reading, max_bad_frames_share
        self._child: DecodeChild | None = None

    def probe(self, path: str) -> VideoProbe:
        """As ``probe_video``.

        Raises:
            PipelineError: as ``probe_video``; ``DECODE_TIMEOUT``, ``OUT_OF_MEMORY``, or ``CORRUPT_MEDIA`` for a file
                that crashes the demuxer.
        """
        request = ProbeRequest(path=path, max_bad_frames_share=self._max_bad_share, reading=self._reading)
        try:
            return cast(VideoProbe, self._ask(request, path))
        except ReaderLostError as lost:
            raise lost.failure from lost

    def decode(
        self,
        probe: VideoProbe,
        frame_indices: npt.NDArray[np.int64],
        *,
        size: tuple[int, int] | None = None,
        backend: Backend = "auto",
    ) -> DecodedFrames:
        """As ``decode_stretch``; the frames lie in memory that nobody else keeps.

        A video that the named library refuses, or does not survive, is read by PyAV.

        Raises:
            PipelineError: ``CORRUPT_MEDIA`` for a file that cannot be opened or crashes its decoder;
                ``DECODE_TIMEOUT``, ``OUT_OF_MEMORY``.
        """
        if backend not in ("auto", "pyav"):
            try:
                return self._decode_once(probe, frame_indices, size=size, backend=backend)
            except ReaderLostError:
                pass
            except PipelineError as error:
                if error.failure_class is not FailureClass.UNSUPPORTED_MEDIA:
                    raise
            backend = "pyav"
        try:
            return self._decode_once(probe, frame_indices, size=size, backend=backend)
        except ReaderLostError as lost:
            raise lost.failure from lost

    def _decode_once(
        self,
        probe: VideoProbe,
        frame_indices: npt.NDArray[np.int64],
        *,
        size: tuple[int, int] | None,
        backend: Backend,
    ) -> DecodedFrames:
        size = size or (probe.height, probe.width)
        request = DecodeRequest(probe=probe, frame_indices=frame_indices, size=size, backend=backend)
        frames, reply = self._fill(request, probe.path, (len(frame_indices), *size, 3))
        return DecodedFrames(
            frames=frames,
            decoder=reply.decoder,
            num_frames_decoded=reply.num_frames_decoded,
            bad_frames=reply.bad_frames,
        )

    def unpack(
        self, packed: bytes, lengths: tuple[int, ...], *, size: tuple[int, int], quality: Quality, path: str
    ) -> Images:
        """As ``unpack_pictures``; ``path`` is the video's, for messages.

        Raises:
            ReaderLostError: they are more than the decoder survives.
            PipelineError: ``CORRUPT_MEDIA``: they are no such pictures.
        """
        request = UnpackRequest(packed=packed, lengths=lengths, size=size, quality=quality)
        return self._fill(request, path, (len(lengths), *size, 3))[0]

    def _fill(
        self, request: DecodeRequest | UnpackRequest, path: str, shape: tuple[int, int, int, int]
    ) -> tuple[Images, DecodeReply]:
        with _open_shared_memory() as file:
            num_bytes = int(np.prod(shape, dtype=np.int64))
            os.ftruncate(file.fileno(), num_bytes)
            reply = cast(DecodeReply, self._ask(request, path, descriptor=file.fileno()))
            return np.frombuffer(mmap.mmap(file.fileno(), num_bytes), dtype=np.uint8).reshape(shape), reply

    def _ask(self, request: Request, path: str, *, descriptor: int | None = None) -> Reply:
        child = self._start()
        try:
            reply = child.ask(request, path, self._reading, descriptor=descriptor)
        except ReaderLostError:
            self.close()
            raise
        if child.is_worn:
            self.close()
        if isinstance(reply, PipelineError):
            raise reply
        return reply

    def _start(self) -> DecodeChild:
        if self._child is None:
            self._child = DecodeChild()
        return self._child

    @property
    def child_pid(self) -> int | None:
        """Process id of the child, if one runs."""
        child = self._child  # read once: a second thread asks too
        return child.pid if child else None

    def close(self) -> None:
        """End the child and take its memory back."""
        if self._child is not None:
            self._child.kill()
            self._child = None


def _open_shared_memory() -> BinaryIO:
    """A file without a name, in memory where the system can, that two processes map."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("frames"), "r+b")
    return cast(BinaryIO, tempfile.TemporaryFile())
