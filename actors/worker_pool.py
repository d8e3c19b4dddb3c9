"""The job's worker processes on Ray: each pulls on its own, joins when there is room, and is replaced when it dies."""

import itertools
import logging
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from actors import pulse
from actors.builders import Job, OnReady, build_decode_worker, build_model_worker, ignore
from actors.pull_loop import CONTROL, Answerer, Decoder, PullLoop, Scorer
from actors.pulse import Pulse
from actors.shard import Shard, is_bug, most_patience_s
from actors.store import RayStore
from pipeline.engine.messages.keys import Role, WorkKey
from pipeline.engine.one_video.tries import Rest
from pipeline.engine.sharding import ShardLoad, choose_shard, home_of, most_workers
from pipeline.failures import Failure, FailureClass, PipelineError
from pipeline.own_time import OwnTime

_CLASSES: dict[Role, type[PullLoop]] = {Role.SCORER: Scorer, Role.ANSWERER: Answerer, Role.DECODER: Decoder}
_log = logging.getLogger("adapttoken.workers")
_NEVER_S = float("inf")


@dataclass(frozen=True, kw_only=True, slots=True)
class ActorOptions:
    """``ray.remote`` options, one entry per process; without answerers the scorers answer."""

    scorer: tuple[dict[str, Any], ...] = ({},)
    decoder: tuple[dict[str, Any], ...] = ({},)
    answerer: tuple[dict[str, Any], ...] = ()
    coordinator: dict[str, Any] = field(default_factory=lambda: {"num_cpus": 0})


class _Stage(Enum):
    """What the call that a worker is busy with will show."""

    STARTING = "the process is there"
    LOADING = "it can work"
    READY = "nothing: no call is under way"
    RUNNING = "its shard has ended, or the coordinator"


class _Place(NamedTuple):
    """Where a process of a role goes: ``number`` counts within the role."""

    role: Role
    number: int
    options: dict[str, Any]


@dataclass(kw_only=True, slots=True, eq=False)
class _Worker:
    """One process and the place it was given; whoever replaces it takes the place.

    Attributes:
        shard: it works for this one's coordinator; ``asks`` is the one that it was told to ask.
        ends_by_s: when it is ended if its call has not returned; only while nobody else would notice that it hangs.
    """

    place: _Place
    name: str
    actor: Any
    shard: Shard | None = None
    stage: _Stage = _Stage.STARTING
    call: Any = None
    asks: Any = None
    ends_by_s: float = _NEVER_S
    killed_because: Failure | None = None
    pulse: Pulse | None = None

    @property
    def role(self) -> Role:
        """What it does."""
        return self.place.role


