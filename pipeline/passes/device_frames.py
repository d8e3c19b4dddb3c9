"""Frames that decoders left undecoded, decoded by the GPU that scores them: they never leave the device.

Every group spans its whole video, so a stretch serves many groups: it is decoded once, and stays on the device until
its video is over or others need the room. Threads decode, each in a stream of its own, while groups are scored: NVDEC
is another part of the chip. What NVDEC refuses a child process reads with PyAV, as anywhere else; it is copied.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing import TimeoutError as OverdueError
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.devices.transfer import upload
from pipeline.passes.group_pass import DevicePiece
from pipeline.planning.video_plan import VideoPlan
from pipeline.results.keys import video_fingerprint
from pipeline.settings.config import RunConfig
from pipeline.uris import strip_secrets
from pipeline.video.backends.interface import RefusedError
from pipeline.video.backends.nvdec import SESSIONS, DeviceDecoder
from pipeline.video.decode_plan import frames_to_decode
from pipeline.video.isolated import IsolatedReader
from pipeline.video.probe import VideoProbe
from pipeline.video.sources import local_video
from pipeline.video.undecoded import IN_SCORER, Undecoded

Key = tuple[str, tuple[int, int], bytes]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReadStretch:
    """A stretch on the device.

    Attributes:
        frames: ``(n, height, width, 3)`` uint8; there once ``is_read`` has happened.
        bad_frames: of the video.
        sandbox: what held the process that read them.
    """

    frames: Tensor
    decoder: str
    num_frames_decoded: int
    is_read: Any = None
    seconds: float = 0.0
    bad_frames: tuple[int, ...] = ()
    sandbox: str = IN_SCORER

    def for_current_stream(self) -> Tensor:
        """The frames: the current stream waits for them, the host does not."""
        current = torch.cuda.current_stream(self.frames.device)
        current.wait_event(self.is_read)
        self.frames.record_stream(current)
        return self.frames


class DecodingSession:
    """One thread's: a stream, the video that is open, and a child process for what NVDEC refuses."""

    def __init__(self, device: torch.device, config: RunConfig, storage_options: Mapping[str, Any] | None) -> None:
        self._device, self._config, self._storage_options = device, config, storage_options
        self._stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._reader = IsolatedReader(config.reading, max_bad_frames_share=config.sampling.max_bad_frames_share)
        self._open: tuple[str, DeviceDecoder | None] | None = None

    def read(self, wanted: Undecoded, probe: VideoProbe) -> ReadStretch:
        """Decode a stretch.

        Raises:
            PipelineError: The video is away, or PyAV cannot read it either.
            MemoryError: The GPU's does not suffice.
        """
        started = time.perf_counter()
        reading, options = self._config.reading, self._storage_options
        video = local_video(wanted.uri, reading=reading, storage_options=options, fingerprint=wanted.fingerprint)
        with video as path, torch.cuda.stream(self._stream):
            probe = replace(probe, path=path)
            decoder = self._decoder(wanted.fingerprint, probe)
            done = self._read_here(decoder, wanted, probe) if decoder is not None else None
            done = done or self._read_isolated(wanted, probe)
            return replace(done, is_read=self._stream.record_event(), seconds=time.perf_counter() - started)

    def _decoder(self, fingerprint: str, probe: VideoProbe) -> DeviceDecoder | None:
        """Of one video at a time, as opening one reads it from end to end; None where NVDEC refuses it."""
        if self._open is None or self._open[0] != fingerprint:
            self._open = None  # its surfaces go before there are others
            try:
                self._open = fingerprint, DeviceDecoder(probe, str(self._device))
            except RefusedError:
                self._open = fingerprint, None
        return self._open[1]

    def _read_here(self, decoder: DeviceDecoder, wanted: Undecoded, probe: VideoProbe) -> ReadStretch | None:
        try:
            frames = decoder.read(wanted.frame_indices, wanted.size)
        except RefusedError:
            self._open = None  # nobody knows where it stands
            return None
        return ReadStretch(
            frames=frames,
            decoder="nvdec",
            num_frames_decoded=frames_to_decode(probe, wanted.frame_indices),
        )

    def _read_isolated(self, wanted: Undecoded, probe: VideoProbe) -> ReadStretch:
        decoded = self._reader.decode(probe, wanted.frame_indices, size=wanted.size, backend="pyav")
        return ReadStretch(
            frames=upload(decoded.frames, self._device),
            decoder=decoded.decoder,
            num_frames_decoded=decoded.num_frames_decoded,
            bad_frames=tuple(int(wanted.frame_indices[row]) for row in decoded.bad_frames),
            sandbox=decoded.sandbox,
        )

    def close(self) -> None:
        """End the child process."""
        self._reader.close()


@dataclass(kw_only=True, slots=True, eq=False)
class _Held:
    owner: object
    num_bytes: int
    result: Any  # of the pool
    is_new: bool = True


