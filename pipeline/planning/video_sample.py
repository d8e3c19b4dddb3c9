"""What videos cost, from the headers of some of them; the others are taken for their average."""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.record_table import IntArray
from pipeline.manifest.time_range import TimeRange
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import FrameGeometry, ModelLayout
from pipeline.planning.assumed_video import assume_video
from pipeline.planning.decode_cost import FrameReading
from pipeline.planning.headers import Header, coded_video_bytes, fetch_header
from pipeline.planning.video_plan import VideoPlan, plan_video
from pipeline.settings.config import RunConfig
from pipeline.uris import StorageOptions
from pipeline.video.isolated import IsolatedReader
from pipeline.video.probe import VideoProbe

PROBE_TIMEOUT_S = 60.0
ASSUMED_DURATION_S, ASSUMED_FPS, ASSUMED_SIZE, ASSUMED_GOP = 3_600, 30, (720, 1280), 250
ASSUMED_BYTES_PER_S = 312_500  # 2.5 Mbit/s


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoCost:
    """What reading and encoding one video takes; counts in frames of the video unless said otherwise.

    Attributes:
        num_tokens: visual tokens of all groups.
        decoding: what its frames take.
        num_keyframes_decoded: the same count with ``sampling.seek=keyframe``; None where that is set, or not possible.
        group_patches: temporal patches of each group.
        geometry: of the frames as the model is shown them.
        duration_s: of the video, or of the part of it that is asked about.
    """

    duration_s: float
    num_sampled_frames: int
    num_frames_to_decode: int
    num_passes: int
    num_tokens: int
    decoding: FrameReading
    num_keyframes_decoded: int | None
    group_patches: tuple[int, ...]
    geometry: FrameGeometry

    @property
    def group_num_tokens(self) -> IntArray:
        """``(G,)`` visual tokens of each group."""
        return np.array(self.group_patches, np.int64) * self.geometry.tokens_per_patch


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoSample:
    """What the headers said.

    Attributes:
        costs: of the videos that were read; of one assumed video if none was.
        probed: their addresses.
        is_assumed: whether none was.
        num_unreadable: headers that only the whole file, or a network beyond reach, would have given.
        failures: class -> number of videos that will fail, as their headers say.
    """

    costs: tuple[VideoCost, ...]
    probed: tuple[str, ...]
    is_assumed: bool
    num_unreadable: int
    failures: dict[str, int]
    bytes_read: int


def sample_videos(
    uris: Sequence[str],
    *,
    config: RunConfig,
    layout: ModelLayout,
    storage_options: StorageOptions,
    max_probes: int,
    ranges: Sequence[TimeRange | None] = (),
) -> VideoSample:
    """Read the headers of at most ``max_probes`` videos, evenly over the list, and plan each as a run would.

    Never fetches a remote video as a whole. Reads in a child process, as a run does.

    Args:
        uris: of the videos.
        config: of the run.
        layout: of the model.
        storage_options: for remote videos.
        max_probes: at most so many headers are read.
        ranges: the part of each video that is asked about; empty: all of each.
    """
    chosen: list[int] = np.unique(np.linspace(0, len(uris) - 1, min(max_probes, len(uris))).astype(int)).tolist()
    reading = replace(config.reading, decode_timeout_s=min(PROBE_TIMEOUT_S, config.reading.decode_timeout_s))
    costs: list[VideoCost] = []
    probed: list[str] = []
    failures: dict[str, int] = {}
    bytes_read = num_unreadable = 0
    reader = IsolatedReader(reading, max_bad_frames_share=config.sampling.max_bad_frames_share)
    with tempfile.TemporaryDirectory(prefix="adapttoken-plan-") as folder, closing(reader):
        for index in chosen:
            copy = Path(folder) / "header"
            try:
                header = fetch_header(uris[index], copy, storage_options=storage_options)
            except PipelineError:
                num_unreadable += 1
                continue
            bytes_read += header.bytes_read
            try:
                probe = with_keyframes(reader.probe(header.path), header)
                size_bytes = coded_video_bytes(Path(header.path))
                part = ranges[index] if ranges else None
                costs.append(plan_cost(probe, config=config, layout=layout, size_bytes=size_bytes, time_range=part))
                probed.append(uris[index])
            except PipelineError as error:
                if header.is_whole or error.failure_class in (FailureClass.TOO_LARGE, FailureClass.MANIFEST):
                    failures[error.failure_class] = failures.get(error.failure_class, 0) + 1
                else:
                    num_unreadable += 1  # what the copy lacks may have been needed
            copy.unlink(missing_ok=True)
    return VideoSample(
        costs=tuple(costs) or (_assumed_cost(ranges, config=config, layout=layout),),
        probed=tuple(probed),
        is_assumed=not costs,
        num_unreadable=num_unreadable,
        failures=failures,
        bytes_read=bytes_read,
    )


