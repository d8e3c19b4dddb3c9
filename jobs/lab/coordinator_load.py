"""``bench_coordinator.py``: the real coordinator on Ray, its workers, and what both have done between two moments."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import ray

from actors.coordinator_service import CoordinatorService, JobStatus
from actors.pull_loop import CONTROL, Decoder, PullLoop, Scorer
from actors.store import RayStore
from pipeline.engine.job_state import JobState
from pipeline.engine.messages.work import Batch, Completion
from pipeline.lab.simulation.archive import Archive
from pipeline.lab.simulation.results import KnownResults
from pipeline.lab.simulation.settings import SimulationSettings
from pipeline.planning.video_plan import VideoPlan
from pipeline.results.rows import RunStamp
from pipeline.settings.config import RunConfig
from pipeline.video.decode_plan import plan_decode

_POLL_S = 0.2
_NO_LIMIT = 2**50
_PATIENCE_S = {"scorer": 3_600.0, "decoder": 3_600.0}
_STAMP = RunStamp(run_id="bench", method="adapttoken", model="none", model_revision=None, config_hash="none")


class IdleWorker:
    """Computes nothing; references are real ones, to nothing."""

    ways: Mapping[str, str] = MappingProxyType({})

    def __init__(self, settings: SimulationSettings, *, references: int) -> None:
        archive, store = Archive(settings), RayStore()
        plan = _cut_anew(archive.plan, references)
        self._results = KnownResults(archive=archive, put=lambda: store.put(None), plan=lambda: replace(plan))

    def run_batch(self, batch: Batch) -> list[Completion]:
        """At once."""
        return [Completion(key=work.key, result=self._results.of(work)) for work in batch.work]

    def start_over(self) -> None:
        """Nothing is kept."""


def _cut_anew(plan: VideoPlan, num_stretches: int) -> VideoPlan:
    """The same plan in one decode pass of so many stretches: each group has one reference per stretch."""
    passes = plan_decode(
        plan.probe,
        plan.sample.frame_indices,
        plan.patch_frames,
        plan.groups,
        frame_bytes=plan.frame_bytes,
        frame_buffer_bytes=_NO_LIMIT,
        num_stretches=num_stretches,
        growing=False,
        stretch_bytes=_NO_LIMIT,
    ).passes
    return replace(plan, passes=passes)


class TimedService(CoordinatorService):
    """The real one, which also tells what it has cost."""

    async def cpu_s(self) -> float:
        """Seconds of CPU that this process has taken."""
        return time.process_time()


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadReading:
    """What is known at one poll."""

    wall_s: float
    cpu_s: float
    num_groups: int


def measure_load(settings: SimulationSettings, *, references: int) -> tuple[LoadReading, LoadReading]:
    """1 coordinator, its workers → the first and the last moment at which groups had been scored."""
    config = _roomy(settings.run_config())
    build = partial(JobState, Archive(settings).tasks(), config=config)
    build_worker = partial(IdleWorker, settings, references=references)
    service: Any = ray.remote(num_cpus=0)(TimedService)
    coordinator = service.remote(build, stamp=_STAMP, patience_s=_PATIENCE_S)
    workers = {f"scorer-{n}": _start(Scorer, build_worker) for n in range(config.execution.scorers)}
    workers |= {f"decoder-{n}": _start(Decoder, build_worker) for n in range(config.execution.decoders)}
    ray.get([worker.load.remote() for worker in workers.values()])
    loops = [worker.run.remote(name, coordinator) for name, worker in workers.items()]
    seen: list[LoadReading] = []
    while True:
        status: JobStatus = ray.get(coordinator.poll.remote())
        num_groups = status.progress.num_groups_scored
        if num_groups and (not seen or num_groups > seen[-1].num_groups):
            cpu_s = ray.get(coordinator.cpu_s.remote())
            seen.append(LoadReading(wall_s=time.perf_counter(), cpu_s=cpu_s, num_groups=num_groups))
        if status.is_finished:
            break
        time.sleep(_POLL_S)
    ray.get(loops)
    return seen[0], seen[-1]


def _roomy(config: RunConfig) -> RunConfig:
    """So that frames, which are empty, never have to wait for room."""
    return replace(config, execution=replace(config.execution, frame_buffer_bytes=_NO_LIMIT, candidate_bytes=_NO_LIMIT))


def _start(role: type[PullLoop], build_worker: Callable[[], IdleWorker]) -> Any:
    options: dict[str, Any] = {"num_cpus": 0.5, "concurrency_groups": {CONTROL: 1}}
    remote_class: Any = ray.remote(**options)(role)
    return remote_class.remote(build_worker)
