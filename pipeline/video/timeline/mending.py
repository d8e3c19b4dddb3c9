"""A stream's packets as a timeline that can be trusted, with what had to be done to them in words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.containers import Container
from pipeline.video.timeline.clips import drop_before_start, lay_end_to_end
from pipeline.video.timeline.packets import Packet
from pipeline.video.timeline.rehearsal import (
    by_decoding_time,
    is_as_announced,
    rehearse,
    reorder,
    runs_backwards,
    spread,
)
from pipeline.video.timeline.seek_points import verify_starts

_LEAST_INTERVAL_S = 0.002


@dataclass(frozen=True, slots=True)
class Mended:
    """``packets`` begin where decoding can start. Their times are the file's, unless ``is_restamped``."""

    packets: list[Packet]
    first_frame: Any
    is_restamped: bool
    warnings: tuple[str, ...]


def mend_packets(
    path: str, packets: Sequence[Packet], container: Container, *, codec: str, time_base: Fraction, max_share: float
) -> Mended:
    """Close jumps and restarts, leave out what precedes the first whole picture, put pictures in their order.

    Args:
        path: of the file, of which the first pictures are decoded.
        packets: all of the stream.
        container: of the file.
        codec: FFmpeg's name.
        time_base: of the packets' times.
        max_share: of the frames that may have no time of their own.

    Raises:
        PipelineError: ``CORRUPT_MEDIA`` where nothing decodes, or too many frames have the time of another.
    """
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
        warnings.append(f"it begins between keyframes; {num_dropped} frames before the first whole one are left out")
    heard, is_ordered = rehearse(path, container, kept), True
    if _num_shared(kept) or not is_as_announced(heard, kept, container, codec):
        whole = rehearse(path, container, kept, is_whole=True)
        if runs_backwards(kept, whole):
            raise PipelineError(
                FailureClass.CORRUPT_MEDIA,
                f"{path} has times that run backwards from one picture to the next; re-encode it with times that rise.",
            )
        kept, is_ordered = reorder(kept, whole, container), False
    elif container is Container.AVI and len({packet.pts - packet.dts for packet in kept}) > 1:
        kept, is_ordered = by_decoding_time(kept), False
    num_shared, num_shown = _num_shared(kept), sum(not packet.is_hidden for packet in kept)
    if num_shared:
        kept = spread(kept, least=_LEAST_INTERVAL_S / float(time_base))
        warnings.append(f"{num_shared} of {num_shown} frames have the time of another one; they are spread evenly")
        num_shared = _num_shared(kept)
    if num_shared > max_share * num_shown:
        raise PipelineError(
            FailureClass.CORRUPT_MEDIA,
            f"{path} gives {num_shared} of {num_shown} frames the time of another one, allowed is a share of "
            f"{max_share} (sampling.max_bad_frames_share); re-encode it, so that every frame has a time of its own.",
        )
    is_restamped = clips is not None or not is_ordered
    kept = verify_starts(path, container, kept, is_laid=clips is not None)
    return Mended(kept, heard.first_frame, is_restamped, tuple(warnings))


def _num_shared(packets: Sequence[Packet]) -> int:
    """Frames that would be lost because another one has their time."""
    shown = [packet.pts for packet in packets if not packet.is_hidden]
    return len(shown) - len(set(shown))


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