def with_keyframes(probe: VideoProbe, header: Header) -> VideoProbe:
    """The timeline with the keyframes that the header's index names; stored order stands for that of presentation."""
    if header.is_whole:
        return probe
    every = np.arange(probe.num_frames, dtype=np.int64)
    indices = every if header.keyframes is None else np.intersect1d(every, np.append(header.keyframes, 0))
    pts = probe.pts[indices]
    return replace(probe, keyframe_indices=indices, keyframe_pts=pts, keyframe_dts=pts)


def plan_cost(
    probe: VideoProbe,
    *,
    config: RunConfig,
    layout: ModelLayout,
    size_bytes: int,
    time_range: TimeRange | None = None,
) -> VideoCost:
    """Plan one video of a file of that size, or the part of it that is asked about.

    Raises:
        PipelineError: As ``plan_video``.
    """
    selector = get_selector(config.method)
    plan: VideoPlan = plan_video(probe, layout=layout, selector=selector, config=config, time_range=time_range)
    patches = tuple(len(group) for group in plan.groups)
    return VideoCost(
        duration_s=plan.end_s - plan.start_s,
        num_sampled_frames=plan.sample.num_frames,
        num_frames_to_decode=_count_decoded(plan),
        num_passes=len(plan.passes),
        num_tokens=sum(patches) * plan.geometry.tokens_per_patch,
        decoding=FrameReading(
            codec=probe.codec,
            bit_depth=probe.bit_depth,
            frame_pixels=probe.width * probe.height,
            coded_bytes=size_bytes / probe.num_frames,
            num_decoded=_count_decoded(plan),
            num_wanted=plan.sample.num_frames,
            wanted_pixels=plan.frame_bytes // 3,
        ),
        num_keyframes_decoded=_count_with_keyframes(probe, config=config, layout=layout, time_range=time_range),
        group_patches=patches,
        geometry=plan.geometry,
    )


def _count_decoded(plan: VideoPlan) -> int:
    return sum(one.num_frames_to_decode for one in plan.passes)


def _count_with_keyframes(
    probe: VideoProbe, *, config: RunConfig, layout: ModelLayout, time_range: TimeRange | None
) -> int | None:
    sampling = config.sampling
    if sampling.seek == "keyframe" or sampling.snap_tolerance_s > 0.5 / sampling.sample_fps:
        return None
    changed, selector = replace(config, sampling=replace(sampling, seek="keyframe")), get_selector(config.method)
    return _count_decoded(plan_video(probe, layout=layout, selector=selector, config=changed, time_range=time_range))


def _assumed_cost(ranges: Sequence[TimeRange | None], *, config: RunConfig, layout: ModelLayout) -> VideoCost:
    """Of the first part that an assumed video has."""
    part = ranges[0] if ranges else None
    is_in_it = part is None or part.start_s < ASSUMED_DURATION_S
    return plan_cost(
        _assumed_probe(),
        config=config,
        layout=layout,
        size_bytes=ASSUMED_DURATION_S * ASSUMED_BYTES_PER_S,
        time_range=part if is_in_it else None,
    )


def _assumed_probe() -> VideoProbe:
    """An hour of 720p at 30 frames per second: what is planned with where no header can be read."""
    height, width = ASSUMED_SIZE
    return assume_video(
        "an assumed video",
        num_frames=ASSUMED_DURATION_S * ASSUMED_FPS,
        fps=ASSUMED_FPS,
        gop_frames=ASSUMED_GOP,
        height=height,
        width=width,
    )