class DeviceFrames:
    """What one scorer's GPU has decoded; for one thread, which asks for it.

    Args:
        device: of the model.
        config: of the run; ``execution.frame_buffer_bytes`` may lie on the device.
        timeline: opens the reference to a video's timeline.
        storage_options: for ``s3://``.
    """

    def __init__(
        self,
        device: torch.device,
        config: RunConfig,
        *,
        timeline: Callable[[Any], VideoProbe],
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        if device.type != "cuda":
            raise PipelineError(
                FailureClass.MODEL,
                f"sampling.decoder 'nvdec' needs the model on a GPU, it is on {device}; use 'auto'",
            )
        self._device, self._config, self._storage_options = device, config, storage_options
        self._timeline = timeline
        self._held: OrderedDict[Key, _Held] = OrderedDict()  # least recently used first
        self._of_thread = threading.local()
        self._sessions: list[DecodingSession] = []
        self._pool: Any = None

    def expect(self, stretches: Sequence[Undecoded], *, owner: object) -> None:
        """Begin to decode what will be asked for, as far as there is room."""
        for wanted in stretches:
            if wanted.key in self._held or self._num_bytes + wanted.num_bytes <= self._most_bytes:
                self._begin(wanted, owner=owner, keep=())

    def take(self, stretches: Sequence[Undecoded], *, owner: object) -> list[tuple[ReadStretch, bool]]:
        """Each stretch, and whether it has been decoded since it was last taken; all are begun before one is awaited.

        Raises:
            PipelineError: ``DECODE_TIMEOUT``, or as ``DecodingSession.read``.
        """
        keys = [wanted.key for wanted in stretches]
        for wanted in stretches:
            self._begin(wanted, owner=owner, keep=keys)
        return [self._await(wanted) for wanted in stretches]

    def release(self, owner: object) -> None:
        """A video is over."""
        for key in [key for key, held in self._held.items() if held.owner == owner]:
            del self._held[key]

    def close(self) -> None:
        """Drop everything, and end what was started; a thread that hangs is left behind."""
        self._held.clear()
        if self._pool is not None:
            self._pool.terminate()
        for session in self._sessions:
            session.close()
        self._pool, self._sessions, self._of_thread = None, [], threading.local()

    @property
    def _most_bytes(self) -> int:
        return self._config.execution.frame_room_bytes

    @property
    def _num_bytes(self) -> int:
        return sum(held.num_bytes for held in self._held.values())

    def _begin(self, wanted: Undecoded, *, owner: object, keep: Collection[Key]) -> None:
        held = self._held.get(wanted.key)
        if held is not None and not (held.result.ready() and not held.result.successful()):
            self._held.move_to_end(wanted.key)
            return
        for key in [key for key in self._held if key not in keep]:
            if self._num_bytes + wanted.num_bytes <= self._most_bytes:
                break
            del self._held[key]
        if self._pool is None:
            self._pool = ThreadPool(SESSIONS)
        result = self._pool.apply_async(self._read, (wanted,))
        self._held[wanted.key] = _Held(owner=owner, num_bytes=wanted.num_bytes, result=result)

    def _read(self, wanted: Undecoded) -> ReadStretch:
        """In a thread of the pool."""
        session = getattr(self._of_thread, "session", None)
        if session is None:
            session = self._of_thread.session = DecodingSession(self._device, self._config, self._storage_options)
            self._sessions.append(session)
        done: ReadStretch = session.read(wanted, self._timeline(wanted.probe))
        return done

    def _await(self, wanted: Undecoded) -> tuple[ReadStretch, bool]:
        held, timeout_s = self._held[wanted.key], self._config.reading.decode_timeout_s
        try:
            done: ReadStretch = held.result.get(timeout_s)
        except OverdueError as error:
            self.close()
            raise PipelineError(
                FailureClass.DECODE_TIMEOUT,
                f"{strip_secrets(wanted.uri)}: decoding a stretch on the GPU took more than {timeout_s:g} s; set "
                "sampling.decoder=auto, or raise reading.decode_timeout_s.",
            ) from error
        except (MemoryError, torch.OutOfMemoryError):
            self._held.clear()  # what is tried again has more room
            raise
        is_new, held.is_new = held.is_new, False
        return done, is_new


def read_groups(
    on_device: DeviceFrames, plan: VideoPlan, uri: str, bad_frames: set[int]
) -> Iterator[list[DevicePiece]]:
    """Frames of each group, in visiting order; those of one pass lie on the device at a time.

    Args:
        on_device: opened with ``timeline`` as identity.
        plan: of the video.
        uri: of it, a local file.
        bad_frames: grows by frames of the video that were lost.
    """
    size, fingerprint = plan.decode_size or (plan.probe.height, plan.probe.width), video_fingerprint(uri)
    for reading in plan.passes:
        wanted = [
            Undecoded(
                uri=uri, fingerprint=fingerprint, probe=plan.probe, frame_indices=stretch.frame_indices, size=size
            )
            for stretch in reading.stretches
        ]
        reads = [read for read, _ in on_device.take(wanted, owner=reading)]
        bad_frames.update(*(read.bad_frames for read in reads))
        for position in reading.group_positions:
            shown = plan.group_frames(position)
            slots = [np.flatnonzero(np.isin(shown, one.frame_indices)) for one in wanted]
            rows = [np.searchsorted(one.frame_indices, shown[own]) for one, own in zip(wanted, slots, strict=True)]
            parts = zip(slots, rows, reads, strict=True)
            yield [(own, row, read.for_current_stream()) for own, row, read in parts if len(own)]
        on_device.release(reading)
