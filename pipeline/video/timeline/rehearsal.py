"""What comes out of the decoder, and in which order: the first pictures always, all of them where a container lies.

Packets are numbered in place of their times, so what comes out tells which packet it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.containers import Container
from pipeline.video.opening import open_video
from pipeline.video.timeline.packets import Packet, demux_stream

_REHEARSED_PIXELS, _LEAST, _MOST = 25_000_000, 8, 48
_PLACEHOLDER_BYTES = 16
_NEVER_REORDERED = ("vp8", "vp9", "av1", "libdav1d")  # and the hidden ones say so


@dataclass(slots=True)
class Rehearsal:
    """``shown``: numbers of packets in the order of their pictures; ``refused``: those that did not decode."""

    first_frame: Any = None
    sent: list[int] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    is_patched: bool = False

    def take(self, frames: Sequence[Any]) -> None:
        """Note what came out."""
        for frame in frames:
            self.first_frame = self.first_frame or frame
            self.is_patched |= frame.is_corrupt
            if frame.pts is not None:
                self.shown.append(frame.pts)

    def finish(self, codec: Any) -> None:
        """Take what waits for reordering."""
        import av

        try:
            self.take(codec.decode(None))
        except (av.error.InvalidDataError, av.error.EOFError):
            self.is_patched = True


def rehearse(path: str, container: Container, packets: Sequence[Packet], *, is_whole: bool = False) -> Rehearsal:
    """Decode the first packets, and on to the first picture; or all of them.

    Raises:
        PipelineError: ``CORRUPT_MEDIA`` where nothing decodes.
    """
    import av

    skipped = {packet.number for packet in packets if packet.is_skipped}
    firsts = {packet.number for packet in packets if packet.begins_clip}
    heard, number = Rehearsal(), -1
    first = next(packet.number for packet in packets if packet.number >= 0)
    with open_video(path, container) as (opened, stream):
        codec = stream.codec_context
        enough = max(_LEAST, min(_MOST, _REHEARSED_PIXELS // max(1, codec.width * codec.height)))
        for packet in demux_stream(opened, stream):
            number += packet.size > 0
            if packet.size == 0 or number < first or number in skipped:
                continue
            if not is_whole and heard.first_frame is not None and len(heard.sent) >= enough:
                break
            if number in firsts:
                heard.finish(codec)
                codec.flush_buffers()
            packet.pts = number
            heard.sent.append(number)
            try:
                heard.take(packet.decode())
            except av.error.InvalidDataError:
                heard.refused.add(number)
        heard.finish(codec)
    if heard.first_frame is None:
        raise PipelineError(
            FailureClass.CORRUPT_MEDIA,
            f"{path} has a video stream of which no frame decodes; see whether a player shows it, else it was damaged "
            "where it was made.",
        )
    return heard


def is_as_announced(heard: Rehearsal, packets: Sequence[Packet], container: Container, codec: str) -> bool:
    """Whether pictures come out as the timeline says; a damaged beginning tells nothing, nor does an edit list."""
    if container is Container.AVI and any(packet.pts != packet.dts for packet in packets):
        return not any(packet.is_reordered for packet in packets)
    if not all(packet.has_pts or packet.is_hidden for packet in packets):
        return False
    by_number = {packet.number: packet for packet in packets}
    if heard.refused or heard.is_patched or codec in _NEVER_REORDERED or any(packet.is_edited for packet in packets):
        return True
    announced = [number for number in heard.sent if not by_number[number].is_hidden]
    return sorted(announced, key=lambda number: by_number[number].pts) == heard.shown


def runs_backwards(packets: Sequence[Packet], heard: Rehearsal) -> bool:
    """Whether more pictures are earlier than the one shown before them than any order of decoding explains."""
    times = {packet.number: packet.pts for packet in packets}
    shown = [times[number] for number in heard.shown if number in times]
    return sum(after < before for before, after in pairwise(shown)) > len(shown) / 2


def reorder(packets: Sequence[Packet], heard: Rehearsal, container: Container) -> list[Packet]:
    """Give the pictures of a whole rehearsal their packets' times, in the order in which they came out."""
    by_number = {packet.number: packet for packet in packets}
    is_by_decoding = container is Container.AVI  # the only time that it has
    if len({packet.pts for packet in packets}) < len({packet.dts for packet in packets}):
        is_by_decoding = True
    times = {packet.number: packet.dts if is_by_decoding else packet.pts for packet in packets}
    shown = [number for number in dict.fromkeys(heard.shown) if number in by_number]
    rank = {number: at for at, number in enumerate(shown)}
    shown_at = dict(zip(shown, _times_in_order(shown, times, by_number), strict=True))
    mended = []
    for packet in packets:
        if packet.number in shown_at:
            mended.append(replace(packet, pts=shown_at[packet.number], is_hidden=False, rank=rank[packet.number]))
        else:  # what was lost keeps its place; what is too small for a picture says that the one before stays
            is_hidden = packet.is_hidden or packet.num_bytes <= _PLACEHOLDER_BYTES
            mended.append(replace(packet, pts=times[packet.number], is_hidden=is_hidden))
    return mended


def _times_in_order(shown: Sequence[int], times: dict[int, int], by_number: dict[int, Packet]) -> list[int]:
    """Times that rise with the pictures; one without a time of its own lies evenly between those that have one."""
    timed = [rank for rank, number in enumerate(shown) if by_number[number].has_pts]
    known = sorted(times[shown[rank]] for rank in timed)
    if len(timed) in (0, len(shown)) or len(timed) < 2:
        return sorted(times[number] for number in shown)
    interval = (known[-1] - known[0]) / max(1, timed[-1] - timed[0])
    before = [known[0] + (rank - timed[0]) * interval for rank in range(timed[0])]
    behind = [known[-1] + (rank - timed[-1]) * interval for rank in range(timed[-1] + 1, len(shown))]
    between = np.interp(range(timed[0], timed[-1] + 1), timed, known).tolist()
    return [round(time) for time in (*before, *between, *behind)]


def by_decoding_time(packets: Sequence[Packet]) -> list[Packet]:
    """Of an AVI whose pictures come in order: FFmpeg gives each the time of the next, and a gap may lie between."""
    return [replace(packet, pts=packet.dts) for packet in packets]


def spread(packets: Sequence[Packet], *, least: float) -> list[Packet]:
    """Frames that have one time share the span up to the next one, or up to where the last of them ends, evenly.

    Not where they would be closer than ``least`` ticks: that is no rate of a video.
    """
    shown = sorted((packet for packet in packets if not packet.is_hidden), key=lambda packet: (packet.pts, packet.rank))
    starts = sorted({packet.pts for packet in shown})
    ends = dict(pairwise([*starts, max(packet.pts + packet.duration for packet in shown)]))
    spread_at: dict[int, int] = {}
    for start, run in groupby(shown, key=lambda packet: packet.pts):
        numbers = [packet.number for packet in run]
        span = ends[start] - start
        span = span if span >= least * len(numbers) else 0
        spread_at |= {number: start + span * at // len(numbers) for at, number in enumerate(numbers)}
    return [
        packet if packet.is_hidden else replace(packet, pts=spread_at[packet.number], duration=0) for packet in packets
    ]
