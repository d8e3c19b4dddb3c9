"""Frames by PyAV, GOP by GOP, matched by presentation time: right for every container, and it survives damage.

Each GOP is decoded on its own, from its keyframe and with an emptied decoder, so a frame's pixels depend neither on
the stretch nor on which other frames are wanted.
"""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.backends.interface import DecodeReport, Images, IntArray
from pipeline.video.backends.pyav_packets import GopPackets
from pipeline.video.backends.pyav_scaler import Scaler
from pipeline.video.backends.pyav_through import Targets, read_through
from pipeline.video.decode_plan import is_long_gop
from pipeline.video.opening import open_video
from pipeline.video.probe import VideoProbe


def decode_with_pyav(probe: VideoProbe, frame_indices: IntArray, frames: Images) -> DecodeReport:
    """Fill ``frames`` as ``interface.DecodeFrames`` says; undecodable packets are skipped.

    A lost frame shows its nearest earlier decodable neighbour in the same GOP, wanted or not, else the nearest later
    one, else black: so the substitute, too, is independent of the stretch. A frame that the decoder had to patch up,
    because its own data or that of its references is damaged, keeps its picture and counts as bad too.

    Raises:
        PipelineError: ``CORRUPT_MEDIA`` when the file cannot be opened at all.
    """
    import av

    bad_frames: list[int] = []
    gops, starts = np.unique(probe.gop_of(frame_indices), return_index=True)
    stops = [*starts[1:].tolist(), len(frame_indices)]
    try:
        with open_video(probe.path, probe.container) as (opened, stream):
            scaler = Scaler(probe, height=frames.shape[1], width=frames.shape[2])
            decoder, num_through = _GopDecoder(opened, stream, probe, scaler), 0
            for gop, start, stop in zip(gops.tolist(), starts.tolist(), stops, strict=True):
                wanted = probe.pts[frame_indices[start:stop]].tolist()
                targets = dict(zip(wanted, frames[start:stop], strict=True))
                if is_long_gop(probe, gop):
                    bad, num_decoded = read_through(probe, gop, targets, scaler)
                    num_through += num_decoded
                else:
                    bad = decoder.decode(gop, targets)
                bad_frames += [start + wanted.index(pts) for pts in bad]
            return DecodeReport(num_frames_decoded=decoder.num_decoded + num_through, bad_frames=tuple(bad_frames))
    except av.error.FFmpegError as error:
        raise PipelineError(
            FailureClass.CORRUPT_MEDIA, f"{probe.path} cannot be decoded ({error.strerror}); copy the video again."
        ) from error


class _GopDecoder:
    def __init__(self, opened: Any, stream: Any, probe: VideoProbe, scaler: Scaler) -> None:
        self._packets = GopPackets(opened, stream, probe)
        self._codec = stream.codec_context
        self._probe, self._scaler = probe, scaler
        self._patched: set[int] = set()  # wanted pts whose pictures the decoder patched up
        self.num_decoded = 0  # coded frames that the decoder was given

    def decode(self, gop: int, targets: Targets) -> list[int]:
        """Write every target; returns the pts, ascending, of those that show a substitute or a patched picture."""
        missing = dict(targets)
        self._patched.clear()
        self._fill(gop, missing, wanted=list(targets))
        if not missing:
            return sorted(self._patched)
        bounds = [*self._probe.keyframe_indices.tolist(), self._probe.num_frames]
        members = self._probe.pts[bounds[gop] : bounds[gop + 1]].tolist()
        came = self._fill(gop, missing, wanted=members)
        lost = sorted({*missing, *self._patched})
        self._substitute(gop, missing, decodable=[pts for pts in members if pts in came])
        return lost

    def _substitute(self, gop: int, lost: Targets, *, decodable: list[int]) -> None:
        shown: dict[int, list[Images]] = {}
        for pts, target in lost.items():
            target[:] = 0
            if decodable:
                shown.setdefault(decodable[max(0, bisect_left(decodable, pts) - 1)], []).append(target)
        if not shown:
            return
        self._fill(gop, {pts: targets[0] for pts, targets in shown.items()}, wanted=sorted(shown))
        for targets in shown.values():
            for other in targets[1:]:
                other[:] = targets[0]

    def _fill(self, gop: int, missing: Targets, *, wanted: list[int]) -> set[int]:
        """Write what decodes and remove it from ``missing``; returns the pts that came by."""
        came: set[int] = set()
        for frame in self._decode(gop, wanted):
            came.add(frame.pts)
            target = missing.pop(frame.pts, None)
            if target is not None:
                self._scaler.convert(frame, target)
                if frame.is_corrupt:
                    self._patched.add(frame.pts)
        return came

    def _decode(self, gop: int, wanted: list[int]) -> Iterator[Any]:
        """Frames that come out until all wanted pts (ascending) were given to the decoder, and it was emptied."""
        import av

        unsent, last_pts = set(wanted), wanted[-1]
        self._codec.flush_buffers()
        for packet in self._packets.read(gop, last_index=int(np.searchsorted(self._probe.pts, last_pts))):
            is_late = packet.dts is not None and packet.dts > last_pts  # a frame is never decoded after it is presented
            if self._is_in_timeline(packet) and (is_late or not unsent):
                break
            self.num_decoded += 1
            with suppress(av.error.InvalidDataError):
                yield from self._codec.decode(packet)
            if not packet.is_discard:  # one that an edit list hides may have another's time
                is_done = not unsent  # with this one, which belongs to the last: its second field, for instance
                unsent.discard(packet.pts)
                if is_done:
                    break
        with suppress(av.error.InvalidDataError, av.error.EOFError):
            yield from self._codec.decode(None)  # frames that wait for reordering

    def _is_in_timeline(self, packet: Any) -> bool:
        """Whether it has a time of its own; an edit list's do, though they are not shown."""
        if packet.is_discard:
            return True
        pts = self._probe.pts
        at = 0 if packet.pts is None else int(np.searchsorted(pts, packet.pts))
        return packet.pts is not None and at < len(pts) and bool(pts[at] == packet.pts)
