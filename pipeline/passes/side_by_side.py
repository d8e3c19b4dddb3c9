"""Several methods over one video: one decode, one encode, and one scoring for all that cut it into the same groups."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from pipeline.failures import Failure, PipelineError
from pipeline.manifest.questions import Question
from pipeline.manifest.time_range import TimeRange
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import VideoModel
from pipeline.passes.shared_model import SharedModel, SharedSeconds, check_room
from pipeline.passes.video_answer import VideoAnswer
from pipeline.passes.whole_video import FramesFHW3, answer_groups
from pipeline.planning.video_plan import VideoPlan, plan_video
from pipeline.results.keys import video_fingerprint
from pipeline.settings.config import RunConfig
from pipeline.uris import strip_secrets
from pipeline.video.frame_store.reading import FrameReader
from pipeline.video.isolated import IsolatedReader
from pipeline.video.probe import VideoProbe


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MethodOutcome:
    """What one method made of one video.

    Attributes:
        answers: of its questions, or why there are none.
        alone_s: seconds it would have taken by itself; decoding by its share of the frames.
    """

    answers: tuple[VideoAnswer, ...] | Failure
    alone_s: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VideoOutcomes:
    """All methods by label, and the seconds that all of them took together."""

    methods: Mapping[str, MethodOutcome]
    together_s: float
    duration_s: float


def compare_on_video(
    path: str,
    questions: Sequence[Question],
    *,
    model: VideoModel,
    configs: Mapping[str, RunConfig],
    time_range: TimeRange | None = None,
) -> VideoOutcomes:
    """Answer one video's questions by every method; they may differ in everything but sampling.

    Args:
        path: of the file.
        questions: about it.
        model: loaded.
        configs: by label.
        time_range: the part of the video that is asked about; None: all of it.

    Raises:
        PipelineError: The video cannot be read; or class ``out_of_memory``: its frames or its visual tokens, which are
            all held at once, do not fit.
    """
    first, started = next(iter(configs.values())), time.perf_counter()
    with closing(IsolatedReader(first.reading, max_bad_frames_share=first.sampling.max_bad_frames_share)) as reader:
        probe = reader.probe(path)
        plans = {label: _plan(probe, model, config, time_range) for label, config in configs.items()}
        good = [plan for plan in plans.values() if isinstance(plan, VideoPlan)]
        read = _read(path, good, reader, first) if good else None
    decode_s = time.perf_counter() - started
    rankers = [get_selector(config.method).ranker for config in configs.values()]
    shared = SharedModel(
        model=model,
        saliency=any(ranker is not None and ranker.inputs.saliency for ranker in rankers),
        tower=any(ranker is not None and ranker.inputs.tower for ranker in rankers),
        num_patches=len(np.unique(np.concatenate([[], *(patches for plan in good for patches in plan.groups)]))),
    )
    outcomes = {}
    for label, config in configs.items():
        plan = plans[label]
        if isinstance(plan, Failure) or read is None:
            outcomes[label] = MethodOutcome(answers=cast(Failure, plan), alone_s=0.0)
            continue
        begun, shared.spent = time.perf_counter(), SharedSeconds()
        frames = _groups_of(plan, read, shared)
        answers = answer_groups(
            plan,
            frames,
            questions,
            model=cast(VideoModel, shared),
            config=config,
            bad_frames=read.bad_frames,
            once=shared.once,
        )
        own_s = time.perf_counter() - begun - shared.spent.shared_s
        share = len(_frames_of([plan])) / len(read.indices)
        outcomes[label] = MethodOutcome(answers=answers, alone_s=own_s + shared.spent.alone_s + decode_s * share)
    return VideoOutcomes(methods=outcomes, together_s=time.perf_counter() - started, duration_s=probe.duration_s)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Read:
    """Frames that any method wants, by their indices in the video."""

    indices: npt.NDArray[np.int64]
    frames: FramesFHW3
    bad_frames: set[int]


def _frames_of(plans: Sequence[VideoPlan]) -> npt.NDArray[np.int64]:
    return np.unique(np.concatenate([plan.group_frames(p) for plan in plans for p in range(len(plan.groups))]))


def _read(path: str, plans: Sequence[VideoPlan], reader: IsolatedReader, config: RunConfig) -> _Read:
    wanted, plan = _frames_of(plans), plans[0]
    height, width = plan.decode_size or (plan.probe.height, plan.probe.width)
    check_room("frames", 2 * len(wanted) * height * width * 3, device="cpu")  # the reader's, and a copy
    decoded = FrameReader(reader, config.frame_store).decode(
        plan.probe,
        wanted,
        size=plan.decode_size,
        backend=config.sampling.decoder,
        fingerprint=video_fingerprint(str(Path(path).absolute())),
        uri=strip_secrets(path),
    )
    bad_frames = {int(wanted[row]) for row in decoded.bad_frames}
    return _Read(indices=wanted, frames=decoded.frames, bad_frames=bad_frames)


def _plan(probe: VideoProbe, model: VideoModel, config: RunConfig, time_range: TimeRange | None) -> VideoPlan | Failure:
    selector = get_selector(config.method)
    try:
        return plan_video(probe, layout=model, selector=selector, config=config, time_range=time_range)
    except PipelineError as error:
        return error.to_failure()


def _groups_of(plan: VideoPlan, read: _Read, shared: SharedModel) -> Iterator[FramesFHW3]:
    for position, patches in enumerate(plan.groups):
        shared.patches = patches
        yield read.frames[np.searchsorted(read.indices, plan.group_frames(position))]
