"""A long GOP, read through once though it is asked for in pieces: the reader stays where the last piece ended.

One reader is kept, in the process that decodes; who asks for an earlier frame, or another video, gets a new one. What
a piece shows never depends on it: a frame comes out of the decoder the same, whoever asked for those before.
"""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np

from pipeline.video.backends.interface import Images
from pipeline.video.backends.pyav_packets import GopPackets
from pipeline.video.backends.pyav_scaler import Scaler
from pipeline.video.decode_plan import last_of_gop
from pipeline.video.opening import open_video
from pipeline.video.probe import VideoProbe
from pipeline.video.video_file import file_status

Targets = dict[int, Images]  # pts, ascending -> where its (height, width, 3) pixels go


class ThroughReader:
    """Stands in one GOP of one file; hands out its frames in ascending order."""

    def __init__(self, probe: VideoProbe, gop: int) -> None:
        self.key = _identity(probe, gop)
        self._files = ExitStack()
        opened, stream = self._files.enter_context(open_video(probe.path, probe.container))
        self._probe, self._codec = probe, stream.codec_context
        self._packets = GopPackets(opened, stream, probe)
        self._last_index = last_of_gop(probe, gop)
        self._frames = self._read(gop)
        self._shown: Any = None  # the latest frame that came out
        self._ahead: Any = None  # one that came out and is later than all that were asked for
        self.next_pts = int(probe.pts[probe.keyframe_indices[gop]])  # earlier ones are gone
        self.num_decoded = 0

    def decode(self, targets: Targets, scaler: Scaler) -> list[int]:
        """Write every target; returns the pts of those that show a substitute or a picture that was patched up.

        A lost frame shows the one that came out before it, at the start of a GOP the one after, else black.
        """
        bad, orphans = [], []
        for pts, target in targets.items():
            while self._ahead is None or self._ahead.pts < pts:
                self._shown = self._ahead or self._shown
                self._ahead = next(self._frames, None)
                if self._ahead is None:
                    break
            found = self._ahead if self._ahead is not None and self._ahead.pts == pts else None
            if found is None or found.is_corrupt:
                bad.append(pts)
            stand_in = found or self._shown
            if stand_in is None:
                orphans.append(target)
            else:
                scaler.convert(stand_in, target)
            self.next_pts = pts
        for target in orphans:
            target[:] = 0
            if self._ahead is not None:
                scaler.convert(self._ahead, target)
        return bad

    def _read(self, gop: int) -> Iterator[Any]:
        """Frames of the timeline, from the GOP's first to its last."""
        import av

        last_pts, latest = int(self._probe.pts[self._last_index]), None
        self._codec.flush_buffers()
        for packet in self._packets.read(gop, last_index=self._last_index):
            if packet.dts is not None and packet.dts > last_pts:
                break
            self.num_decoded += 1
            with suppress(av.error.InvalidDataError):
                for frame in self._codec.decode(packet):
                    if self._belongs(frame.pts, latest, last_pts):
                        latest = frame.pts
                        yield frame
        with suppress(av.error.InvalidDataError, av.error.EOFError):
            for frame in self._codec.decode(None):
                if self._belongs(frame.pts, latest, last_pts):
                    latest = frame.pts
                    yield frame

    def _belongs(self, pts: int | None, latest: int | None, last_pts: int) -> bool:
        if pts is None or pts > last_pts or (latest is not None and pts <= latest):
            return False
        at = int(np.searchsorted(self._probe.pts, pts))
        return bool(self._probe.pts[at] == pts)

    def close(self) -> None:
        """Close the file."""
        self._files.close()


_kept: list[ThroughReader] = []


def read_through(probe: VideoProbe, gop: int, targets: Targets, scaler: Scaler) -> tuple[list[int], int]:
    """Write the targets, which lie in one long GOP.

    Returns:
        The pts of bad ones, and how many coded frames the decoder was given.
    """
    reader = _kept.pop() if _kept else None
    if reader is not None and (reader.key != _identity(probe, gop) or min(targets) < reader.next_pts):
        reader.close()
        reader = None
    reader = reader or ThroughReader(probe, gop)
    num_before = reader.num_decoded
    is_over = True
    try:
        bad = reader.decode(targets, scaler)
        is_over = max(targets) >= int(probe.pts[last_of_gop(probe, gop)])
    finally:
        if is_over:
            reader.close()
    if not is_over:
        _kept.append(reader)
    return bad, reader.num_decoded - num_before


def _identity(probe: VideoProbe, gop: int) -> tuple[object, ...]:
    status = file_status(probe.path)
    return probe.path, status.st_ino, status.st_size, status.st_mtime_ns, probe.num_frames, len(probe.keyframe_pts), gop
