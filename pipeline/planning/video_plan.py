"""What will be done with one video: sampled frames, groups in visiting order, decode passes. Pure, from the probe.

Shape suffixes: F = sampled frames, P = temporal patches, G = groups
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.time_range import LEAST_RANGE_S, TimeRange
from pipeline.method.grouping import count_groups, plan_groups, visiting_order
from pipeline.method.sampling import FrameSample, patch_frames, sample_frames, sample_keyframes
from pipeline.method.selectors.base import Selector
from pipeline.models.interface import FrameGeometry, ModelLayout
from pipeline.planning.stretches import most_stretch_bytes, stretches_per_pass
from pipeline.settings.config import RunConfig, SamplingConfig
from pipeline.video.decode_plan import DecodePass, plan_decode
from pipeline.video.probe import VideoProbe

IntArray = npt.NDArray[np.int64]
PROMPT_POSITIONS = 1_024  # room left for the text around the video
_NUMBER_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VideoPlan:
    """One video's plan; positions 0 … G-1 are in visiting order.

    Attributes:
        patch_frames: ``(P, frames per patch)`` positions in the sample.
        patch_times_s: ``(P,)`` presentation time at which each temporal patch starts.
        groups: per position, its temporal patches, ascending.
        group_indices: per position, the group's number in time.
        group_num_frames: per position, different frames it shows; a repeated last frame is held once.
        token_bytes: what one visual token's features take.
        writes_start_times: what the model is told of a patch's time is its start, not the mean of its frames.
        time_range: the part that is asked about, as it was written; None: all.
    """

    probe: VideoProbe
    sample: FrameSample
    geometry: FrameGeometry
    patch_frames: IntArray
    patch_times_s: npt.NDArray[np.float64]
    groups: tuple[IntArray, ...]
    group_indices: tuple[int, ...]
    group_num_frames: tuple[int, ...]
    passes: tuple[DecodePass, ...]
    decode_size: tuple[int, int] | None
    token_bytes: int
    writes_start_times: bool = False
    time_range: TimeRange | None = None

    @property
    def start_s(self) -> float:
        """Where the part that is asked about begins; no patch starts earlier."""
        return 0.0 if self.time_range is None else self.time_range.start_s

    @property
    def end_s(self) -> float:
        """Where that part, or the video before it, ends."""
        end_s = None if self.time_range is None else self.time_range.end_s
        return self.probe.duration_s if end_s is None else min(end_s, self.probe.duration_s)

    @property
    def num_chosen(self) -> int:
        """Temporal patches of all groups."""
        return sum(len(group) for group in self.groups)

    @property
    def group_num_tokens(self) -> IntArray:
        """Per position, visual tokens of its group."""
        return np.array([len(group) for group in self.groups], dtype=np.int64) * self.geometry.tokens_per_patch

    @property
    def patch_centers_s(self) -> npt.NDArray[np.float64]:
        """``(P,)`` mean presentation time of each temporal patch's frames; or their first, as the model was trained."""
        return self.centers_of(np.arange(len(self.patch_frames)))

    def centers_of(self, patches: IntArray) -> npt.NDArray[np.float64]:
        """The same of some patches."""
        if self.writes_start_times:
            return self.patch_times_s[patches]
        return np.asarray(self.sample.times_s[self.patch_frames[patches]].mean(axis=1))

    @property
    def frame_bytes(self) -> int:
        """Bytes of one decoded frame."""
        height, width = self.decode_size or (self.probe.height, self.probe.width)
        return height * width * 3

    def group_bytes(self, position: int) -> int:
        """Bytes that a group's decoded frames take."""
        return self.group_num_frames[position] * self.frame_bytes

    @property
    def most_reading_bytes(self) -> int:
        """Bytes that the largest reading's frames take."""
        return max(reading.num_frames for reading in self.passes) * self.frame_bytes

    def group_frames(self, position: int) -> IntArray:
        """Frames of the video that fill a group's slots, in slot order."""
        return self.sample.frame_indices[self.patch_frames[self.groups[position]].reshape(-1)]


