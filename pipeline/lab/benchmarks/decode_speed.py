"""How fast the front end reads a video for all its groups, against plain readers of the same frames in the same run.

k = encoded frames per sampled frame. Every time is the smallest of some repetitions, which are interleaved.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.lab.benchmarks.decode_readers import (
    decord_per_group,
    decord_sequential,
    pyav_sequential,
    torchcodec_sequential,
)
from pipeline.lab.benchmarks.streams import write_stream
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import ModelLayout
from pipeline.planning.video_plan import VideoPlan, plan_video
from pipeline.settings.config import RunConfig, SamplingConfig
from pipeline.settings.sources import ReadingConfig
from pipeline.video.decode_plan import Stretch
from pipeline.video.isolated import IsolatedReader
from pipeline.video.probe import VideoProbe, probe_video

SAMPLE_FPS = 2
NUM_GROUPS_TIMED = 3  # of the reader that reads each group alone; the rest is extrapolated


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeCase:
    """One file and what is wanted of it."""

    name: str
    encoded_per_sample: int
    gop: int
    num_samples: int
    seek: str = "exact"


CASES = (
    DecodeCase(name="k=1", encoded_per_sample=1, gop=250, num_samples=10_000),
    DecodeCase(name="k=10", encoded_per_sample=10, gop=250, num_samples=4_000),
    DecodeCase(name="k=30", encoded_per_sample=30, gop=250, num_samples=2_000),
    DecodeCase(name="k=30, GOP 30, keyframe mode", encoded_per_sample=30, gop=30, num_samples=2_000, seek="keyframe"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeTimes:
    """Seconds by reader; ``num_decoded`` is the front end's own count."""

    case: DecodeCase
    seconds: Mapping[str, float]
    num_wanted: int
    num_decoded: int
    num_groups: int


def measure_decode(
    case: DecodeCase, *, folder: Path, layout: ModelLayout, config: RunConfig, repeats: int
) -> DecodeTimes:
    """Time all readers on one file."""
    num_encoded = case.num_samples * case.encoded_per_sample
    path = write_stream(
        folder / f"n{num_encoded}-k{case.encoded_per_sample}-gop{case.gop}.mp4",
        num_frames=num_encoded,
        fps=SAMPLE_FPS * case.encoded_per_sample,
        gop=case.gop,
    )
    plan_for = partial(_plan, layout=layout, config=config)
    probe = probe_video(str(path))
    exact, wanted = plan_for(probe, seek="exact"), plan_for(probe, seek=case.seek)
    size = (exact.geometry.height, exact.geometry.width)
    readers: dict[str, Callable[[], float]] = {
        "decord sequential": partial(_timed, decord_sequential, exact.probe, exact.sample.frame_indices, size),
        "PyAV sequential": partial(_timed, pyav_sequential, exact.probe, exact.sample.frame_indices, size),
        "PyAV sequential, FFmpeg threads": partial(
            _timed, partial(pyav_sequential, is_threaded=True), exact.probe, exact.sample.frame_indices, size
        ),
        "torchcodec sequential": partial(_timed, torchcodec_sequential, exact.probe, exact.sample.frame_indices, size),
    }
    seconds: dict[str, list[float]] = {}
    with _FrontEnd(str(path), partial(plan_for, seek=case.seek)) as front:
        readers |= {"front end, 1 decoder": partial(front.read, 1), "front end, 2 decoders": partial(front.read, 2)}
        for _ in range(repeats):
            for name, read in readers.items():
                try:
                    seconds.setdefault(name, []).append(read())
                except ImportError:
                    continue
        num_decoded = front.num_decoded
    best = {name: min(values) for name, values in seconds.items() if values}
    if case.seek == "exact":
        best["decord per group"] = _time_per_group(exact, size)
    return DecodeTimes(
        case=case,
        seconds=best,
        num_wanted=wanted.sample.num_frames,
        num_decoded=num_decoded,
        num_groups=len(wanted.groups),
    )


def _plan(probe: VideoProbe, *, layout: ModelLayout, config: RunConfig, seek: str, num_decoders: int = 1) -> VideoPlan:
    sampling = SamplingConfig(
        sample_fps=float(SAMPLE_FPS),
        seek=seek,  # type: ignore[arg-type]
        min_pixels=config.sampling.min_pixels,
        max_pixels=config.sampling.max_pixels,
    )
    changed = RunConfig(sampling=sampling, execution=replace(config.execution, num_decoders=num_decoders))
    return plan_video(probe, layout=layout, selector=get_selector("adapttoken"), config=changed)


def _timed(read: Callable[..., None], *arguments: object) -> float:
    started = time.perf_counter()
    read(*arguments)
    return time.perf_counter() - started


def _time_per_group(plan: VideoPlan, size: tuple[int, int]) -> float:
    groups = [np.unique(plan.group_frames(position)) for position in range(min(NUM_GROUPS_TIMED, len(plan.groups)))]
    return _timed(decord_per_group, plan.probe, groups, size) * len(plan.groups) / len(groups)


class _FrontEnd:
    """The front end as decoders run it: probe, plan, stretches in child processes, frames bundled by group."""

    def __init__(self, path: str, plan: Callable[..., VideoPlan]) -> None:
        self._path, self._plan = path, plan
        self._readers = [IsolatedReader(ReadingConfig(), max_bad_frames_share=0.05) for _ in range(2)]
        self._pool = ThreadPoolExecutor(len(self._readers))  # a child dies with the thread that started it
        self.num_decoded = 0

    def __enter__(self) -> "_FrontEnd":
        for reader in self._readers:
            reader.probe(self._path)  # starts its child
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.close()
        self._pool.shutdown()

    def read(self, num_decoders: int) -> float:
        """Seconds for all passes."""
        started = time.perf_counter()
        plan = self._plan(self._readers[0].probe(self._path), num_decoders=num_decoders)
        self.num_decoded = 0
        for decode_pass in plan.passes:
            queue = list(decode_pass.stretches)
            drain = partial(_drain, plan, queue)
            self.num_decoded += sum(self._pool.map(drain, self._readers[:num_decoders]))
        return time.perf_counter() - started


def _drain(plan: VideoPlan, queue: list[Stretch], reader: IsolatedReader) -> int:
    """Read stretches until none is left, and copy out each group's frames; returns how many were decoded."""
    num_decoded = 0
    while queue:
        try:
            stretch = queue.pop()
        except IndexError:  # the other decoder was faster
            break
        decoded = reader.decode(plan.probe, stretch.frame_indices, size=plan.decode_size)
        num_decoded += decoded.num_frames_decoded
        for position in range(len(plan.groups)):
            is_shown = np.isin(stretch.frame_indices, plan.group_frames(position))
            decoded.frames[is_shown].copy()
    return num_decoded
