"""What videos cost, from the headers of some of them; the others are taken for their average."""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.record_table import IntArray
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import FrameGeometry, ModelLayout
from pipeline.planning.assumed_video import assume_video
from pipeline.planning.headers import Header, fetch_header
from pipeline.planning.video_plan import VideoPlan, plan_video
from pipeline.settings.config import RunConfig
from pipeline.uris import StorageOptions
from pipeline.video.isolated import IsolatedReader
from pipeline.video.probe import VideoProbe

PROBE_TIMEOUT_S = 60.0
ASSUMED_DURATION_S, ASSUMED_FPS, ASSUMED_SIZE, ASSUMED_GOP = 3_600, 30, (720, 1280), 250


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoCost:
    """What reading and encoding one video takes; counts in frames of the video unless said otherwise.

    Attributes:
        num_tokens: visual tokens of all groups.
        frame_pixels: of a frame as it is stored.
        group_patches: temporal patches of each group.
        geometry: of the frames as the model is shown them.
    """

    duration_s: float
    num_sampled_frames: int
    num_frames_to_decode: int
    num_passes: int
    num_tokens: int
    frame_pixels: int
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
    uris: Sequence[str], *, config: RunConfig, layout: ModelLayout, storage_options: StorageOptions, max_probes: int
) -> VideoSample:
    """Read the headers of at most ``max_probes`` videos, evenly over the list, and plan each as a run would.

    Never fetches a remote video as a whole. Reads in a child process, as a run does.
    """
    chosen: list[int] = np.unique(np.linspace(0, len(uris) - 1, min(max_probes, len(uris))).astype(int)).tolist()
    reading = replace(config.reading, decode_timeout_s=min(PROBE_TIMEOUT_S, config.reading.decode_timeout_s))
    costs: dict[str, VideoCost] = {}
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
                costs[uris[index]] = plan_cost(probe, config=config, layout=layout)
            except PipelineError as error:
                if header.is_whole or error.failure_class is FailureClass.TOO_LARGE:
                    failures[error.failure_class] = failures.get(error.failure_class, 0) + 1
                else:
                    num_unreadable += 1  # what the copy lacks may have been needed
            copy.unlink(missing_ok=True)
    return VideoSample(
        costs=tuple(costs.values()) or (plan_cost(_assumed_probe(), config=config, layout=layout),),
        probed=tuple(costs),
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


def plan_cost(probe: VideoProbe, *, config: RunConfig, layout: ModelLayout) -> VideoCost:
    """Plan one video.

    Raises:
        PipelineError: As ``plan_video``.
    """
    plan: VideoPlan = plan_video(probe, layout=layout, selector=get_selector(config.method), config=config)
    patches = tuple(len(group) for group in plan.groups)
    return VideoCost(
        duration_s=probe.duration_s,
        num_sampled_frames=plan.sample.num_frames,
        num_frames_to_decode=sum(one.num_frames_to_decode for one in plan.passes),
        num_passes=len(plan.passes),
        num_tokens=sum(patches) * plan.geometry.tokens_per_patch,
        frame_pixels=probe.width * probe.height,
        group_patches=patches,
        geometry=plan.geometry,
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
