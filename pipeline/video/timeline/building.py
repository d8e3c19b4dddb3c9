"""From packets that can be trusted to the arrays of a ``VideoProbe``: times, places where decoding can start."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.video.timeline.mending import Mended
from pipeline.video.timeline.packets import Packet

IntArray = npt.NDArray[np.int64]
NOT_DECODED = int(np.iinfo(np.int64).min)  # in place of the times of a packet that is passed over
NOT_SHOWN = NOT_DECODED + 1  # in place of the time of one that is decoded only


def build_timeline(mended: Mended, num_packets: int, stream: Any, *, stays_until: int | None) -> dict[str, Any]:
    """The fields of ``VideoProbe`` that packets alone tell.

    Args:
        mended: packets that can be trusted.
        num_packets: of the stream, at most.
        stream: PyAV's.
        stays_until: ticks up to which the last picture is shown, if the container says so.
    """
    packets, time_base = mended.packets, Fraction(stream.time_base)
    pts = np.unique(np.array([packet.pts for packet in packets if not packet.is_hidden], dtype=np.int64))
    keyframe_indices, keyframe_pts, keyframe_dts = _locate_keyframes(packets, pts)
    end = pts[0] if stays_until is None else stays_until
    duration_ticks = max(int(end - pts[0]), _duration_ticks(packets, pts, _nominal_frame_ticks(stream)))
    stamps = _stamp(packets, num_packets if mended.is_restamped else 0)
    return {
        "codec": str(stream.codec_context.name),
        "duration_s": duration_ticks * float(time_base),
        "time_base": time_base,
        "pts": pts,
        "pts_s": (pts - pts[0]) * float(time_base),
        "keyframe_indices": keyframe_indices,
        "keyframe_pts": keyframe_pts,
        "keyframe_dts": keyframe_dts,
        "is_constant_rate": _is_constant_rate(pts, time_base),
        "warnings": mended.warnings,
        "packet_pts": stamps[0],
        "packet_dts": stamps[1],
        "packet_pos": stamps[2],
    }


def _stamp(packets: Sequence[Packet], num_packets: int) -> IntArray:
    """(3, M) times of presentation and of decoding, and places in the file."""
    stamps = np.full((3, num_packets), NOT_DECODED, dtype=np.int64)
    if num_packets:
        for packet in packets:
            if packet.is_skipped or packet.number < 0:
                continue
            is_untimed = packet.is_hidden and not packet.is_keyframe
            dts = min(packet.dts, packet.pts)  # of a packed B-frame it is that of the next packet
            stamps[:, packet.number] = NOT_SHOWN if is_untimed else packet.pts, dts, packet.pos
    return stamps


def _nominal_frame_ticks(stream: Any) -> int:
    """By the announced rate, else the announced length, else as if there were 25 in a second."""
    rate, time_base = stream.average_rate, Fraction(stream.time_base)
    if rate:
        return round(1 / (Fraction(rate) * time_base))
    return int(stream.duration or 0) if (stream.duration or 0) > 0 else max(1, round(Fraction(1, 25) / time_base))


def _locate_keyframes(packets: Sequence[Packet], pts: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """(K,) indices, pts and dts of where decoding can start; the first is index 0 even without a keyframe there."""
    starts: dict[int, tuple[int, int]] = {0: (packets[0].pts, packets[0].dts)}
    positions = [position for position, packet in enumerate(packets) if packet.is_keyframe]
    for position, stop in pairwise([*positions, len(packets)]):
        packet = packets[position]
        # of a keyframe that an edit list hides, only frames stored behind it can be decoded from it
        shown = [other.pts for other in packets[position:stop] if not other.is_hidden and other.pts >= packet.pts]
        first_pts = min(shown, default=None) if packet.is_hidden else packet.pts
        if first_pts is not None:
            starts[int(np.searchsorted(pts, first_pts))] = (packet.pts, packet.dts)
    indices = sorted(starts)
    table = np.array([(index, *starts[index]) for index in indices], dtype=np.int64)
    return table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy()


def _duration_ticks(packets: Sequence[Packet], pts: IntArray, nominal_ticks: int) -> int:
    """From the first presented frame to the end of the last; a last frame without a length lasts as the one before.

    Behind it the file may say, with a packet that shows nothing new, that it stays.
    """
    last = next(packet.duration for packet in packets if packet.pts == pts[-1] and not packet.is_hidden)
    before = int(pts[-1] - pts[-2]) if len(pts) > 1 else nominal_ticks
    end = int(pts[-1]) + (last if last > 0 else before)
    return max(end, *(packet.pts + packet.duration for packet in packets if not packet.is_shown), end) - int(pts[0])


def _is_constant_rate(pts: IntArray, time_base: Fraction) -> bool:
    """Whether all intervals agree, up to the rounding of the time base or a millisecond."""
    spread = np.ptp(np.diff(pts)) if len(pts) > 1 else 0
    return bool(spread <= max(1.0, 0.001 / float(time_base)))
