"""Reads thousands of damaged videos and watches the reader: does it answer in time, live on, and give memory back?"""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np

from pipeline.failures import FailureClass, PipelineError
from pipeline.lab.benchmarks.memory import proportional_bytes
from pipeline.lab.benchmarks.mutations import MUTATION_KINDS, mutate
from pipeline.settings.sources import ReadingConfig
from pipeline.video.decode import check_bad_share
from pipeline.video.isolated import IsolatedReader
from pipeline.video.sources import local_video

SIZE = (56, 84)
NUM_SAMPLED = 24
MAX_BAD_SHARE = 0.05
GRACE_S = 2.0
MEMORY_GROWTH = 1.2
EARLY, LATE = range(10, 20), range(190, 200)  # videos around the 20th and the 200th
_MIB = 1024**2
_NUM_FRAMES, _WIDTH, _HEIGHT, _GOP, _FPS = 36, 96, 64, 12, 25
_SOURCES = {
    "index_last.mp4": ("libx264", {}),
    "index_first.mp4": ("libx264", {"movflags": "faststart"}),
    "fragments.mp4": ("libx264", {"movflags": "frag_keyframe+empty_moov"}),
    "h264.mkv": ("libx264", {}),
    "h264.ts": ("libx264", {}),
    "vp9.webm": ("libvpx-vp9", {}),
    "mpeg4.avi": ("mpeg4", {}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FuzzReport:
    """What happened. Memory is proportional set size, the largest of ten videos; 0 where no child was alive.

    Attributes:
        outcomes: files by how they ended: ``ok``, ``ok-with-warning`` or a failure class.
        sandbox: layers that held the child.
        slowest_s: the longest wait for one answer of the reader.
        late: files of which an answer took longer than the deadline and ``GRACE_S``.
        internal: files that ended as ``internal``, with the message.
        leaked_pids: processes that were left when the reader had been closed.
    """

    num_files: int
    sandbox: str
    seed: int
    timeout_s: float
    wall_s: float
    slowest_s: float
    outcomes: dict[str, int]
    outcomes_by_kind: dict[str, dict[str, int]]
    late: tuple[str, ...]
    internal: tuple[str, ...]
    leaked_pids: tuple[int, ...]
    child_bytes_at_20: int
    child_bytes_at_200: int
    parent_bytes_at_20: int
    parent_bytes_at_200: int

    @property
    def problems(self) -> tuple[str, ...]:
        """What must not be; empty when all is well."""
        found = [f"late: {name}" for name in self.late] + [f"internal: {name}" for name in self.internal]
        found += [f"leaked process: {pid}" for pid in self.leaked_pids]
        for who, early, late in (
            ("child", self.child_bytes_at_20, self.child_bytes_at_200),
            ("parent", self.parent_bytes_at_20, self.parent_bytes_at_200),
        ):
            if late > MEMORY_GROWTH * early:
                found.append(f"memory of the {who} grew from {early / _MIB:.0f} to {late / _MIB:.0f} MiB")
        return tuple(found)


@dataclass(slots=True)
class _Tally:
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in MUTATION_KINDS})
    late: list[str] = field(default_factory=list)
    internal: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    memory: dict[tuple[str, range], int] = field(default_factory=dict)

    def watch_memory(self, index: int, reader: IsolatedReader) -> None:
        for window in (EARLY, LATE):
            if index in window:
                for who, pid in (("parent", os.getpid()), ("child", reader.child_pid)):
                    num_bytes = proportional_bytes(pid) if pid else 0
                    self.memory[who, window] = max(self.memory.get((who, window), 0), num_bytes)


