"""What the timeline needs of each coded frame of a stream, in the order in which they are stored."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.sources import ReadingConfig
from pipeline.video.encryption import encrypted_error
from pipeline.video.limits import refuse_many_frames
from pipeline.video.timeline.h264_fields import FieldPairs
from pipeline.video.timeline.syntax import CodedPicture, Start, read_picture

_LEAST_TIMED = 0.02  # of the frames of a stream whose containers may give a time to one frame of several
_AS_BEFORE = CodedPicture(Start.NONE, is_shown=False)
_SECOND_FIELD = CodedPicture(Start.NONE, is_shown=False, is_reordered=False)
_TRUSTED = (Start.CLOSED, Start.OPEN, Start.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Packet:
    """Times are ticks; without a time of decoding of its own a frame has that of its presentation.

    ``number`` counts all packets with data of the stream in the file, from 0; -1 for one without, which says that the
    picture before it stays. ``pos`` is the place in the file, or -1.
    ``is_keyframe``: the container says so, and the picture itself does not deny it. ``is_hidden``: it is not in the
    timeline.
    ``is_shown``: it holds a picture that is shown. ``is_key_flagged``: what the container alone says.
    ``is_reordered``: it may be shown before what is stored before it. ``is_skipped``: it cannot be decoded, as what it
    refers to is not there. ``is_edited``: an edit list hides it. ``rank``: its place among all pictures, if known.
    ``begins_clip``: what came before it belongs to another recording.
    """

    number: int
    pts: int
    dts: int
    duration: int
    is_keyframe: bool
    is_hidden: bool
    start: Start = Start.UNKNOWN
    is_shown: bool = True
    pos: int = -1
    num_bytes: int = 0
    has_pts: bool = True
    has_dts: bool = True
    is_key_flagged: bool = False
    is_reordered: bool = False
    is_skipped: bool = False
    is_edited: bool = False
    rank: int = 0
    begins_clip: bool = False


def demux_stream(opened: Any, stream: Any) -> Iterator[Any]:
    """``opened.demux(stream)``, where a stream that nothing announced begins in the middle of the file, too.

    PyAV (18.1) then ends with an ``IndexError``, behind the last packet.
    """
    with suppress(IndexError):
        yield from opened.demux(stream)


def read_packets(path: str, opened: Any, stream: Any, limits: ReadingConfig) -> list[Packet]:
    """Every packet with data; one without a time of its own has that of the packet before it, until it is mended.

    Raises:
        PipelineError: ``CORRUPT_MEDIA`` for a stream without frames or without times; ``TOO_LARGE``.
    """
    codec, extradata = str(stream.codec_context.name), stream.codec_context.extradata
    packets: list[Packet] = []
    num_filled, pairs = 0, FieldPairs(extradata) if codec == "h264" else None
    for packet in demux_stream(opened, stream):
        if packet.size == 0 and packet.pts is None:  # the demuxer's end mark
            continue
        if packet.has_sidedata("encryption_info"):
            raise encrypted_error(path)
        refuse_many_frames(path, len(packets) + 1, limits)
        packet_number = num_filled if packet.size else -1
        num_filled += packet.size > 0
        data = bytes(packet)
        picture = read_picture(codec, data, extradata) if data else _AS_BEFORE
        if pairs is not None and data and pairs.is_second(data):
            picture = _SECOND_FIELD
        packets.append(_read_one(packet, packet_number, picture, packets[-1].pts if packets else 0))
    if all(packet.is_hidden or not packet.is_shown for packet in packets):
        raise PipelineError(
            FailureClass.CORRUPT_MEDIA, f"{path} has a video stream without frames; look for another copy of it."
        )
    is_streamed = stream.codec_context.name in ("h264", "hevc") and opened.format.name in ("mpegts", "mpeg")
    num_timed = sum(packet.has_pts for packet in packets)
    if num_timed < len(packets) * (_LEAST_TIMED if is_streamed else 1):
        raise PipelineError(
            FailureClass.CORRUPT_MEDIA,
            f"{path} has frames without a presentation time; re-mux it to mp4 or mkv so that every frame has one.",
        )
    return packets


def _read_one(packet: Any, number: int, picture: CodedPicture, last_pts: int) -> Packet:
    pts = packet.pts if packet.pts is not None else packet.dts if packet.dts is not None else last_pts
    return Packet(
        number=number,
        pts=pts,
        dts=pts if packet.dts is None else packet.dts,
        duration=packet.duration or 0,
        is_keyframe=bool(packet.is_keyframe) and picture.start in _TRUSTED,
        is_hidden=bool(packet.is_discard),
        start=picture.start,
        is_shown=picture.is_shown,
        pos=-1 if packet.pos is None else packet.pos,
        num_bytes=packet.size,
        has_pts=packet.pts is not None,
        has_dts=packet.dts is not None,
        is_key_flagged=bool(packet.is_keyframe),
        is_reordered=picture.is_reordered,
        is_edited=bool(packet.is_discard),
    )
