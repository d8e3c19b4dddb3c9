"""When each frame of a video is presented, and where decoding can start: PyAV's demuxer, the truth about time.

Nothing is decoded but one frame, which alone tells rotation, true size and bit depth.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.config import ReadingConfig
from pipeline.video.containers import Container, identify_container
from pipeline.video.demo_mark import is_demo_video
from pipeline.video.limits import refuse_cut_off, refuse_large_pictures, refuse_long, refuse_many_frames
from pipeline.video.missing_frames import count_missing_frames

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VideoProbe:
    """The timeline of one video's best stream; N frames in presentation order, K places where decoding can start.

    ``pts`` (N,) are ticks of ``time_base`` in the file; ``pts_s`` (N,) the same in seconds, the first one 0.
    ``keyframe_indices`` (K,) start at 0 and rise: frame i is decoded from the last keyframe at or before it. A first
    keyframe that an edit list hides stands at 0 too; its ``keyframe_pts`` is then before ``pts[0]``.
    ``width`` and ``height`` are pixels as displayed, after ``rotation`` (degrees counterclockwise: 0, 90, 180, 270).
    ``is_demo_video``: made by the project, by the mark in its metadata.
    """

    path: str
    container: Container
    codec: str
    bit_depth: int
    duration_s: float
    time_base: Fraction
    pts: IntArray
    pts_s: npt.NDArray[np.float64]
    keyframe_indices: IntArray
    keyframe_pts: IntArray
    keyframe_dts: IntArray
    width: int
    height: int
    rotation: int
    is_constant_rate: bool
    num_missing_frames: int = 0
    is_demo_video: bool = False

    @property
    def num_frames(self) -> int:
        """N, frames that are presented."""
        return len(self.pts_s)

    def gop_of(self, frame_indices: IntArray) -> IntArray:
        """(n,) frame indices -> (n,) positions in ``keyframe_indices``."""
        return np.searchsorted(self.keyframe_indices, frame_indices, side="right").astype(np.int64) - 1


@dataclass(frozen=True, slots=True)
class _Packet:
    """What the timeline needs of one coded frame, in ticks."""

    pts: int
    dts: int
    duration: int
    is_keyframe: bool
    is_hidden: bool


def display_size(width: int, height: int, rotation: int) -> tuple[int, int]:
    """Stored (width, height) -> displayed (width, height): ``(640, 360, 90) -> (360, 640)``."""
    return (height, width) if rotation % 180 == 90 else (width, height)


@contextmanager
def open_video(path: str, container: Container) -> Iterator[tuple[Any, Any]]:
    """Open (container, best video stream), single-threaded, with this one demuxer and local files only."""
    import av

    with av.open(
        path, format=container.value, options={"protocol_whitelist": "file"}, metadata_errors="ignore"
    ) as opened:
        stream = opened.streams.best("video")
        if stream is None or stream.codec_context is None:
            found = "no video stream" if stream is None else "a video stream of an unknown codec"
            raise PipelineError(
                FailureClass.UNSUPPORTED_MEDIA, f"{path} has {found}; re-encode it, for example to H.264 in mp4."
            )
        stream.codec_context.thread_count = 1
        yield opened, stream


def demux_stream(opened: Any, stream: Any) -> Iterator[Any]:
    """``opened.demux(stream)``, where a stream that nothing announced begins in the middle of the file, too.

    PyAV (18.1) then ends with an ``IndexError``, behind the last packet.
    """
    with suppress(IndexError):
        yield from opened.demux(stream)


def probe_video(path: str, *, max_missing_share: float = 0.05, reading: ReadingConfig | None = None) -> VideoProbe:
    """Read the timeline of a checked local file (see ``local_video``).

    Args:
        path: absolute path of a local file.
        max_missing_share: the share of the frames announced by the container that the file may lack.
        reading: limits on frames, duration and picture size; the defaults when None.

    Raises:
        PipelineError: ``UNSUPPORTED_MEDIA`` (no video stream, unknown codec), ``CORRUPT_MEDIA`` (unreadable, no
            frames, no timestamps, cut off), ``TOO_LARGE`` (beyond a limit).
    """
    import av

    limits = ReadingConfig() if reading is None else reading
    container = identify_container(path)
    try:
        with open_video(path, container) as (opened, stream):
            refuse_large_pictures(path, stream.codec_context, limits)
            is_made_here = is_demo_video(opened)
            packets = _read_packets(path, opened, stream, limits)
            pts = np.array([packet.pts for packet in packets], dtype=np.int64)
            num_missing = count_missing_frames(opened, stream, container, pts)
            refuse_cut_off(path, len(packets), num_missing, max_missing_share)
            timeline = _build_timeline(packets, stream)
        refuse_long(path, timeline["duration_s"], limits)
        with open_video(path, container) as (opened, stream):
            frame = _decode_first_frame(path, opened, stream)
            refuse_large_pictures(path, frame, limits)
    except av.error.FFmpegError as error:
        raise PipelineError(
            FailureClass.CORRUPT_MEDIA, f"{path} cannot be read as {container.value} ({error.strerror}); copy it again."
        ) from error
    rotation = round(frame.rotation) % 360 if frame.rotation % 90 == 0 else 0
    width, height = display_size(frame.width, frame.height, rotation)
    return VideoProbe(
        path=path,
        container=container,
        bit_depth=max(component.bits for component in frame.format.components),
        width=width,
        height=height,
        rotation=rotation,
        num_missing_frames=num_missing,
        is_demo_video=is_made_here,
        **timeline,
    )


def _build_timeline(packets: list[_Packet], stream: Any) -> dict[str, Any]:
    """The fields of ``VideoProbe`` that packets alone tell."""
    time_base = Fraction(stream.time_base)
    pts = np.unique(np.array([packet.pts for packet in packets if not packet.is_hidden], dtype=np.int64))
    keyframe_indices, keyframe_pts, keyframe_dts = _locate_keyframes(packets, pts)
    return {
        "codec": str(stream.codec_context.name),
        "duration_s": _duration_ticks(packets, pts, _nominal_frame_ticks(stream)) * float(time_base),
        "time_base": time_base,
        "pts": pts,
        "pts_s": (pts - pts[0]) * float(time_base),
        "keyframe_indices": keyframe_indices,
        "keyframe_pts": keyframe_pts,
        "keyframe_dts": keyframe_dts,
        "is_constant_rate": _is_constant_rate(pts, time_base),
    }


def _read_packets(path: str, opened: Any, stream: Any, limits: ReadingConfig) -> list[_Packet]:
    packets: list[_Packet] = []
    for packet in demux_stream(opened, stream):
        if packet.size == 0:  # the demuxer's end mark
            continue
        refuse_many_frames(path, len(packets) + 1, limits)
        if packet.pts is None:
            raise PipelineError(
                FailureClass.CORRUPT_MEDIA,
                f"{path} has frames without a presentation time; re-mux it to mp4 or mkv so that every frame has one.",
            )
        dts = packet.pts if packet.dts is None else packet.dts
        packets.append(
            _Packet(packet.pts, dts, packet.duration or 0, bool(packet.is_keyframe), bool(packet.is_discard))
        )
    if all(packet.is_hidden for packet in packets):
        raise PipelineError(FailureClass.CORRUPT_MEDIA, f"{path} has a video stream without frames; copy it again.")
    return packets


def _nominal_frame_ticks(stream: Any) -> int:
    rate = stream.average_rate
    return round(1 / (Fraction(rate) * Fraction(stream.time_base))) if rate else 0


def _decode_first_frame(path: str, opened: Any, stream: Any) -> Any:
    """The first frame that decodes at all; damaged ones before it are skipped."""
    import av

    for packet in demux_stream(opened, stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        if frames:
            return frames[0]
    raise PipelineError(
        FailureClass.CORRUPT_MEDIA, f"{path} has a video stream of which no frame decodes; copy it again."
    )


def _locate_keyframes(packets: list[_Packet], pts: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """(K,) indices, pts and dts of where decoding can start; the first is index 0 even without a keyframe there."""
    starts: dict[int, tuple[int, int]] = {0: (packets[0].pts, packets[0].dts)}
    positions = [position for position, packet in enumerate(packets) if packet.is_keyframe]
    for position, stop in pairwise([*positions, len(packets)]):
        packet = packets[position]
        # of a keyframe that an edit list hides, only frames stored behind it can be decoded from it
        shown = [other.pts for other in packets[position:stop] if not other.is_hidden and other.pts >= packet.pts]
        first_pts = min(shown, default=None) if packet.is_hidden else packet.pts
        if first_pts is not None:
            starts[int(np.searchsorted(pts, first_pts))] = (packet.pts, packet.dts)
    indices = sorted(starts)
    table = np.array([(index, *starts[index]) for index in indices], dtype=np.int64)
    return table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy()


def _duration_ticks(packets: list[_Packet], pts: IntArray, nominal_ticks: int) -> int:
    """From the first presented frame to the end of the last; a last frame without a length lasts as the one before."""
    last = next(packet.duration for packet in packets if packet.pts == pts[-1])
    before = int(pts[-1] - pts[-2]) if len(pts) > 1 else nominal_ticks
    return int(pts[-1] - pts[0]) + (last if last > 0 else before)


def _is_constant_rate(pts: IntArray, time_base: Fraction) -> bool:
    """Whether all intervals agree, up to the rounding of the time base or a millisecond."""
    spread = np.ptp(np.diff(pts)) if len(pts) > 1 else 0
    return bool(spread <= max(1.0, 0.001 / float(time_base)))
