"""How many group completions per second one coordinator takes in: the real actor, and workers that do nothing.

Workers report scores, references to (empty) frames and answers at once; what is measured is calls, serialisation and
decisions. Everything runs on this machine, workers included.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import ray

from actors.coordinator_service import CoordinatorService, JobStatus
from actors.pull_loop import CONTROL, Decoder, PullLoop, Scorer
from actors.store import RayStore
from cluster.session import ray_session
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
class _Moment:
    """What is known at one poll."""

    wall_s: float
    cpu_s: float
    num_groups: int


def main(arguments: list[str] | None = None) -> int:
    """Measure, print one line of JSON."""
    parser = argparse.ArgumentParser(prog="bench_coordinator.py", description=__doc__)
    parser.add_argument("--videos", type=int, default=40, help="of 10,000 sampled frames: 157 groups")
    parser.add_argument("--questions", type=int, default=4, help="per video")
    parser.add_argument("--scorers", type=int, default=2, help="processes")
    parser.add_argument("--decoders", type=int, default=1, help="processes")
    parser.add_argument("--references", type=int, default=1, help="per group: stretches of a pass with frames in them")
    parser.add_argument("--groups-in-hand", type=int, default=8, help="completions per call")
    parser.add_argument("--method", default="adapttoken")
    options = parser.parse_args(arguments)
    settings = SimulationSettings(
        method=options.method,
        num_videos=options.videos,
        num_questions=options.questions,
        num_gpus=options.scorers,
        num_answerers=0,
        decode_cores_per_gpu=options.decoders / options.scorers,
        groups_in_hand=options.groups_in_hand,
    )
    with ray_session(num_cpus=options.scorers + options.decoders):
        first, last = _measure(settings, references=options.references)
    wall_s, cpu_s, groups = last.wall_s - first.wall_s, last.cpu_s - first.cpu_s, last.num_groups - first.num_groups
    figures = {"num_groups": groups, "wall_s": round(wall_s, 2), "coordinator_cpu_s": round(cpu_s, 2)}
    rates = {"groups_per_s": round(groups / wall_s), "groups_per_coordinator_cpu_s": round(groups / cpu_s)}
    print(json.dumps({**vars(options), **figures, **rates}))
    return 0


def _measure(settings: SimulationSettings, *, references: int) -> tuple[_Moment, _Moment]:
    """1 coordinator, its workers → the first and the last moment at which groups had been scored."""
    config = _roomy(settings.run_config())
    build = partial(JobState, Archive(settings).tasks(), config=config)
    build_worker = partial(IdleWorker, settings, references=references)
    service: Any = ray.remote(num_cpus=0)(TimedService)
    coordinator = service.remote(build, stamp=_STAMP, patience_s=_PATIENCE_S)
    workers = {f"scorer-{n}": _start(Scorer, build_worker) for n in range(config.execution.num_scorers)}
    workers |= {f"decoder-{n}": _start(Decoder, build_worker) for n in range(config.execution.num_decoders)}
    ray.get([worker.load.remote() for worker in workers.values()])
    loops = [worker.run.remote(name, coordinator) for name, worker in workers.items()]
    seen: list[_Moment] = []
    while True:
        status: JobStatus = ray.get(coordinator.poll.remote())
        num_groups = status.progress.num_groups_scored
        if num_groups and (not seen or num_groups > seen[-1].num_groups):
            cpu_s = ray.get(coordinator.cpu_s.remote())
            seen.append(_Moment(wall_s=time.perf_counter(), cpu_s=cpu_s, num_groups=num_groups))
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


if __name__ == "__main__":
    sys.exit(main())
