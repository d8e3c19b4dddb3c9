"""When each frame of a video is presented, and where decoding can start: PyAV's demuxer, the truth about time.

Nothing is decoded but one frame, which alone tells rotation, true size and bit depth.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.sources import ReadingConfig
from pipeline.video.containers import Container, find_mpeg_ts, identify_container, read_head
from pipeline.video.demo_mark import is_demo_video
from pipeline.video.encryption import encrypted_error, looks_encrypted
from pipeline.video.limits import refuse_cut_off, refuse_large_pictures, refuse_long
from pipeline.video.missing_frames import find_ending
from pipeline.video.opening import open_video
from pipeline.video.orientation import display_size, read_orientation, read_pixel_aspect
from pipeline.video.timeline.building import build_timeline
from pipeline.video.timeline.clips import JUMP_S
from pipeline.video.timeline.mending import mend_packets
from pipeline.video.timeline.packets import Packet, read_packets
from pipeline.video.video_file import open_file

IntArray = npt.NDArray[np.int64]
_LOOK_AHEAD_BYTES = 1024**2  # sound may go on a little behind the last picture


def _no_numbers() -> IntArray:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VideoProbe:
    """The timeline of one video's best stream; N frames in presentation order, K places where decoding can start.

    ``pts`` (N,) are ticks of ``time_base`` in the file; ``pts_s`` (N,) the same in seconds, the first one 0.
    ``keyframe_indices`` (K,) start at 0 and rise: frame i is decoded from the last keyframe at or before it. A first
    keyframe that an edit list hides stands at 0 too; its ``keyframe_pts`` is then before ``pts[0]``.
    ``width`` and ``height`` are pixels as displayed: stored ones stretched by ``pixel_aspect`` (width by height), then
    mirrored left to right if ``is_mirrored``, then turned by ``rotation`` (degrees counterclockwise: 0, 90, 180, 270).
    ``is_demo_video``: made by the project, by the mark in its metadata. ``warnings`` say what had to be mended.
    ``packet_pts``, ``packet_dts``, ``packet_pos`` (M,) are empty where the file's own times are right; else what all
    M packets of the stream have instead, in the order in which they are stored, and where they lie in the file.
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
    is_mirrored: bool = False
    pixel_aspect: Fraction = Fraction(1)
    warnings: tuple[str, ...] = ()
    packet_pts: IntArray = field(default_factory=_no_numbers)
    packet_dts: IntArray = field(default_factory=_no_numbers)
    packet_pos: IntArray = field(default_factory=_no_numbers)

    @property
    def num_frames(self) -> int:
        """N, frames that are presented."""
        return len(self.pts_s)

    def gop_of(self, frame_indices: IntArray) -> IntArray:
        """(n,) frame indices -> (n,) positions in ``keyframe_indices``."""
        return np.searchsorted(self.keyframe_indices, frame_indices, side="right").astype(np.int64) - 1


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
    limits = ReadingConfig() if reading is None else reading
    container = identify_container(path)
    with _explained(path, container), open_video(path, container) as (opened, stream):
        refuse_large_pictures(path, stream.codec_context, limits)
        is_made_here, pixel_aspect = is_demo_video(opened), read_pixel_aspect(stream)
        packets = read_packets(path, opened, stream, limits)
        ending = find_ending(path, opened, stream, container, packets)
        refuse_cut_off(path, len(packets), ending.num_missing, max_missing_share)
        mended = mend_packets(
            path,
            packets,
            container,
            codec=stream.codec_context.name,
            time_base=Fraction(stream.time_base),
            max_share=max_missing_share,
        )
        timeline = build_timeline(mended, len(packets), stream, stays_until=ending.stays_until)
        timeline["warnings"] += (*_late_start(path, container), *_passed_over(opened, stream))
        timeline["warnings"] += (*_long_pauses(timeline["pts_s"]), *_not_reached(path, container, packets))
    frame = mended.first_frame
    refuse_large_pictures(path, frame, limits)
    refuse_long(path, timeline["duration_s"], limits)
    orientation = read_orientation(frame)
    width, height = display_size(frame.width, frame.height, orientation.rotation, pixel_aspect)
    return VideoProbe(
        path=path,
        container=container,
        bit_depth=max(component.bits for component in frame.format.components),
        width=width,
        height=height,
        rotation=orientation.rotation,
        is_mirrored=orientation.is_mirrored,
        pixel_aspect=pixel_aspect,
        num_missing_frames=ending.num_missing,
        is_demo_video=is_made_here,
        **timeline,
    )


@contextmanager
def _explained(path: str, container: Container) -> Iterator[None]:
    """What FFmpeg says of a file in our words; what cannot be read because it is encrypted is said to be so."""
    import av

    try:
        yield
    except (PipelineError, av.error.FFmpegError) as error:
        is_too_large = isinstance(error, PipelineError) and error.failure_class is FailureClass.TOO_LARGE
        if not is_too_large and looks_encrypted(path, container):
            raise encrypted_error(path) from error
        if isinstance(error, PipelineError):
            raise
        raise PipelineError(
            FailureClass.CORRUPT_MEDIA, f"{path} cannot be read as {container.value} ({error.strerror}); copy it again."
        ) from error


def _passed_over(opened: Any, stream: Any) -> tuple[str, ...]:
    default = opened.streams.best("video")
    if default is None or default.index == stream.index:
        return ()
    return (f"its track {default.index} holds one picture only; track {stream.index} is taken for the film",)


def _long_pauses(pts_s: npt.NDArray[np.float64]) -> tuple[str, ...]:
    """A picture may stay for hours where each has a place of its own in the file; more often a clock was wrong."""
    pauses_s = np.diff(pts_s)
    if not len(pauses_s) or pauses_s.max() <= JUMP_S:
        return ()
    at = int(np.argmax(pauses_s))
    return (
        f"its picture stands still for {pauses_s[at] / 3600:.1f} h at {pts_s[at]:.0f} s, as its times say; if that is "
        "wrong, write it again with times that are right",
    )


def _not_reached(path: str, container: Container, packets: Sequence[Packet]) -> tuple[str, ...]:
    """FFmpeg reads an FLV up to where another one was written behind it."""
    if container is not Container.FLV:
        return ()
    with open_file(path) as file:
        file.seek(max(packet.pos + packet.num_bytes for packet in packets))
        rest = file.read(_LOOK_AHEAD_BYTES)
    if b"FLV\x01" not in rest:
        return ()
    return ("another recording follows it in the same file and is not read; copy each into a file of its own",)


def _late_start(path: str, container: Container) -> tuple[str, ...]:
    if container is Container.MPEG_TS and find_mpeg_ts(read_head(path)):
        return ("it begins in the middle of a transport packet, and is read from the next one on",)
    return ()
