"""Where the times of a file start over or jump: its clips are found and laid end to end.

``clips [0 s, 6 s) [0 s, 6 s) -> [0 s, 6 s) [6 s, 12 s)``
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, pairwise
from statistics import median

from pipeline.video.containers import Container
from pipeline.video.timeline.packets import Packet
from pipeline.video.timeline.syntax import Start

JUMP_S = 3600.0  # a gap in a stream of stamped packets that is longer is a clock that was set, not time that passed
_JITTER_S = 0.002
_REORDERED = 32  # frames; no codec shows one later than this many behind its place
_STAMPED = (Container.MPEG_TS, Container.MPEG_PS, Container.FLV, Container.ASF)
_BY_PRESENTATION = (Container.MATROSKA, Container.OGG)


@dataclass(frozen=True, slots=True)
class Clips:
    """``packets`` with times that rise through the whole file; a hidden one is not to be decoded either."""

    packets: list[Packet]
    num_restarts: int
    num_jumps: int


def lay_end_to_end(packets: Sequence[Packet], container: Container, time_base: Fraction) -> Clips | None:
    """Close jumps and restarts; None where there are none."""
    bounds = _find_restarts(packets, container, ticks_per_s=1 / float(time_base))
    laid: list[Packet] = []
    interval, end, num_jumps = _interval(packets), 0, 0
    for start, stop in pairwise([0, *bounds, len(packets)]):
        clip = packets[start:stop] if start == 0 else drop_before_start(packets[start:stop])
        num_hidden = stop - start - len(clip)
        if container in _STAMPED:
            clip, num_closed = _close_jumps(clip, most=int(JUMP_S / float(time_base)), interval=interval)
            num_jumps += num_closed
        laid += [replace(packet, is_hidden=True, is_skipped=True) for packet in packets[start : start + num_hidden]]
        first = min((packet.pts for packet in clip if not packet.is_hidden), default=0)
        shift = end - first if start else 0
        laid += [
            replace(packet, pts=packet.pts + shift, dts=packet.dts + shift, begins_clip=start > 0 and at == 0)
            for at, packet in enumerate(clip)
        ]
        end = max((packet.pts for packet in laid if not packet.is_hidden), default=0) + interval
    return Clips(laid, len(bounds), num_jumps) if bounds or num_jumps else None


def drop_before_start(packets: Sequence[Packet]) -> list[Packet]:
    """Packets from the first place on where decoding can start, without pictures that refer to what came before.

    All of them, where there is no such place, or where they begin with one.
    """
    for position, packet in enumerate(packets):
        if packet.is_keyframe or packet.start is Start.CLOSED:
            if position == 0:
                break
            is_closed = packet.start is Start.CLOSED
            return [
                other if is_closed or other.pts >= packet.pts else replace(other, is_hidden=True, is_skipped=True)
                for other in packets[position:]
            ]
    return list(packets)


def _find_restarts(packets: Sequence[Packet], container: Container, *, ticks_per_s: float) -> list[int]:
    """Positions from which on time starts over."""
    if container in _STAMPED:
        times, slack = [packet.dts if packet.has_dts else None for packet in packets], _JITTER_S * ticks_per_s
    elif container in _BY_PRESENTATION:
        times, slack = [packet.pts for packet in packets], max(ticks_per_s, _REORDERED * _interval(packets))
    else:
        return []
    bounds, latest = [], None
    for position, time in enumerate(times):
        if time is None:
            continue
        if latest is not None and time < latest - slack:
            bounds.append(position)
            latest = time
        latest = time if latest is None else max(latest, time)
    return bounds


def _close_jumps(packets: Sequence[Packet], *, most: int, interval: int) -> tuple[Sequence[Packet], int]:
    """Where no picture comes for long, the next one follows at once; and how often that was."""
    times = sorted({packet.pts for packet in packets if not packet.is_hidden})
    jumps = [(after, after - before - interval) for before, after in pairwise(times) if after - before > most]
    if not jumps:
        return packets, 0
    starts, closed = [at for at, _ in jumps], [0, *accumulate(gap for _, gap in jumps)]

    def shift(time: int) -> int:
        at = bisect_right(starts, time)
        latest = starts[at] - closed[at + 1] if at < len(starts) else time
        return min(time - closed[at], latest)

    return [replace(packet, pts=shift(packet.pts), dts=shift(packet.dts)) for packet in packets], len(jumps)


def _interval(packets: Sequence[Packet]) -> int:
    """Ticks from a frame to the next, as most are apart."""
    times = sorted({packet.pts for packet in packets})
    return int(median(after - before for before, after in pairwise(times))) if len(times) > 1 else 1
