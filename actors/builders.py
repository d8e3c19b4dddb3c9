"""Builds what a worker process owns. Picklable, and called in the worker: weights never travel."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from actors.answerer import AnswererActor
from actors.decoder import DecoderActor
from actors.scorer import ScorerActor
from actors.store import ObjectStore
from actors.worker import DecodeWorker, ModelWorker
from pipeline.engine.sharding import shard_config
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import ModelLayout, VideoModel
from pipeline.models.question_tokenizer import QuestionTokenizer
from pipeline.planning.question_check import check_questions
from pipeline.planning.task_table import TaskTable
from pipeline.planning.tasks import VideoTask
from pipeline.planning.video_plan import plan_video
from pipeline.results.rows import RunStamp
from pipeline.settings.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Everything an executor needs to run. Workers get one without tasks, which may be a million.

    ``num_shards``: coordinators that share it; a worker may serve any of them. ``num_parameters``: of the model;
    0: not counted. ``is_told_cpu``: the user has said that it is to run there. ``is_traced``: outcomes hold their
    video's stages.
    """

    tasks: TaskTable | tuple[VideoTask, ...]
    num_videos: int
    config: RunConfig
    layout: ModelLayout
    tokenizer: QuestionTokenizer
    stamp: RunStamp
    load_model: Callable[[RunConfig], VideoModel]
    storage_options: Mapping[str, Any] | None = None
    num_shards: int = 1
    num_parameters: int = 0
    is_told_cpu: bool = False
    is_traced: bool = False

    @property
    def num_questions(self) -> int:
        """Over all videos."""
        if isinstance(self.tasks, TaskTable):
            return self.tasks.num_questions
        return sum(len(task.questions) for task in self.tasks)

    def without(self, video_ids: Collection[int]) -> "Job":
        """The same job, some videos of which are done."""
        if isinstance(self.tasks, TaskTable):
            return replace(self, tasks=self.tasks.without(video_ids))
        return replace(self, tasks=tuple(task for task in self.tasks if task.video_id not in video_ids))

    def every(self, step: int, *, start: int) -> "Job":
        """The same job with one video in ``step``, from number ``start`` on."""
        return self if step == 1 else replace(self, tasks=self.tasks[start::step])


OnReady = Callable[[Mapping[str, str]], None]
"""Called with how a worker computes, in words, once it can work; a decoder has nothing to say."""


def ignore(ways: Mapping[str, str]) -> None:
    """An ``OnReady`` for whom it does not matter."""


def build_decode_worker(job: Job, store: ObjectStore) -> DecodeWorker:
    """A worker that reads videos, which are cut as a shard has room for them; what is refused depends on no shards."""
    return DecodeWorker(
        lambda: DecoderActor(
            store,
            plan=partial(
                plan_video,
                layout=job.layout,
                selector=get_selector(job.config.method),
                config=shard_config(job.config, job.num_shards),
                num_videos=-(-job.num_videos // job.num_shards),
                most_group_bytes=job.config.execution.frame_room_bytes,
            ),
            check=partial(check_questions, tokenizer=job.tokenizer, layout=job.layout, config=job.config),
            config=job.config,
            storage_options=job.storage_options,
        )
    )


def build_model_worker(job: Job, store: ObjectStore) -> ModelWorker:
    """A worker that loads the checkpoint once, for scoring and answering."""
    model = job.load_model(job.config)

    def build() -> tuple[ScorerActor, AnswererActor]:
        scorer = ScorerActor(model, store, job.config, storage_options=job.storage_options)
        return scorer, AnswererActor(model, store, job.config)

    return ModelWorker(build, ways=model.ways)
