"""Coded frames of a video, from any GOP on: read on where that is cheaper, found by a seek where it is not."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from pipeline.video.backends.pyav_stamps import Stamper
from pipeline.video.containers import Container
from pipeline.video.decode_plan import is_read_through
from pipeline.video.probe import VideoProbe
from pipeline.video.timeline.packets import demux_stream

SEEK_ATTEMPTS = 4


class GopPackets:
    """Packets of one stream. What was read beyond the start of a next GOP is handed out again for that one."""

    def __init__(self, opened: Any, stream: Any, probe: VideoProbe) -> None:
        self._opened, self._stream, self._probe = opened, stream, probe
        self._key_pts: list[int] = probe.keyframe_pts.tolist()
        self._ahead: deque[Any] = deque()  # read, to be handed out before what comes from the file
        self._stamper = Stamper(opened, stream, probe) if len(probe.packet_pts) else None
        self._from_file = _until_damage(self._stamper.read_all() if self._stamper else demux_stream(opened, stream))
        self._beyond: deque[Any] = deque()  # handed out, but belongs to a next GOP too
        self._last_index = -1  # last frame that was asked for

    def read(self, gop: int, *, last_index: int) -> Iterator[Any]:
        """Packets from a GOP's first one to the end of the file; none when it cannot be reached.

        Args:
            gop: position in ``VideoProbe.keyframe_indices``.
            last_index: last frame that will be taken from it.
        """
        self._ahead.extendleft(reversed(self._beyond))
        self._beyond.clear()
        is_near = is_read_through(self._probe, after_index=self._last_index, gop=gop)
        self._last_index = last_index
        if not (is_near and self._skip_to(gop)) and not self._seek(gop):
            return
        while (packet := self._next()) is not None:
            if self._beyond or self._is_first(packet, gop + 1):
                self._beyond.append(packet)
            yield packet

    def _seek(self, gop: int) -> bool:
        """A seek may land too late (indices in decode time, frames out of order): checked, and begun earlier."""
        probe = self._probe
        if self._stamper is not None:
            return self._start_over(self._stamper.read_from(gop), gop, is_in_order=False)
        earlier = [int(probe.keyframe_pts[g]) for g in range(gop, max(-1, gop - SEEK_ATTEMPTS), -1)]
        start = int(min(probe.keyframe_dts[0], probe.pts[0]))
        if any(self._seek_and_skip(target, gop) for target in (*earlier, start)):
            return True
        # where an edit list jumps, decode times jump back: the GOP may lie behind later ones
        return probe.container is Container.ISO_BMFF and self._seek_and_skip(start, gop, is_in_order=False)

    def _seek_and_skip(self, target: int, gop: int, *, is_in_order: bool = True) -> bool:
        self._opened.seek(target, stream=self._stream, backward=True)
        return self._start_over(demux_stream(self._opened, self._stream), gop, is_in_order=is_in_order)

    def _start_over(self, packets: Iterator[Any], gop: int, *, is_in_order: bool) -> bool:
        self._ahead.clear()
        self._from_file = _until_damage(packets)
        return self._skip_to(gop, is_in_order=is_in_order)

    def _skip_to(self, gop: int, *, is_in_order: bool = True) -> bool:
        """Drop packets before the GOP's first one; False when it does not come."""
        key_dts = int(self._probe.keyframe_dts[gop])
        while (packet := self._next()) is not None:
            if self._is_first(packet, gop):
                self._ahead.appendleft(packet)
                return True
            if is_in_order and packet.dts is not None and packet.dts > key_dts:
                return False
        return False

    def _is_first(self, packet: Any, gop: int) -> bool:
        """Whether a packet is a GOP's first; one that an edit list hides may have the time of one that is shown."""
        if gop >= len(self._key_pts) or packet.pts != self._key_pts[gop]:
            return False
        is_shown = self._key_pts[gop] == self._probe.pts[self._probe.keyframe_indices[gop]]
        return (packet.is_keyframe or gop == 0) and not (is_shown and packet.is_discard)

    def _next(self) -> Any | None:
        return self._ahead.popleft() if self._ahead else next(self._from_file, None)


def _until_damage(packets: Iterator[Any]) -> Iterator[Any]:
    """Packets with data, up to the end or the first place where the file cannot be read on."""
    import av

    try:
        for packet in packets:
            if packet.size > 0:
                yield packet
    except av.error.InvalidDataError:
        return
