"""A whole job in one thread: the coordinator's service, a scorer's loop and its successors, videos that are numbers.

What Ray does between them is left out; everything else is the product's own: service, loop, worker, actors, passes.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

from actors import coordinator_service, pull_loop
from actors.answerer import AnswererActor
from actors.coordinator_service import CoordinatorService
from actors.local_store import LocalStore
from actors.pull_loop import Scorer
from actors.scorer import ScorerActor
from actors.worker import DecodeWorker, ModelWorker
from pipeline.engine.job_state import JobState
from pipeline.engine.messages.keys import Role
from pipeline.engine.messages.work import Batch, Completion, DecodeDone, DecodeWork, ProbeDone, ProbeWork
from pipeline.failures import Failure
from pipeline.manifest.questions import Question
from pipeline.method.selectors.registry import get_selector
from pipeline.planning.question_check import check_questions
from pipeline.planning.tasks import VideoTask
from pipeline.planning.video_plan import plan_video
from pipeline.results.rows import VOLATILE_COLUMNS, RunStamp
from pipeline.settings.config import ExecutionConfig, RunConfig, SamplingConfig
from tests.cuda_on_cpu.passes import CONFIG as PASSES
from tests.unit.engine.fakes import make_probe

NUM_FRAMES = {"long": 32, "short": 18, "shorter": 12}  # four groups, three of six frames, two
ASKED: tuple[tuple[str, str, tuple[str, ...] | None], ...] = (
    ("long", "What color is the circle ?", ("red", "blue")),
    ("long", "Which one ?", ("red", "blue", "green")),
    ("long", "What color is the star ?", None),
    ("short", "Which one ?", None),
    ("short", "What color is the circle ?", ("blue", "green")),
)
CONFIG = replace(
    PASSES,
    sampling=SamplingConfig(frames_per_group=8, min_pixels=2_000, max_pixels=30_000),
    execution=ExecutionConfig(groups_in_hand=3, max_attempts=3),
)
_FOREVER_S = 1e9
_STAMP = RunStamp(run_id="r", method="adapttoken", model="tiny", model_revision=None, config_hash="c")
Process = Callable[[int], AbstractContextManager[Any]]


@dataclass(kw_only=True, slots=True)
class JobRun:
    """What came of a job.

    Attributes:
        rows: by question, without what load may change.
        lost: why workers ended, in order; ``handed_out``: worker -> keys of what it was given.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    lost: list[Failure] = field(default_factory=list)
    handed_out: dict[str, list[Any]] = field(default_factory=dict)
    reported: dict[str, list[Any]] = field(default_factory=dict)


