"""A synthetic archive: videos of one shape with real plans, questions, and what groups say about them."""

import random
from collections.abc import Sequence
from dataclasses import replace

from pipeline.engine.messages.work import AnswerDone, ScoreDone, ScoreWork
from pipeline.engine.sharding import shard_config
from pipeline.lab.simulation.settings import SimulationSettings
from pipeline.manifest.questions import Question
from pipeline.method.selectors.base import GroupScore
from pipeline.method.selectors.registry import get_selector
from pipeline.models.qwen.layout import QwenLayout
from pipeline.models.qwen.preprocess import PatchGeometry
from pipeline.passes.records import FinalAnswer
from pipeline.planning.assumed_video import assume_video
from pipeline.planning.tasks import VideoTask
from pipeline.planning.video_plan import VideoPlan, plan_video
from pipeline.video.probe import VideoProbe

_SAMPLE_FPS = 2
_HEIGHT, _WIDTH = 308, 560
LAYOUT = QwenLayout(
    frames_per_patch=2,
    num_layers=28,
    max_positions=128_000,
    feature_width=3_584,
    tokens_per_second=2.0,
    patches=PatchGeometry(),
)
_ANY_ANSWER = FinalAnswer(
    answer="A",
    answer_text="A",
    option_probabilities=(1.0, 0.0),
    answer_entropy=0.0,
    evidence=(),
    tokens=b"",
    kept={},
)
_SURE, _UNSURE = -0.01, -1.39  # nats: medians with and without the needle in docs/results.md


def synthetic_probe(settings: SimulationSettings) -> VideoProbe:
    """A video at constant rate of which every k-th frame is sampled."""
    return assume_video(
        "/simulated.mp4",
        num_frames=settings.num_frames * settings.frames_decoded_per_wanted,
        fps=_SAMPLE_FPS * settings.frames_decoded_per_wanted,
        gop_frames=settings.gop_frames,
        height=_HEIGHT,
        width=_WIDTH,
    )


class Archive:
    """Everything that workers find out, without files and models; the same for the same settings, in any order."""

    def __init__(self, settings: SimulationSettings) -> None:
        self._settings, config = settings, settings.run_config()
        part = shard_config(config, settings.num_shards)
        cut_for = settings.num_stretches or part.execution.decoders
        self._plan = plan_video(
            synthetic_probe(settings),
            layout=LAYOUT,
            selector=get_selector(config.method),
            config=replace(part, execution=replace(part.execution, num_decoders=cut_for)),
            num_videos=1 if settings.num_stretches else -(-settings.num_videos // settings.num_shards),
            most_group_bytes=config.execution.frame_room_bytes,
        )
        self._sure, self._unsure = self._pool(_SURE, "A"), self._pool(_UNSURE, "B")
        self._drawn: dict[tuple[int, int], frozenset[int]] = {}

    def tasks(self) -> list[VideoTask]:
        """One per video."""
        return [self._task(video_id) for video_id in range(self._settings.num_videos)]

    @property
    def plan(self) -> VideoPlan:
        """The plan that all videos share but for its identity."""
        return self._plan

    def plan_copy(self) -> VideoPlan:
        """A video's own plan: an object of its own, so that nothing kept by identity serves two videos."""
        return replace(self._plan)

    def score(self, work: ScoreWork) -> ScoreDone:
        """What a group says to each question that is asked."""
        video_id, position = work.key.video_id, work.key.index
        scores = {
            index: (self._sure if position in self.sure_positions(video_id, index) else self._unsure)[position]
            for index in work.group.asked
        }
        return ScoreDone(scores=scores, was_prefilled=bool(work.group.batches))

    def answer(self) -> AnswerDone:
        """Any final answer."""
        return AnswerDone(final=_ANY_ANSWER)

    def _task(self, video_id: int) -> VideoTask:
        uri = f"s3://archive/{video_id:06}.mp4"
        questions = tuple(
            Question(question_id=f"{video_id}-{q}", video=uri, text="?", options=("x", "y"), row_index=q)
            for q in range(self._settings.num_questions)
        )
        keys = tuple(question.question_id for question in questions)
        return VideoTask(video_id=video_id, uri=uri, fingerprint=str(video_id), questions=questions, question_keys=keys)

    def _pool(self, certainty: float, response: str) -> Sequence[GroupScore]:
        """Per position, one score that all videos share."""
        tokens = self._plan.geometry.tokens_per_patch
        rng = random.Random(self._settings.seed)
        return [
            GroupScore(
                group_index=index,
                certainty=certainty * rng.uniform(0.9, 1.0),
                response=response,
                num_tokens=len(group) * tokens,
            )
            for index, group in zip(self._plan.group_indices, self._plan.groups, strict=True)
        ]

    def sure_positions(self, video_id: int, question: int) -> frozenset[int]:
        """Positions of the question's two sure groups; each group is as likely as any other to be one."""
        known = self._drawn.get((video_id, question))
        if known is None:
            rng = random.Random(f"{self._settings.seed}/{video_id}/{question}")
            mean_gap = self._settings.mean_stop_groups / 2
            first = _geometric(rng, mean_gap)
            known = frozenset((first - 1, first + _geometric(rng, mean_gap) - 1))
            self._drawn[video_id, question] = known
        return known


def _geometric(rng: random.Random, mean: float) -> int:
    """Trials up to the first success, at least 1."""
    count = 1
    while rng.random() > 1 / mean:
        count += 1
    return count
