"""Frames by PyAV, GOP by GOP, matched by presentation time: right for every container, and it survives damage.

Each GOP is decoded on its own from its keyframe, so a frame's pixels depend neither on the stretch nor on which other
frames are wanted. The filter chain is decord's own, so that both give the same pixels bit for bit.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.video.probe import VideoProbe, open_video

IntArray = npt.NDArray[np.int64]
Image = npt.NDArray[np.uint8]
SEEK_ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PyavFrames:
    """``frames`` (n, height, width, 3) RGB; ``bad_frames`` are positions whose pixels stand in for a lost frame."""

    frames: Image
    bad_frames: tuple[int, ...]
    num_frames_decoded: int


def decode_with_pyav(probe: VideoProbe, frame_indices: IntArray, *, height: int, width: int) -> PyavFrames:
    """Decode wanted frames at the given display size; undecodable packets are skipped.

    A lost frame shows its nearest earlier decodable neighbour in the same GOP, wanted or not, else the nearest later
    one, else black: so the substitute, too, is independent of the stretch.

    Raises:
        av.error.FFmpegError: the file cannot be opened at all.
    """
    frames = np.zeros((len(frame_indices), height, width, 3), dtype=np.uint8)
    bad_frames: list[int] = []
    scaler = _Scaler(probe, height=height, width=width)
    num_decoded = 0
    gop_of_frame = probe.gop_of(frame_indices)
    with open_video(probe.path, probe.container) as (opened, stream):
        for gop in np.unique(gop_of_frame):
            positions = np.flatnonzero(gop_of_frame == gop)
            wanted = probe.pts[frame_indices[positions]].tolist()
            images, seen = _decode_gop(opened, stream, probe, int(gop), wanted, scaler)
            num_decoded += len(seen)
            lost = [pts for pts in wanted if pts not in images]
            if lost:
                substitutes, num_seen = _decode_substitutes(opened, stream, probe, int(gop), lost, scaler)
                images |= substitutes
                num_decoded += num_seen
            for position, pts in zip(positions.tolist(), wanted, strict=True):
                if pts in images:
                    frames[position] = images[pts]
                if pts in lost:
                    bad_frames.append(position)
    return PyavFrames(frames=frames, bad_frames=tuple(bad_frames), num_frames_decoded=num_decoded)


def _decode_gop(
    opened: Any, stream: Any, probe: VideoProbe, gop: int, wanted: list[int], scaler: "_Scaler"
) -> tuple[dict[int, Image], list[int]]:
    """Images of the wanted pts (ascending) as far as they decode, and all pts that came by."""
    images: dict[int, Image] = {}
    seen: list[int] = []
    missing = set(wanted)
    for frame in _decode_packets(stream, _packets_from(opened, stream, probe, gop), last_pts=wanted[-1]):
        if frame.pts is None:
            continue
        seen.append(frame.pts)
        if frame.pts in missing:
            images[frame.pts] = scaler.convert(frame)
            missing.remove(frame.pts)
            if not missing:
                break
    return images, seen


def _decode_substitutes(
    opened: Any, stream: Any, probe: VideoProbe, gop: int, lost: list[int], scaler: "_Scaler"
) -> tuple[dict[int, Image], int]:
    """For each lost pts the image of the neighbour that stands in, and how many frames that took."""
    stop = int(probe.keyframe_indices[gop + 1]) if gop + 1 < len(probe.keyframe_indices) else probe.num_frames
    members = probe.pts[probe.keyframe_indices[gop] : stop]
    last = int(members[-1])
    packets = _packets_from(opened, stream, probe, gop)
    came = {frame.pts for frame in _decode_packets(stream, packets, last_pts=last)}
    decodable = np.array([pts for pts in members.tolist() if pts in came], dtype=np.int64)
    if len(decodable) == 0:
        return {}, len(came)
    stands_in = {pts: int(decodable[max(0, int(np.searchsorted(decodable, pts)) - 1)]) for pts in lost}
    images, seen = _decode_gop(opened, stream, probe, gop, sorted(set(stands_in.values())), scaler)
    return {pts: images[other] for pts, other in stands_in.items() if other in images}, len(came) + len(seen)


def _packets_from(opened: Any, stream: Any, probe: VideoProbe, gop: int) -> Iterable[Any]:
    """Packets from a GOP's first one on; none when it cannot be reached.

    A seek may land too late (indices in decode time, frames out of order), so it is checked and begun earlier.
    """
    key_pts, key_dts = int(probe.keyframe_pts[gop]), int(probe.keyframe_dts[gop])
    earlier = [int(probe.keyframe_pts[g]) for g in range(gop, max(-1, gop - SEEK_ATTEMPTS), -1)]
    for target in (*earlier, int(min(probe.keyframe_dts[0], probe.pts[0]))):
        opened.seek(target, stream=stream, backward=True)
        packets = _demux(opened, stream)
        for packet in packets:
            if packet.pts == key_pts:
                return chain([packet], packets)
            if packet.dts is not None and packet.dts > key_dts:
                break
    return ()


def _demux(opened: Any, stream: Any) -> Iterator[Any]:
    """Packets with data, up to the end or the first place where the file cannot be read on."""
    import av

    try:
        for packet in opened.demux(stream):
            if packet.size > 0:
                yield packet
    except av.error.InvalidDataError:
        return


def _decode_packets(stream: Any, packets: Iterable[Any], *, last_pts: int) -> Iterator[Any]:
    """Frames of the packets that can matter up to ``last_pts``: a frame is never decoded after it is presented."""
    import av

    for packet in packets:
        if packet.dts is not None and packet.dts > last_pts:
            break
        try:
            yield from stream.codec_context.decode(packet)
        except av.error.InvalidDataError:
            continue
    try:
        yield from stream.codec_context.decode(None)  # frames that wait for reordering
    except (av.error.InvalidDataError, av.error.EOFError):
        return


class _Scaler:
    """Rotate, scale and convert to RGB with decord's chain: transpose, then bilinear scaling by swscale."""

    def __init__(self, probe: VideoProbe, *, height: int, width: int) -> None:
        self._num_quarter_turns = (-probe.rotation // 90) % 4
        self._time_base = probe.time_base
        self._size = f"{width}:{height}"
        self._graphs: dict[tuple[int, int, str], Any] = {}

    def convert(self, frame: Any) -> Image:
        """(height, width, 3) RGB."""
        form = (frame.width, frame.height, frame.format.name)  # streams may change it on the way
        if form not in self._graphs:
            self._graphs[form] = self._build_graph(frame)
        graph = self._graphs[form]
        graph.push(frame)
        image: Image = graph.pull().to_ndarray()
        return image

    def _build_graph(self, frame: Any) -> Any:
        from av.filter import Graph

        graph = Graph()
        graph.threads = 1
        nodes = [
            graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=self._time_base)
        ]
        nodes += [graph.add("transpose", "clock") for _ in range(self._num_quarter_turns)]
        nodes += [
            graph.add("scale", f"{self._size}:flags=bilinear"),
            graph.add("format", "pix_fmts=rgb24"),
            graph.add("buffersink"),
        ]
        for node, following in pairwise(nodes):
            node.link_to(following)
        graph.configure()
        return graph