def write_sources(folder: Path) -> dict[str, bytes]:
    """Good videos of some containers, by name: 36 frames of 96 x 64."""
    import av

    sources = {}
    for name, (codec, options) in _SOURCES.items():
        with av.open(str(folder / name), "w", options=options) as out:
            stream = out.add_stream(codec, rate=_FPS)
            stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
            stream.codec_context.time_base = Fraction(1, _FPS)
            stream.codec_context.gop_size = _GOP
            for index in range(_NUM_FRAMES):
                y, x = np.mgrid[0:_HEIGHT, 0:_WIDTH]
                picture = np.stack([x * 2 + index * 5, y * 2 + index * 3, x + y + index], axis=-1).astype(np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(stream.encode())
        sources[name] = (folder / name).read_bytes()
    return sources


def fuzz_reader(
    sources: Mapping[str, bytes],
    folder: Path,
    *,
    count: int,
    seed: int,
    timeout_s: float,
    sandbox: Literal["require", "auto", "off"] = "auto",
    on_file: Callable[[int], None] = lambda index: None,
) -> FuzzReport:
    """Send mutants through one ``IsolatedReader``: probe, then some sampled frames.

    Args:
        sources: good files by name; they and the kinds of damage take turns.
        folder: where each mutant lies while it is read.
        count: how many mutants.
        seed: mutant n depends on the seed and n only.
        timeout_s: the reader's deadline.
        sandbox: ``reading.sandbox``.
        on_file: called after each file with its number.
    """
    names = sorted(sources)
    reading = ReadingConfig(decode_timeout_s=timeout_s, decode_memory_bytes=1024**3, sandbox=sandbox)
    children_before, started, tally = child_pids(), time.monotonic(), _Tally()
    reader = IsolatedReader(reading, max_bad_frames_share=MAX_BAD_SHARE)
    try:
        for index in range(count):
            name, kind = names[index % len(names)], MUTATION_KINDS[index // len(names) % len(MUTATION_KINDS)]
            mutant = folder / f"{index:05}_{kind}_{name}"
            mutant.write_bytes(mutate(sources[name], Random(f"{seed} {index}"), kind=kind))
            _read_one(mutant, kind, reader, reading, tally)
            mutant.unlink()
            tally.watch_memory(index, reader)
            on_file(index)
    finally:
        reader.close()
    total: Counter[str] = sum(tally.outcomes.values(), Counter())
    return FuzzReport(
        num_files=count,
        sandbox=reader.sandbox,
        seed=seed,
        timeout_s=timeout_s,
        wall_s=time.monotonic() - started,
        slowest_s=tally.slowest_s,
        outcomes=dict(total.most_common()),
        outcomes_by_kind={kind: dict(counts.most_common()) for kind, counts in tally.outcomes.items()},
        late=tuple(tally.late),
        internal=tuple(tally.internal),
        leaked_pids=tuple(sorted(child_pids() - children_before)),
        child_bytes_at_20=tally.memory.get(("child", EARLY), 0),
        child_bytes_at_200=tally.memory.get(("child", LATE), 0),
        parent_bytes_at_20=tally.memory.get(("parent", EARLY), 0),
        parent_bytes_at_200=tally.memory.get(("parent", LATE), 0),
    )


def _read_one(path: Path, kind: str, reader: IsolatedReader, reading: ReadingConfig, tally: _Tally) -> None:
    waits: list[float] = []
    try:
        outcome = _probe_and_decode(path, reader, reading, waits)
    except PipelineError as error:
        outcome = str(error.failure_class)
        if error.failure_class is FailureClass.INTERNAL:
            tally.internal.append(f"{path.name}: {error.message}")
    tally.outcomes[kind][outcome] += 1
    tally.slowest_s = max(tally.slowest_s, *waits, 0.0)
    if max(waits, default=0.0) > reading.decode_timeout_s + GRACE_S:
        tally.late.append(f"{path.name}: {max(waits):.1f} s")


def _probe_and_decode(path: Path, reader: IsolatedReader, reading: ReadingConfig, waits: list[float]) -> str:
    with local_video(str(path), reading=reading) as local:
        started = time.monotonic()
        try:
            probe = reader.probe(local)
            waits.append(time.monotonic() - started)
            started = time.monotonic()
            wanted = np.unique(np.linspace(0, probe.num_frames - 1, NUM_SAMPLED).astype(np.int64))
            num_bad = len(reader.decode(probe, wanted, size=SIZE).bad_frames)
        finally:
            waits.append(time.monotonic() - started)
    check_bad_share(probe, num_bad=num_bad, num_wanted=len(wanted), max_bad_frames_share=MAX_BAD_SHARE)
    return "ok-with-warning" if num_bad + probe.num_missing_frames + len(probe.warnings) else "ok"


def child_pids() -> set[int]:
    """This process's children, ended and unburied ones included."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(entry.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(entry.parent.name))
        except (OSError, IndexError):  # it has ended meanwhile
            continue
    return found