class WorkerPool:
    """All worker actors of a job; survives its coordinators."""

    def __init__(self, job: Job, options: ActorOptions, *, on_ready: OnReady = ignore) -> None:
        self._on_ready = on_ready
        self._mark = uuid.uuid4().hex[:4]  # one run may be executed twice in one Ray, which wants each name once
        self._job = replace(job, tasks=())  # workers need everything else
        self._execution = job.config.execution
        self._places = [_Place(Role.SCORER, number, place) for number, place in enumerate(options.scorer)]
        self._places += [_Place(Role.ANSWERER, number, place) for number, place in enumerate(options.answerer)]
        self._places += [_Place(Role.DECODER, number, place) for number, place in enumerate(options.decoder)]
        self._num_places = Counter(place.role for place in self._places)
        self._numbers = {role: itertools.count() for role in _CLASSES}
        self._workers: dict[str, _Worker] = {}
        self._shards: Sequence[Shard] = ()
        self._has_begun, self._own_time = False, OwnTime()
        self._short_since_s = time.monotonic()
        self._memory_rest, self._resting = Rest(), list[_Place]()  # of those that Ray ended for want of memory
        self.renew_patience()

    def renew_patience(self) -> None:
        """A video has ended, so the job gets on: workers may die as often again."""
        self._respawns_left = (self._execution.max_attempts + 1) * len(self._places)
        self._memory_rest.end()

    def start(self) -> None:
        """Ask for all processes; none is waited for."""
        _log.info("asking for %s", ", ".join(f"{count} {role}s" for role, count in Counter(self._roles()).items()))
        for place in self._places:
            self._spawn(place)

    def serve(self, shards: Sequence[Shard]) -> None:
        """Work for these from now on; who works for a coordinator that has died joins when that one does not answer."""
        self._shards = shards
        self._run_ready()

    def tick(self, timeout_s: float) -> None:
        """Wait a moment; take in who is ready and who has died. The dead are replaced, and their work is done again.

        Raises:
            PipelineError: A checkpoint cannot be loaded, workers keep dying while no video ends, too few have room for
                too long, or one has come upon a bug.
            RayError: The coordinator does not answer.
        """
        calls = {worker.call: worker for worker in self._workers.values() if worker.call is not None}
        if calls:
            ray.wait(list(calls), num_returns=1, timeout=timeout_s)
            ended, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
            for call in ended:
                self._take_in(calls[call])
        else:
            time.sleep(timeout_s)
        if self._resting and self._memory_rest.until_s <= time.monotonic():
            places, self._resting = self._resting, []
            for place in places:
                self._spawn(place)
        self._run_ready()
        self._check_pulses()
        self._check_deadlines()

    def serves(self, name: str, shard: Shard) -> bool:
        """Whether a worker is there and works for this shard, under this name."""
        worker = self._workers.get(name)
        return worker is not None and worker.shard is shard

    def count_serving(self) -> Counter[Role]:
        """Workers at work, each once, however many shards it has served."""
        return Counter(worker.role for worker in self._workers.values() if worker.stage is _Stage.RUNNING)

    def kill(self, name: str, failure: Failure) -> None:
        """End a worker that hangs, without waiting for its end; what it was doing fails with it, or is done again."""
        if name in self._workers:
            self._workers[name].killed_because = failure
            self._replace(self._workers[name], PipelineError(failure.failure_class, failure.message))

    def cancel(self, needless: Mapping[str, tuple[WorkKey, ...]]) -> None:
        """Tell workers which of their work nobody needs; nobody waits for them to hear it."""
        for name, keys in needless.items():
            if name in self._workers:
                self._workers[name].actor.cancel.options(concurrency_group=CONTROL).remote(keys)

    def stop(self) -> None:
        """End all worker processes."""
        for worker in self._workers.values():
            ray.kill(worker.actor)

    def _roles(self) -> list[Role]:
        return [place.role for place in self._places]

    def _spawn(self, place: "_Place") -> str:
        """Names are never used again: a call of a dead worker may still wait at the coordinator."""
        name = self._new_name(place.role)
        build = build_decode_worker if place.role is Role.DECODER else build_model_worker
        shown = f"{self._job.stamp.run_id} {name} {self._mark}"  # in `ray list actors` and the dashboard
        all_options: dict[str, Any] = {"name": shown, "concurrency_groups": {CONTROL: 1}, **place.options}
        remote_class: Any = ray.remote(**all_options)(_CLASSES[place.role])
        actor = remote_class.remote(partial(build, self._job, RayStore()))
        self._workers[name] = _Worker(place=place, name=name, actor=actor, call=actor.greet.remote())
        return name

    def _new_name(self, role: Role) -> str:
        return f"{role}-{next(self._numbers[role])}"

    def _take_in(self, worker: _Worker) -> None:
        """A worker's call has returned."""
        try:
            answer = ray.get(worker.call)
        except RayError as error:
            self._take_in_error(worker, error)
            return
        failure = answer if isinstance(answer, Failure) else None
        worker.call = None
        if worker.stage is _Stage.STARTING:
            worker.stage, worker.call = _Stage.LOADING, worker.actor.load.remote()
            worker.pulse = Pulse(last_s=self._own_time.now_s)
            worker.ends_by_s = time.monotonic() + self._execution.score_timeout_s
        elif worker.stage is _Stage.LOADING:
            if failure is not None:
                refused = PipelineError(failure.failure_class, failure.message)
                if not self._has_begun:
                    raise refused
                self._replace(worker, refused)  # others have loaded it: this node cannot
                return
            worker.stage, worker.ends_by_s = _Stage.READY, _NEVER_S
            _log.info("%s is ready", worker.name)
            self._on_ready(answer)
        elif failure is not None:
            worker.killed_because = failure
            self._replace(worker, PipelineError(failure.failure_class, failure.message))
        else:  # its shard has ended: another one may have work for it
            worker.stage, worker.shard, worker.ends_by_s = _Stage.READY, None, _NEVER_S

    def _take_in_error(self, worker: _Worker, error: RayError) -> None:
        """Tell a dead process, a node that cannot do what others can, a silent coordinator and a bug apart."""
        if not isinstance(error, RayTaskError) or (self._has_begun and worker.stage is not _Stage.RUNNING):
            self._replace(worker, error)
        elif worker.stage is _Stage.RUNNING and not is_bug(error):
            self._rename(worker)  # the coordinator did not answer it; the process is sound
        else:
            raise PipelineError(FailureClass.INTERNAL, f"{worker.name} came upon a bug: {error}") from error

    def _replace(self, worker: _Worker, error: RayError | PipelineError) -> None:
        if self._respawns_left == 0:
            raise PipelineError(FailureClass.WORKER_LOST, f"workers keep dying, last {worker.name}: {error}") from error
        self._respawns_left -= 1
        ray.kill(worker.actor)  # it may only be out of reach
        del self._workers[worker.name]
        if isinstance(error, OutOfMemoryError):  # at once its successor would only be ended, too
            self._memory_rest.begin(time.monotonic())
            self._resting.append(worker.place)
            wait_s = self._memory_rest.until_s - time.monotonic()
            _log.warning("%s died: its node is short of memory; another takes its place in %.0f s", worker.name, wait_s)
        else:
            successor = self._spawn(worker.place)
            reason = worker.killed_because.message if worker.killed_because else type(error).__name__
            _log.warning("%s died (%s); %s takes its place", worker.name, reason, successor)
        if worker.stage is _Stage.RUNNING:
            self._lose(worker, worker.name, worker.killed_because)

    def _rename(self, worker: _Worker) -> None:
        lost = worker.name
        del self._workers[lost]
        worker.name, worker.stage, worker.call = self._new_name(worker.role), _Stage.READY, None
        worker.ends_by_s = _NEVER_S
        self._workers[worker.name] = worker
        self._lose(worker, lost, None)

    def _lose(self, worker: _Worker, name: str, failure: Failure | None) -> None:
        """Its coordinator hears that it is gone under this name, and has its work done again."""
        shard, worker.shard = worker.shard, None
        if shard is not None:
            shard.lose_worker(name, failure)

    def _run_ready(self) -> None:
        """Set to work whoever can; the first ones wait for each other until there are enough."""
        if not self._has_begun and self._num_at(Role.SCORER, _Stage.READY) < self._execution.min_scorers:
            return
        going_on = {shard.index: shard for shard in self._shards if not shard.is_finished}
        if not going_on:
            return
        self._has_begun = True
        told: dict[int, list[str]] = {}
        loads = self._loads(going_on)
        for worker in self._workers.values():
            if worker.stage is not _Stage.READY:
                continue
            chosen = self._shard_for(worker.place, loads[worker.role])
            if chosen is None:
                continue
            load, shard = loads[worker.role][chosen], going_on[chosen]
            loads[worker.role][chosen] = load._replace(num_workers=load.num_workers + 1)
            told.setdefault(chosen, []).append(worker.name)
            worker.stage, worker.shard, worker.asks = _Stage.RUNNING, shard, shard.coordinator
            worker.call = worker.actor.run.remote(worker.name, shard.coordinator)
        for index, names in told.items():
            going_on[index].expect(names)

    def _loads(self, going_on: Mapping[int, Shard]) -> dict[Role, dict[int, ShardLoad]]:
        """What each shard has left, and how many of each role serve it."""
        serving = Counter((worker.role, worker.shard.index) for worker in self._workers.values() if worker.shard)
        return {
            role: {index: ShardLoad(shard.num_videos_left, serving[role, index]) for index, shard in going_on.items()}
            for role in Role
        }

    def _shard_for(self, place: _Place, loads: Mapping[int, ShardLoad]) -> int | None:
        """Its home, or once that has ended the one with most left for each of its role; None where all are full."""
        num_places, num_shards = self._num_places[place.role], len(self._shards)
        home = home_of(place.number, num_places=num_places, num_shards=num_shards)
        return choose_shard(loads, home=home, most=most_workers(num_places, num_shards=num_shards))

    def _is_left_behind(self, worker: _Worker) -> bool:
        """Whether it is busy for a coordinator that has gone, or has all it needs: nobody there waits for it."""
        shard = worker.shard
        return shard is not None and (shard.is_finished or shard.coordinator is not worker.asks)

    def _num_at(self, role: str, *stages: _Stage) -> int:
        return sum(worker.role == role and worker.stage in stages for worker in self._workers.values())

    def _check_pulses(self) -> None:
        """End who does not run any more."""
        watched = {worker.name: (worker.pulse, worker.actor) for worker in self._workers.values() if worker.pulse}
        now_s = self._own_time.tell(time.monotonic())
        pulse.ask(watched, group=CONTROL, now_s=now_s)
        for name, (seen, _) in watched.items():
            worker = self._workers[name]
            is_loading = worker.stage is _Stage.LOADING
            silence_s = pulse.LOADING_SILENCE_S if is_loading else pulse.SILENCE_S
            if seen.is_lost(now_s, silence_s=silence_s):
                message = f"a {worker.role} has not answered for {silence_s:g} s: its process or node hangs"
                self.kill(name, Failure(failure_class=FailureClass.WORKER_LOST, message=message))

    def _check_deadlines(self) -> None:
        """End who loads for too long, or is left behind; give up when for too long too few have had room."""
        now_s, limit_s = time.monotonic(), self._execution.score_timeout_s
        for worker in self._workers.values():
            if worker.ends_by_s == _NEVER_S and self._is_left_behind(worker):
                worker.ends_by_s = now_s + most_patience_s(self._job.config)[worker.role]
            if worker.ends_by_s < now_s:
                ray.kill(worker.actor)
        short = [
            f"{able} of at least {least} {role}s"
            for role, least in ((Role.SCORER, self._execution.min_scorers), (Role.DECODER, 1))
            if (able := self._num_at(role, _Stage.LOADING, _Stage.READY, _Stage.RUNNING)) < least
        ]
        if not short:
            self._short_since_s = now_s
        elif now_s - self._short_since_s > limit_s:
            raise PipelineError(
                FailureClass.WORKER_LOST,
                f"only {', '.join(short)} have had room for {limit_s:g} s (execution.score_timeout_s); add nodes, or "
                "lower execution.min_scorers",
            )
