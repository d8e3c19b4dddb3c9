"""Random small jobs without files or a model: what there is to do, and what every piece of it yields."""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.engine.messages.work import AnswerDone
from pipeline.engine.sharding import count_shards, shard_config
from pipeline.failures import Failure, FailureClass, PipelineError
from pipeline.manifest.questions import Question
from pipeline.method.selectors.base import GroupScore
from pipeline.method.selectors.registry import SELECTORS, get_selector
from pipeline.models.interface import FrameGeometry
from pipeline.passes.records import FinalAnswer
from pipeline.planning.assumed_video import assume_video
from pipeline.planning.question_check import QuestionCheck
from pipeline.planning.tasks import VideoTask
from pipeline.planning.video_plan import VideoPlan, plan_video
from pipeline.settings.config import (
    BudgetConfig,
    ExecutionConfig,
    RunConfig,
    SamplingConfig,
    ScoringConfig,
    StoppingConfig,
)

FRAMES_PER_PATCH = 2
_SHARE_REFUSED = 0.1
_SIDE, _FRAMES_PER_GROUP = 28, 8
GROUP_BYTES = _SIDE * _SIDE * 3 * _FRAMES_PER_GROUP


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """Two frames per patch, four tokens per patch."""

    frames_per_patch: int = FRAMES_PER_PATCH
    num_layers: int = 2
    max_positions: int = 4_096
    feature_width: int = 4_096

    def frame_geometry(self, height: int, width: int, *, min_pixels: int, max_pixels: int) -> FrameGeometry:
        return FrameGeometry(height=_SIDE, width=_SIDE, token_rows=2, token_columns=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChaosJob:
    """What is asked, and by how many workers it is done.

    Attributes:
        refused: (video, question) that cannot be asked, and why.
    """

    tasks: tuple[VideoTask, ...]
    num_frames: tuple[int, ...]
    config: RunConfig
    num_scorers: int
    num_decoders: int
    num_answerers: int
    num_shards: int
    refused: Mapping[tuple[int, int], Failure]

    def check(self, video_id: int) -> QuestionCheck:
        """What a probe says of the questions, each of which is as long as no other."""
        refused = {index: why for (video, index), why in self.refused.items() if video == video_id}
        lengths = tuple(len(question.text) for question in self.tasks[video_id].questions)
        return QuestionCheck(num_tokens=lengths, refused=refused)

    def most_group_bytes(self, video_id: int) -> int:
        """Frames of its largest group, which a method may choose itself; 0 where there is no plan."""
        try:
            plan = self.plan(video_id)
        except PipelineError:
            return 0
        return max(map(plan.group_bytes, range(len(plan.groups))))

    def plan(self, video_id: int, *, room_bytes: int | None = None) -> VideoPlan:
        """What a probe yields; two frames per second, so that every frame is sampled."""
        probe = assume_video(
            "/video.mp4", num_frames=self.num_frames[video_id], fps=2, gop_frames=10, height=_SIDE, width=_SIDE
        )
        return plan_video(
            probe,
            layout=_Layout(),
            selector=get_selector(self.config.method),
            config=shard_config(self.config, self.num_shards),
            most_group_bytes=self.config.execution.frame_room_bytes,
            room_bytes=room_bytes,
        )


_COMPARED_BY_GROUP = sorted(name for name, one in SELECTORS.items() if one.profile == "nothing" and one.ranker is None)


def draw_job(rng: random.Random, *, max_attempts: int) -> ChaosJob:
    """Sizes at which every bound bites now and then."""
    num_videos, num_questions = rng.randint(1, 5), rng.choice([1, 2, 3, 5])
    num_scorers, num_decoders = rng.choice([1, 2, 3, 3]), rng.choice([1, 2, 3, 3])
    method = rng.choice(["adapttoken", "adapttoken-lite", "adapttoken-lite", *_COMPARED_BY_GROUP])
    config = RunConfig(
        method=method,
        sampling=SamplingConfig(frames_per_group=_FRAMES_PER_GROUP, min_pixels=1, max_pixels=10_000),
        scoring=ScoringConfig(question_batch=rng.choice([1, 2, 8])),
        budget=BudgetConfig(token_budget=rng.choice([16, 40]), tau=0.5),
        stopping=StoppingConfig(stop_entropy=rng.choice([0.2, 0.5]), confident_groups=2),
        execution=ExecutionConfig(
            num_scorers=num_scorers,
            num_decoders=num_decoders,
            num_coordinators=rng.choice([1, 2, 3, 3]),
            videos_in_flight=rng.randint(1, 2),
            groups_in_hand=rng.randint(1, 3),
            frame_buffer_bytes=rng.choice([1, 3, 5, 100]) * GROUP_BYTES,
            candidate_bytes=rng.choice([1, 10**7, 10**9]),
            max_attempts=max_attempts,
        ),
    )
    places = [(video, question) for video in range(num_videos) for question in range(num_questions)]
    too_long = Failure(failure_class=FailureClass.TOO_LARGE, message="too long")
    return ChaosJob(
        tasks=tuple(draw_task(video_id, num_questions) for video_id in range(num_videos)),
        refused={place: too_long for place in places if rng.random() < _SHARE_REFUSED},
        num_frames=tuple(rng.choice([7, 40, 100, 130]) for _ in range(num_videos)),
        config=config,
        num_scorers=num_scorers,
        num_decoders=num_decoders,
        num_answerers=rng.choice([0, 0, 1]),
        num_shards=count_shards(config.execution, can_stop=False, num_videos=num_videos),
    )


def draw_task(video_id: int, num_questions: int) -> VideoTask:
    """A video with that many questions."""
    name = f"v{video_id}"
    questions = tuple(
        Question(
            question_id=f"{name}q{index}",
            video=name,
            text=f"What of {index} in {name}" + "?" * (1 + index),
            options=None if index % 3 == 2 else tuple(f"{at} of {index} in {name}" for at in range(2 + index)),
            row_index=index,
        )
        for index in range(num_questions)
    )
    keys = tuple(f"{name}-{index}" for index in range(num_questions))
    return VideoTask(video_id=video_id, uri=name, fingerprint="f", questions=questions, question_keys=keys)


def score_of(question: Question, group_index: int, *, num_tokens: int) -> GroupScore:
    """Certainty and response that look random and depend on nothing but the group and what is asked."""
    digest = hashlib.sha256(f"{question.text}/{question.options}/{group_index}".encode()).digest()
    said = "AB"[digest[1] % 2]
    return GroupScore(group_index=group_index, certainty=-digest[0] / 256, response=said, num_tokens=num_tokens)


def answer_of(question: Question, bought: dict[int, int]) -> AnswerDone:
    """Depends on what is asked, and on all tokens that reached it."""
    asked = question.text, question.options, sorted(bought.items())
    digest = hashlib.sha256(repr(asked).encode()).hexdigest()
    final = FinalAnswer(
        answer="A",
        answer_text=digest,
        option_probabilities=(1 / len(question.options),) * len(question.options) if question.options else None,
        answer_entropy=int(digest[:4], 16) / 65_536,
        evidence=(),
        tokens=b"",
        kept=bought,
    )
    return AnswerDone(final=final)