class NumberVideos:
    """Stands in for a decoder: frame i of a video is drawn with a seed of both."""

    def __init__(self, store: LocalStore, config: RunConfig, model: Any) -> None:
        selector = get_selector(config.method)
        self._store = store
        self._plan = partial(plan_video, layout=model.layout, selector=selector, config=config, num_videos=2)
        self._check = partial(check_questions, tokenizer=model._questions, layout=model.layout, config=config)

    def probe(self, work: ProbeWork) -> Completion:
        probe = replace(make_probe(NUM_FRAMES[work.uri]), path=work.uri, width=168, height=140)
        plan = self._plan(probe)
        done = ProbeDone(plan=plan, probe=self._store.put(probe), check=self._check(work.questions, plan))
        return Completion(key=work.key, result=done)

    def decode(self, work: DecodeWork) -> Completion:
        bundles: dict[int, dict[int, Any]] = {}
        for position, slots, frames in work.slots.items():
            shown, rows = np.unique(frames, return_inverse=True)
            pixels = np.stack([_draw(work.uri, int(frame), work.size or (140, 168)) for frame in shown])
            pixels.flags.writeable = False  # as it comes out of the object store
            bundles.setdefault(position // work.groups_per_bundle, {})[position] = slots, rows, pixels
        done = DecodeDone(
            bundles={number: self._store.put(bundle) for number, bundle in bundles.items()},
            decoder="numbers",
            num_frames_decoded=len(work.stretch.frame_indices),
        )
        return Completion(key=work.key, result=done)

    def abort(self) -> None:
        raise AssertionError("nothing is cancelled here")


def _draw(uri: str, frame: int, size: tuple[int, int]) -> Any:
    return np.random.default_rng([len(uri), frame]).integers(0, 256, (*size, 3), dtype=np.uint8)


def make_tasks(asked: Sequence[tuple[str, str, tuple[str, ...] | None]]) -> list[VideoTask]:
    tasks = []
    for number, uri in enumerate(dict.fromkeys(uri for uri, _, _ in asked)):
        questions = tuple(
            Question(question_id=f"{uri}-{index}", video=uri, text=text, options=options, row_index=index)
            for index, (video, text, options) in enumerate(asked)
            if video == uri
        )
        keys = tuple(question.question_id for question in questions)
        tasks.append(VideoTask(video_id=number, uri=uri, fingerprint=uri, questions=questions, question_keys=keys))
    return tasks


class Coordinator:
    """The service as a worker's loop sees it; all frames are there before a worker hears what to do."""

    def __init__(self, service: CoordinatorService, reader: DecodeWorker, run: JobRun) -> None:
        self._loop, self._service, self._reader, self._run = asyncio.new_event_loop(), service, reader, run
        self._read: list[Completion] = []
        self.exchange = mock.Mock(remote=self._exchange)

    def _exchange(self, worker: str, completions: Sequence[Completion]) -> Batch:
        self._run.reported.setdefault(worker, []).extend(completion.key for completion in completions)
        while batch := self._ask(f"{Role.DECODER}-0", self._read):
            self._read = self._reader.run_batch(batch)
        self._read = []
        batch = self._await(self._service.exchange(worker, completions))
        self._run.handed_out.setdefault(worker, []).extend(work.key for work in batch.work)
        return batch

    def _ask(self, worker: str, completions: Sequence[Completion]) -> Batch | None:
        batch = self._await(self._service.exchange(worker, completions))
        return batch if batch.work else None

    def lose(self, worker: str, failure: Failure) -> None:
        self._await(self._service.lose_worker(worker, failure))

    def poll(self) -> coordinator_service.JobStatus:
        return self._await(self._service.poll())

    def _await(self, coroutine: Any) -> Any:
        return self._loop.run_until_complete(coroutine)

    def close(self) -> None:
        self._loop.close()


def run_job(layout_of: Any, process: Process, *, config: RunConfig = CONFIG, asked: Any = ASKED) -> JobRun:
    """Every worker has a process of its own; one that ends because it can work no more is followed by another.

    Args:
        layout_of: a model on the CPU, for planning.
        process: by number, makes the model of one process, and ends it.
        config: of the run.
        asked: video, text, options.
    """
    run, store = JobRun(), LocalStore(memory_bytes=1 << 30)
    service = CoordinatorService(
        partial(JobState, make_tasks(asked), config=config), stamp=_STAMP, patience_s=dict.fromkeys(Role, _FOREVER_S)
    )
    with _without_ray():
        coordinator = Coordinator(service, DecodeWorker(lambda: NumberVideos(store, config, layout_of)), run)  # type: ignore[arg-type, return-value]
        number, failure = 0, None
        while number == 0 or failure is not None:
            name = f"{Role.SCORER}-{number}"
            with process(number) as model:
                failure = _work(model, store, config, name, coordinator)
            if failure is not None:
                run.lost.append(failure)
                coordinator.lose(name, failure)
            number += 1
        outcomes = coordinator.poll().outcomes
        coordinator.close()
    rows = [asdict(row) for outcome in outcomes for row in outcome.rows]
    rows = [{name: value for name, value in row.items() if name not in VOLATILE_COLUMNS} for row in rows]
    run.rows = sorted(rows, key=lambda row: str(row["question_id"]))
    return run


def _work(model: Any, store: LocalStore, config: RunConfig, name: str, coordinator: Coordinator) -> Failure | None:
    def build() -> ModelWorker:
        return ModelWorker(lambda: (ScorerActor(model, store, config), AnswererActor(model, store, config)))

    loop = Scorer(build)
    assert not isinstance(loop.load(), Failure)
    return loop.run(name, coordinator)


@contextmanager
def _without_ray() -> Iterator[None]:
    """Calls return what they return; nobody waits for news, for there is one thread, and time passes by the call."""
    with (
        mock.patch.object(pull_loop, "ray", mock.Mock(get=lambda reply: reply)),
        mock.patch.object(coordinator_service, "long_poll_s", return_value=0),
        mock.patch.object(coordinator_service.CoordinatorService, "_now_s", side_effect=map(float, itertools.count())),
    ):
        yield
