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
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import VideoModel
from pipeline.passes.shared_model import SharedModel, SharedSeconds
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
    path: str, questions: Sequence[Question], *, model: VideoModel, configs: Mapping[str, RunConfig]
) -> VideoOutcomes:
    """Answer one video's questions by every method; they may differ in everything but sampling.

    Raises:
        PipelineError: The video cannot be read, or its frames do not fit ``execution.frame_buffer_bytes``.
    """
    first, started = next(iter(configs.values())), time.perf_counter()
    with closing(IsolatedReader(first.reading, max_bad_frames_share=first.sampling.max_bad_frames_share)) as reader:
        probe = reader.probe(path)
        plans = {label: _plan(probe, model, config) for label, config in configs.items()}
        good = [plan for plan in plans.values() if isinstance(plan, VideoPlan)]
        wanted = np.unique(np.concatenate([plan.group_frames(p) for plan in good for p in range(len(plan.groups))]))
        decode = FrameReader(reader, first.frame_store).decode
        decoded = decode(
            probe,
            wanted,
            size=good[0].decode_size,
            backend=first.sampling.decoder,
            fingerprint=video_fingerprint(str(Path(path).absolute())),
            uri=strip_secrets(path),
        )
        bad_frames = {int(wanted[row]) for row in decoded.bad_frames}
    decode_s = time.perf_counter() - started
    rankers = [get_selector(config.method).ranker for config in configs.values()]
    shared = SharedModel(
        model=model,
        saliency=any(ranker is not None and ranker.inputs.saliency for ranker in rankers),
        tower=any(ranker is not None and ranker.inputs.tower for ranker in rankers),
    )
    outcomes = {}
    for label, config in configs.items():
        plan = plans[label]
        if isinstance(plan, Failure):
            outcomes[label] = MethodOutcome(answers=plan, alone_s=0.0)
            continue
        begun, shared.spent = time.perf_counter(), SharedSeconds()
        frames = _groups_of(plan, wanted, decoded.frames, shared)
        answers = answer_groups(
            plan,
            frames,
            questions,
            model=cast(VideoModel, shared),
            config=config,
            bad_frames=bad_frames,
        )
        own_s = time.perf_counter() - begun - shared.spent.shared_s
        share = len(np.unique(np.concatenate([plan.group_frames(p) for p in range(len(plan.groups))]))) / len(wanted)
        outcomes[label] = MethodOutcome(answers=answers, alone_s=own_s + shared.spent.alone_s + decode_s * share)
    return VideoOutcomes(
        methods=outcomes, together_s=time.perf_counter() - started, duration_s=good[0].probe.duration_s
    )


def _plan(probe: VideoProbe, model: VideoModel, config: RunConfig) -> VideoPlan | Failure:
    try:
        return plan_video(probe, layout=model, selector=get_selector(config.method), config=config)
    except PipelineError as error:
        return error.to_failure()


def _groups_of(
    plan: VideoPlan,
    wanted: npt.NDArray[np.int64],
    frames: FramesFHW3,
    shared: SharedModel,
) -> Iterator[FramesFHW3]:
    for position, patches in enumerate(plan.groups):
        shared.patches = patches
        yield frames[np.searchsorted(wanted, plan.group_frames(position))]