def plan_video(
    probe: VideoProbe,
    *,
    layout: ModelLayout,
    selector: Selector,
    config: RunConfig,
    num_videos: int = 1,
    most_group_bytes: int | None = None,
    time_range: TimeRange | None = None,
    room_bytes: int | None = None,
) -> VideoPlan:
    """Plan one video of a job with ``num_videos``, or the part of it that is asked about.

    ``most_group_bytes``: of one group, else the buffer. ``room_bytes``: of frames, if less; nothing is refused for it.

    Raises:
        PipelineError: ``MANIFEST`` when that part begins after the video's end; ``TOO_LARGE`` when a group exceeds the
            frame buffer or what the method needs the budget or context; ``UNSUPPORTED_MEDIA``: no frame size suits.
    """
    sample = _choose_frames(probe, config.sampling, time_range)
    geometry = _fit_geometry(probe, layout, config)
    frames_PF = patch_frames(sample.num_frames, frames_per_patch=layout.frames_per_patch)
    chosen = selector.choose_patches(
        len(frames_PF),
        tokens_per_patch=geometry.tokens_per_patch,
        token_budget=config.budget.token_budget,
        keep_ratio=config.budget.keep_ratio,
    )
    _check_context(probe, len(chosen) * geometry.tokens_per_patch, layout=layout, selector=selector, config=config)
    in_time = _cut_groups(chosen, layout=layout, selector=selector, config=config)
    _check_budget(probe, len(in_time), geometry, selector=selector, config=config)
    order = visiting_order(len(in_time))
    groups = tuple(in_time[index] for index in order)
    decode_size = (geometry.height, geometry.width) if config.sampling.resize == "decode" else None
    passes = _plan_passes(
        probe,
        sample,
        frames_PF,
        groups,
        decode_size=decode_size,
        can_stop=selector.can_stop,
        config=config,
        num_videos=num_videos,
        rooms=(most_group_bytes, room_bytes),
    )
    return VideoPlan(
        probe=probe,
        sample=sample,
        geometry=geometry,
        patch_frames=frames_PF,
        patch_times_s=_patch_times(sample, frames_PF, time_range),
        groups=groups,
        group_indices=tuple(int(index) for index in order),
        group_num_frames=tuple(len(np.unique(frames_PF[group])) for group in groups),
        passes=passes,
        decode_size=decode_size,
        token_bytes=layout.feature_width * _number_bytes(config),
        writes_start_times=getattr(layout, "writes_start_times", False),
        time_range=time_range,
    )


def _plan_passes(
    probe: VideoProbe,
    sample: FrameSample,
    frames_PF: IntArray,
    groups: tuple[IntArray, ...],
    *,
    decode_size: tuple[int, int] | None,
    can_stop: bool,
    config: RunConfig,
    num_videos: int,
    rooms: tuple[int | None, int | None],
) -> tuple[DecodePass, ...]:
    """How the groups' frames are read; ``rooms``: of one group, of all frames, each unless it is the buffer's."""
    execution, (height, width) = config.execution, decode_size or (probe.height, probe.width)
    most_group_bytes, room_bytes = (execution.frame_room_bytes if room is None else room for room in rooms)
    return plan_decode(
        probe,
        sample.frame_indices,
        frames_PF,
        groups,
        frame_bytes=height * width * 3,
        frame_buffer_bytes=room_bytes,
        most_group_bytes=most_group_bytes,
        num_stretches=stretches_per_pass(
            num_videos=num_videos,
            num_decoders=execution.decoders,
            num_scorers=execution.scorers,
            groups_in_hand=execution.groups_per_call,
            num_certain=min(len(groups), config.stopping.confident_groups) if can_stop else len(groups),
        ),
        growing=can_stop,
        stretch_bytes=most_stretch_bytes(
            num_videos=num_videos,
            num_decoders=execution.decoders,
            frame_buffer_bytes=room_bytes,
        ),
    ).passes


def _number_bytes(config: RunConfig) -> int:
    """Of one feature; what loading chooses is 16 bits on a GPU, 32 without."""
    default = 2 if config.execution.gpus else 4
    return _NUMBER_BYTES.get(config.model.dtype, default)


