"""Packets of a video whose own times cannot be used: each gets the time that the probe found for it.

A packet is recognised by its place in the file; from there on they are counted.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.video.containers import Container
from pipeline.video.probe import VideoProbe
from pipeline.video.timeline.building import NOT_DECODED, NOT_SHOWN
from pipeline.video.timeline.packets import demux_stream

_BYTE_SEEK = (Container.MPEG_TS, Container.MPEG_PS)  # their packets can be found from any byte on


class Stamper:
    """For one opened stream."""

    def __init__(self, opened: Any, stream: Any, probe: VideoProbe) -> None:
        self._opened, self._stream, self._probe = opened, stream, probe
        positions = probe.packet_pos[::-1].tolist()
        self._number_at = {pos: len(positions) - 1 - at for at, pos in enumerate(positions)}  # the first one there

    def read_from(self, gop: int) -> Iterator[Any]:
        """Packets from near a GOP's first one on, those that are not to be decoded left out."""
        probe = self._probe
        number = int(np.flatnonzero(probe.packet_pts == probe.keyframe_pts[gop])[0])
        if probe.container in _BYTE_SEEK:
            pos = max(0, int(probe.packet_pos[number]))
            self._opened.seek(pos, stream=self._stream, unsupported_byte_offset=True)
        else:
            self._opened.seek(int(probe.keyframe_dts[gop]), stream=self._stream, backward=True)
        return self._stamp(None)

    def read_all(self) -> Iterator[Any]:
        """Packets of a file that was opened just now."""
        return self._stamp(0)

    def _stamp(self, number: int | None) -> Iterator[Any]:
        probe = self._probe
        for packet in demux_stream(self._opened, self._stream):
            if packet.size == 0:
                continue
            number = self._number_at.get(packet.pos) if number is None else number
            if number is None or number >= len(probe.packet_pts):
                continue
            pts = int(probe.packet_pts[number])
            if pts != NOT_DECODED:
                packet.pts, packet.dts = None if pts == NOT_SHOWN else pts, int(probe.packet_dts[number])
                yield packet
            number += 1
