"""How many frames a file lacks of those it announces: a copy that broke off, or damage that the demuxer skipped."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.video.containers import Container
from pipeline.video.timeline.matroska import is_whole_matroska
from pipeline.video.timeline.packets import Packet

_SLACK_S = 0.5  # Matroska's length counts the encoder delay of sound


@dataclass(frozen=True, slots=True)
class Ending:
    """``num_missing`` frames were announced and not found; ``stays_until`` ticks the last one is shown, if known."""

    num_missing: int
    stays_until: int | None = None


def find_ending(path: str, opened: Any, stream: Any, container: Container, packets: Sequence[Packet]) -> Ending:
    """What the container says of the end of the video.

    Mp4 and mov index each frame. Matroska and AVI say how long they last; in Matroska that may be another stream's
    length, or a last picture stays: where the file is whole. No other container says anything that can be relied on.

    Args:
        path: of the file.
        opened: the PyAV container, all packets read.
        stream: its video stream.
        container: what it is.
        packets: N >= 1 of the stream.
    """
    if container is Container.ISO_BMFF:
        return Ending(max(0, len(stream.index_entries) - len(packets)))
    pts = np.array([packet.pts for packet in packets], dtype=np.int64)
    announced_s = _announced_end_s(opened, stream, container)
    interval_s = _mean_interval_s(stream, pts)
    end_s = float(pts.max() * stream.time_base) + interval_s
    if container is Container.MATROSKA:
        end_s = max(end_s, float(max(packet.pts + packet.duration for packet in packets) * stream.time_base))
    if container is Container.MATROSKA and announced_s - end_s >= _SLACK_S:
        end_s = max(end_s, _end_of_others_s(opened, stream, pts))
    slack_s = _SLACK_S if container is Container.MATROSKA else interval_s
    if announced_s - end_s < slack_s:
        return Ending(0)
    if container is Container.MATROSKA and is_whole_matroska(path, last_pos=packets[-1].pos):
        return Ending(0, round(announced_s / float(stream.time_base)))
    return Ending(int((announced_s - end_s) / interval_s + 0.001))


def _announced_end_s(opened: Any, stream: Any, container: Container) -> float:
    if container is Container.MATROSKA:
        return float(opened.duration or 0) / 1e6
    if container is Container.AVI:
        return float((stream.duration or 0) * stream.time_base)
    return 0.0


def _mean_interval_s(stream: Any, pts: npt.NDArray[np.int64]) -> float:
    spread = float(np.ptp(pts) * stream.time_base)
    return spread / (len(pts) - 1) if spread > 0 else float(1 / (stream.average_rate or 1))


def _end_of_others_s(opened: Any, stream: Any, pts: npt.NDArray[np.int64]) -> float:
    """When the last packet of any stream ends, from about the last video frame on."""
    import av

    end_s = 0.0
    with suppress(av.error.FFmpegError, IndexError):
        opened.seek(int(pts.max()), stream=stream, backward=True)
        for packet in opened.demux():
            if packet.pts is not None:
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end_s
