"""Reads videos in a child process, so that a file which hangs, crashes or bloats its decoder costs nothing but itself.

Frames come back through shared memory. What another library did not survive is tried once more with PyAV.
"""

import mmap
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.sandbox.layers import LAYERS
from pipeline.settings.sources import ReadingConfig
from pipeline.video.decode import Backend, DecodedFrames
from pipeline.video.decode_child import DecodeChild, ReaderLostError
from pipeline.video.decode_requests import DecodeReply, DecodeRequest, ProbeRequest, Reply, Request, UnpackRequest
from pipeline.video.frame_store.pictures import Quality
from pipeline.video.probe import VideoProbe
from pipeline.video.video_file import open_to_hand_over

Images = npt.NDArray[np.uint8]
Buffer = bytes | memoryview


class IsolatedReader:
    """One child process at a time, started when needed. For one thread.

    Args:
        reading: limits, and whether there must be a sandbox.
        max_bad_frames_share: of a probe.
        layers: of the sandbox; all but in tests of one alone.
    """

    def __init__(
        self, reading: ReadingConfig, *, max_bad_frames_share: float, layers: Collection[str] = LAYERS
    ) -> None:
        self._reading, self._max_bad_share, self._layers = reading, max_bad_frames_share, layers
        self._is_handed_over = reading.sandbox != "off"
        self._child: DecodeChild | None = None
        self._library, self._sandbox = "pyav", ""

    def probe(self, path: str) -> VideoProbe:
        """As ``probe_video``.

        Raises:
            PipelineError: as ``probe_video``; ``DECODE_TIMEOUT``, ``OUT_OF_MEMORY``, or ``CORRUPT_MEDIA`` for a file
                that crashes the demuxer.
        """
        request = ProbeRequest(
            path=path,
            is_handed_over=self._is_handed_over,
            max_bad_frames_share=self._max_bad_share,
            reading=self._reading,
        )
        try:
            return cast(VideoProbe, self._ask(request))
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
        request = DecodeRequest(
            probe=probe,
            is_handed_over=self._is_handed_over,
            frame_indices=frame_indices,
            size=size,
            backend=backend,
        )
        frames, reply = self._fill(request, (len(frame_indices), *size, 3))
        return DecodedFrames(
            frames=frames,
            decoder=reply.decoder,
            num_frames_decoded=reply.num_frames_decoded,
            bad_frames=reply.bad_frames,
            sandbox=self._sandbox,
        )

    def unpack(self, packed: Sequence[Buffer], *, size: tuple[int, int], quality: Quality, path: str) -> Images:
        """As ``unpack_pictures``, of pictures one by one; ``path`` is the video's, for messages.

        Raises:
            ReaderLostError: they are more than the decoder survives.
            PipelineError: ``CORRUPT_MEDIA``: they are no such pictures.
        """
        lengths = tuple(len(one) for one in packed)
        request = UnpackRequest(path=path, lengths=lengths, size=size, quality=quality)
        return self._fill(request, (len(lengths), *size, 3), packed)[0]

    def _fill(
        self,
        request: DecodeRequest | UnpackRequest,
        shape: tuple[int, int, int, int],
        packed: Sequence[Buffer] = (),
    ) -> tuple[Images, DecodeReply]:
        """Frames in memory of their own; ``packed`` is laid behind them for as long as the child needs it."""
        with _open_shared_memory() as file:
            num_bytes = int(np.prod(shape, dtype=np.int64))
            file.seek(num_bytes)
            file.writelines(packed)
            file.flush()
            os.ftruncate(file.fileno(), num_bytes + sum(map(len, packed)))
            reply = cast(DecodeReply, self._ask(request, shared=file.fileno()))
            os.ftruncate(file.fileno(), num_bytes)
            return np.frombuffer(mmap.mmap(file.fileno(), num_bytes), dtype=np.uint8).reshape(shape), reply

    def _ask(self, request: Request, *, shared: int | None = None) -> Reply:
        child = self._start(request.backend if isinstance(request, DecodeRequest) else "pyav")
        try:
            with self._opened(request) as descriptors:
                descriptors += [] if shared is None else [shared]
                reply = child.ask(request, request.path, self._reading, descriptors=descriptors)
        except ReaderLostError:
            self.close()
            raise
        if child.is_worn:
            self.close()
        if isinstance(reply, PipelineError):
            raise reply
        return reply

    @contextmanager
    def _opened(self, request: Request) -> Iterator[list[int]]:
        if not request.is_handed_over:
            yield []
            return
        try:
            file = open_to_hand_over(request.path)
        except OSError as error:
            raise PipelineError(
                FailureClass.TRANSFER, f"{request.path} cannot be read ({error.strerror}); it is tried again."
            ) from error
        with file:
            yield [file.fileno()]

    def _start(self, backend: str = "pyav") -> DecodeChild:
        if backend not in ("auto", "pyav", self._library):
            self._library = backend
            self.close()  # in a sandbox nothing can be loaded later
        if self._child is None:
            self._child = DecodeChild(self._reading, library=self._library, layers=self._layers)
            self._sandbox = self._child.sandbox.summary
        return self._child

    def start(self) -> int:
        """Start the child now, if none runs; returns its process id.

        Raises:
            PipelineError: As ``DecodeChild``.
        """
        return self._start().pid

    @property
    def sandbox(self) -> str:
        """What the latest child was confined by, for a row; empty before the first one."""
        return self._sandbox

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
