"""When each frame of a video is presented, and where decoding can start: PyAV's demuxer, the truth about time.

Nothing is decoded but one frame, which alone tells rotation, true size and bit depth.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.containers import Container, identify_container

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VideoProbe:
    """The timeline of one video's best stream; N frames in presentation order, K places where decoding can start.

    ``pts`` (N,) are ticks of ``time_base`` in the file; ``pts_s`` (N,) the same in seconds, the first one 0.
    ``keyframe_indices`` (K,) start at 0 and rise: frame i is decoded from the last keyframe at or before it. A first
    keyframe that an edit list hides stands at 0 too; its ``keyframe_pts`` is then before ``pts[0]``.
    ``width`` and ``height`` are pixels as displayed, after ``rotation`` (degrees counterclockwise: 0, 90, 180, 270).
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


def probe_video(path: str, *, max_missing_share: float = 0.05) -> VideoProbe:
    """Read the timeline of a checked local file (see ``resolve_local``).

    Args:
        path: absolute path of a local file.
        max_missing_share: the share of the frames announced by the container's index that the file may lack at its end.

    Raises:
        PipelineError: ``UNSUPPORTED_MEDIA`` (no video stream, unknown codec), ``CORRUPT_MEDIA`` (unreadable, no
            frames, no timestamps, cut off).
    """
    import av

    container = identify_container(path)
    try:
        with open_video(path, container) as (opened, stream):
            packets = _read_packets(path, opened, stream)
            _refuse_cut_off(path, len(packets), _count_missing(stream, container, len(packets)), max_missing_share)
            timeline = _build_timeline(packets, stream, container)
        with open_video(path, container) as (opened, stream):
            frame = _decode_first_frame(path, opened, stream)
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
        **timeline,
    )


def _build_timeline(packets: list[_Packet], stream: Any, container: Container) -> dict[str, Any]:
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
        "num_missing_frames": _count_missing(stream, container, len(packets)),
    }


def _read_packets(path: str, opened: Any, stream: Any) -> list[_Packet]:
    packets = []
    for packet in opened.demux(stream):
        if packet.size == 0:  # the demuxer's end mark
            continue
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


def _count_missing(stream: Any, container: Container, num_packets: int) -> int:
    """Frames that the index names and the file lacks; only mp4 and mov write a full index apart from the frames."""
    return max(0, len(stream.index_entries) - num_packets) if container is Container.ISO_BMFF else 0


def _refuse_cut_off(path: str, num_packets: int, num_missing: int, max_missing_share: float) -> None:
    num_announced = num_packets + num_missing
    if num_missing > max_missing_share * num_announced:
        raise PipelineError(
            FailureClass.CORRUPT_MEDIA,
            f"{path} is cut off: {num_missing} of {num_announced} frames of its index are not in the file, allowed is "
            f"a share of {max_missing_share} (sampling.max_bad_frames_share); copy it again.",
        )


def _nominal_frame_ticks(stream: Any) -> int:
    rate = stream.average_rate
    return round(1 / (Fraction(rate) * Fraction(stream.time_base))) if rate else 0


def _decode_first_frame(path: str, opened: Any, stream: Any) -> Any:
    """The first frame that decodes at all; damaged ones before it are skipped."""
    import av

    for packet in opened.demux(stream):
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
    for packet in packets:
        index = int(np.searchsorted(pts, packet.pts))
        if packet.is_keyframe and index < len(pts):
            starts[index] = (packet.pts, packet.dts)
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
