"""A stream's packets as a timeline that can be trusted, with what had to be done to them in words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from pipeline.video.containers import Container
from pipeline.video.timeline.clips import drop_before_start, lay_end_to_end
from pipeline.video.timeline.packets import Packet


@dataclass(frozen=True, slots=True)
class Mended:
    """``packets`` begin where decoding can start. Their times are the file's, unless ``is_restamped``."""

    packets: list[Packet]
    is_restamped: bool
    warnings: tuple[str, ...]


def mend_packets(packets: Sequence[Packet], container: Container, time_base: Fraction) -> Mended:
    """Close jumps and restarts in time, and leave out what precedes the first whole picture."""
    warnings = []
    packets = [packet if packet.is_shown else replace(packet, is_hidden=True) for packet in packets]
    clips = lay_end_to_end(packets, container, time_base)
    if clips is not None:
        packets = clips.packets
        if clips.num_restarts:
            warnings.append(f"its times start over {_times(clips.num_restarts)}; the parts are laid end to end")
        if clips.num_jumps:
            warnings.append(f"its times jump by more than an hour {_times(clips.num_jumps)}; the gap is closed")
    kept = list(packets) if container is Container.ISO_BMFF else drop_before_start(packets)
    num_dropped = len(packets) - len(kept)
    if num_dropped:
        warnings.append(
            f"it begins between two keyframes; {num_dropped} frames before the first whole one are left out"
        )
    return Mended(kept, clips is not None, tuple(warnings))


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
