"""Places where a container claims that decoding can start, and the codec's bits say nothing: tried, a few of them.

Decoding from such a place must give the picture that decoding through gives. Where it does not, because a palette or a
codebook came earlier, or the claim is false, no place of this kind counts: the video is read through from those left.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.video.containers import Container
from pipeline.video.opening import open_video
from pipeline.video.timeline.packets import Packet, demux_stream
from pipeline.video.timeline.syntax import Start

_NUM_EARLY, _NUM_LATE = 2, 3
_MOST_PIXELS, _MOST_PACKETS = 200_000_000, 600  # read through for one place


def verify_starts(path: str, container: Container, packets: Sequence[Packet], *, is_laid: bool) -> list[Packet]:
    """The packets, with those keyframes that are none taken for what they are.

    Where ``is_laid``, parts of the file are laid end to end: places cannot be tried by their times, and none counts.
    """
    starts = [packet for packet in packets if packet.is_keyframe]
    pairs = [(before, at) for before, at in pairwise(starts) if at.start is Start.UNKNOWN and not at.is_hidden]
    if not pairs:
        return list(packets)
    early, late = pairs[:_NUM_EARLY], pairs[_NUM_EARLY:]
    places = np.unique(np.linspace(0, len(late) - 1, min(len(late), _NUM_LATE)).astype(int))
    tried = [(starts[0], at) for _, at in early] + [late[place] for place in places]
    if not is_laid and all(_is_same(path, container, before, at) is not False for before, at in tried):
        return list(packets)
    doubted = {at.number for _, at in pairs}
    return [replace(packet, is_keyframe=packet.is_keyframe and packet.number not in doubted) for packet in packets]


def _is_same(path: str, container: Container, before: Packet, at: Packet) -> bool | None:
    """Whether a picture is the same decoded from its own place and from one before; None where that cannot be told."""
    through = _picture(path, container, before, at)
    if through is None:
        return None
    alone = _picture(path, container, at, at)
    return alone is not None and np.array_equal(through, alone)


def _picture(path: str, container: Container, start: Packet, wanted: Packet) -> Any | None:
    """(height, width, 3) of one picture, decoded from a place on by a reader that has seen nothing else."""
    import av

    with open_video(path, container) as (opened, stream):
        size = stream.codec_context.width * stream.codec_context.height
        most = min(_MOST_PACKETS, 1 + _MOST_PIXELS // max(1, size))
        if wanted.number - start.number >= most:
            return None
        try:
            for packet in _number_from(opened, stream, start):
                if packet.pts > wanted.number + 32:  # no codec holds a picture back for longer
                    break
                for frame in packet.decode():
                    if frame.pts == wanted.number:
                        return frame.to_ndarray(format="rgb24")
            for frame in stream.codec_context.decode(None):
                if frame.pts == wanted.number:
                    return frame.to_ndarray(format="rgb24")
        except av.error.FFmpegError:
            return None
    return None


def _number_from(opened: Any, stream: Any, start: Packet) -> Iterator[Any]:
    """Packets from one on, with numbers in place of times; none where it is not found."""
    number = 0 if start.number == 0 else None
    if number is None:
        opened.seek(start.dts, stream=stream, backward=True)
    for packet in demux_stream(opened, stream):
        if packet.size == 0:
            continue
        is_start = packet.pos == start.pos if opened.format.name == "avi" else packet.pts == start.pts
        if number is None and is_start:
            number = start.number
        if number is not None:
            packet.pts = number
            number += 1
            yield packet
        elif packet.dts is not None and packet.dts > start.dts:
            return