def _choose_frames(probe: VideoProbe, sampling: SamplingConfig, time_range: TimeRange | None) -> FrameSample:
    part = time_range or TimeRange()
    if probe.duration_s - part.start_s < LEAST_RANGE_S and time_range is not None:
        raise PipelineError(
            FailureClass.MANIFEST,
            f"start_s={part.start_s:g} lies at or after the end of {probe.path}, which is {probe.duration_s:g} s long; "
            "correct start_s and end_s in the manifest",
        )
    if sampling.seek == "exact":
        return sample_frames(
            probe.pts_s,
            duration_s=probe.duration_s,
            sample_fps=sampling.sample_fps,
            max_frames=sampling.max_frames,
            start_s=part.start_s,
            end_s=part.end_s,
        )
    # frame 0 stands in the index even where an edit list hides its keyframe: then it is no keyframe itself
    is_keyframe = probe.keyframe_pts == probe.pts[probe.keyframe_indices]
    return sample_keyframes(
        probe.pts_s,
        probe.keyframe_indices[is_keyframe],
        duration_s=probe.duration_s,
        sample_fps=sampling.sample_fps,
        max_frames=sampling.max_frames,
        snap_tolerance_s=sampling.snap_tolerance_s,
        start_s=part.start_s,
        end_s=part.end_s,
    )


def _patch_times(sample: FrameSample, frames_PF: IntArray, time_range: TimeRange | None) -> npt.NDArray[np.float64]:
    """``(P,)``; what came on show before the part that is asked about begins with it."""
    times_s_P = sample.times_s[frames_PF[:, 0]]
    return times_s_P if time_range is None else np.maximum(times_s_P, time_range.start_s)


def _fit_geometry(probe: VideoProbe, layout: ModelLayout, config: RunConfig) -> FrameGeometry:
    try:
        return layout.frame_geometry(
            probe.height, probe.width, min_pixels=config.sampling.min_pixels, max_pixels=config.sampling.max_pixels
        )
    except ValueError as error:
        raise PipelineError(FailureClass.UNSUPPORTED_MEDIA, f"{probe.path}: {error}; crop the video.") from error


def _cut_groups(chosen: IntArray, *, layout: ModelLayout, selector: Selector, config: RunConfig) -> list[IntArray]:
    """By the settings, where the selector has no rule of its own."""
    rule = selector.group_rule
    frames_per_group = (rule.patches_per_group or 0) * layout.frames_per_patch or config.sampling.frames_per_group
    num_groups = count_groups(len(chosen) * layout.frames_per_patch, frames_per_group=frames_per_group)
    groups = plan_groups(len(chosen), num_groups=num_groups, grouping=rule.grouping or config.sampling.grouping)
    return [chosen[group] for group in groups]


def _check_budget(
    probe: VideoProbe, num_groups: int, geometry: FrameGeometry, *, selector: Selector, config: RunConfig
) -> None:
    """A method may need more of it than there is."""
    reason = selector.refusal(num_groups, config.budget, tokens_per_patch=geometry.tokens_per_patch)
    if reason is not None:
        raise PipelineError(FailureClass.TOO_LARGE, f"{probe.path}: method {selector.name!r} cannot answer: {reason}")


def _check_context(
    probe: VideoProbe, num_tokens: int, *, layout: ModelLayout, selector: Selector, config: RunConfig
) -> None:
    """A method that keeps everything must fit into the positions the model was trained for."""
    if selector.final_budget(config.budget) is not None or config.answering.allow_long_context:
        return
    room = layout.max_positions - PROMPT_POSITIONS
    if num_tokens > max(room, config.budget.token_budget):
        raise PipelineError(
            FailureClass.TOO_LARGE,
            f"{probe.path}: method {selector.name!r} would show {num_tokens} visual tokens at once, the model was "
            f"trained for {layout.max_positions} positions; lower sampling.max_frames, use another method, or force "
            "it with answering.allow_long_context=true.",
        )
