"""What the wanted frames of a film cost, in seconds of one core: by plain readers, by the front end, by a frame store.

k = encoded frames per wanted frame. Core seconds are CPU time of this process and of the decoding child, so other jobs
on the machine count little; every figure is the smallest of some repetitions.
"""

import os
import resource
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.lab.benchmarks.decode_readers import decord_sequential, pyav_sequential, torchcodec_sequential
from pipeline.planning.decode_cost import FrameReading, decode_seconds
from pipeline.planning.headers import coded_video_bytes
from pipeline.settings.sources import FrameStoreConfig, ReadingConfig
from pipeline.video.decode import DecodedFrames
from pipeline.video.decode_plan import STRETCH_BYTES, cut_stretches
from pipeline.video.frame_store.pictures import Quality, check_pixels
from pipeline.video.frame_store.reading import FrameReader
from pipeline.video.isolated import IsolatedReader
from pipeline.video.probe import VideoProbe, probe_video

IntArray = npt.NDArray[np.int64]
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmTimes:
    """Core seconds by reader; ``predicted_s`` is the planner's for the front end, the machine's factor included.

    Attributes:
        stored_bytes: by quality, of the frame store.
        num_differing: frames of the lossless store that are not the decoded ones, bit for bit.
    """

    name: str
    size: tuple[int, int]
    encoded_per_wanted: int
    num_wanted: int
    num_decoded: int
    core_s: dict[str, float]
    predicted_s: float
    stored_bytes: dict[str, int]
    num_differing: int


def measure_film(
    path: Path,
    *,
    encoded_per_wanted: int,
    max_wanted: int | None,
    size: tuple[int, int],
    repeats: int,
    decode_factor: float,
    with_others: bool = True,
) -> FilmTimes:
    """Time all readers on one file.

    Args:
        path: of the film.
        encoded_per_wanted: k.
        max_wanted: from the start on; None: all.
        size: (height, width) of the frames that are handed on.
        repeats: of each reader.
        decode_factor: of this machine.
        with_others: whether decord, PyAV and torchcodec read it, too.
    """
    probe = probe_video(str(path))
    wanted = np.arange(0, probe.num_frames, encoded_per_wanted, dtype=np.int64)[:max_wanted]
    measured = _Measured()
    with closing(IsolatedReader(ReadingConfig(), max_bad_frames_share=0.05)) as reader:
        reader.probe(str(path))  # starts its child
        others = _others(probe, wanted, size) if with_others else {}
        for _ in range(repeats):
            for name, read in others.items():
                measured.core_s.setdefault(name, []).append(_core_seconds(reader, read))
            measured.read_all(reader, probe, wanted, size)
    reading = FrameReading(
        codec=probe.codec,
        bit_depth=probe.bit_depth,
        frame_pixels=probe.width * probe.height,
        coded_bytes=coded_video_bytes(path) / probe.num_frames,
        num_decoded=measured.num_decoded,
        num_wanted=len(wanted),
        wanted_pixels=size[0] * size[1],
    )
    return FilmTimes(
        name=path.stem,
        size=size,
        encoded_per_wanted=encoded_per_wanted,
        num_wanted=len(wanted),
        num_decoded=measured.num_decoded,
        core_s={name: min(values) for name, values in measured.core_s.items()},
        predicted_s=decode_seconds(reading) * decode_factor,
        stored_bytes=measured.stored_bytes,
        num_differing=measured.num_differing,
    )


@dataclass(slots=True)
class _Measured:
    """What the front end's readings gave so far."""

    core_s: dict[str, list[float]] = field(default_factory=dict)
    stored_bytes: dict[str, int] = field(default_factory=dict)
    num_decoded: int = 0
    num_differing: int = 0

    def read_all(self, reader: IsolatedReader, probe: VideoProbe, wanted: IntArray, size: tuple[int, int]) -> None:
        """Without a store; then for each quality into an empty one, and out of it."""
        read = partial(_read_all, probe, wanted, size)
        (decoded, self.num_decoded), spent_s = _timed(reader, partial(read, FrameReader(reader, FrameStoreConfig())))
        self.core_s.setdefault("front end", []).append(spent_s)
        qualities: tuple[Quality, ...] = ("lossless", "high")
        for quality in qualities:
            with tempfile.TemporaryDirectory(prefix="bench-store-") as folder:
                config = FrameStoreConfig(uri=folder, quality=quality)
                for step in (f"front end, filling a {quality} store", f"front end, from a {quality} store"):
                    (found, _), spent_s = _timed(reader, partial(read, FrameReader(reader, config)))
                    self.core_s.setdefault(step, []).append(spent_s)
                    if quality == "lossless":
                        self.num_differing += sum(one != other for one, other in zip(decoded, found, strict=True))
                self.stored_bytes[quality] = sum(file.stat().st_size for file in Path(folder).glob("*/*.frames"))


def _others(probe: VideoProbe, wanted: IntArray, size: tuple[int, int]) -> dict[str, Callable[[], None]]:
    """Those that are installed; each has read one frame, so that its loading does not count."""
    found: dict[str, Callable[[], None]] = {}
    for name, read in (
        ("decord", decord_sequential),
        ("PyAV", pyav_sequential),
        ("torchcodec", torchcodec_sequential),
    ):
        try:
            read(probe, wanted[:1], size)
        except ImportError:
            continue
        found[f"{name} sequential"] = partial(read, probe, wanted, size)
    return found


def _read_all(
    probe: VideoProbe, wanted: IntArray, size: tuple[int, int], frames: FrameReader
) -> tuple[list[DecodedFrames], int]:
    """Stretch by stretch, as a job does."""
    most = max(1, STRETCH_BYTES // (size[0] * size[1] * 3))
    found = [
        frames.decode(probe, one.frame_indices, size=size, backend="auto", fingerprint="0" * 16, uri="film")
        for one in cut_stretches(probe, wanted, num_stretches=1, max_frames=most)
    ]
    assert not frames.take_notes()
    return found, sum(one.num_frames_decoded for one in found)


def _timed(
    reader: IsolatedReader, read: Callable[[], tuple[list[DecodedFrames], int]]
) -> tuple[tuple[list[int], int], float]:
    """Checksums of what was read, and how many were decoded; core seconds, the checksums not counted."""
    started_s = _spent_s(reader)
    decoded, num_decoded = read()
    spent_s = _spent_s(reader) - started_s
    return ([check_pixels(frame) for one in decoded for frame in one.frames], num_decoded), spent_s


def _core_seconds(reader: IsolatedReader, read: Callable[[], None]) -> float:
    started_s = _spent_s(reader)
    read()
    return _spent_s(reader) - started_s


def _spent_s(reader: IsolatedReader) -> float:
    """CPU seconds of this process, of its children that have ended, and of the child that runs."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    spent_s = sum(one.ru_utime + one.ru_stime for one in used)
    if reader.child_pid is not None:
        fields = Path(f"/proc/{reader.child_pid}/stat").read_text().rpartition(")")[2].split()
        spent_s += (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return spent_s
