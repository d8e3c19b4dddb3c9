"""One disturbed run of a random job: workers take turns in any order, faults strike, and every promise is checked."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pipeline.engine.flow import Holdings
from pipeline.engine.job_state import JobState
from pipeline.engine.messages.keys import Role, WorkKey, role_of
from pipeline.engine.messages.work import Cancelled, Completion, DecodeWork, ProbeWork, ScoreWork, Work
from pipeline.engine.rows import build_rows
from pipeline.failures import Failure
from pipeline.lab.chaos.faults import Fault, Kind, Moment
from pipeline.lab.chaos.jobs import ChaosJob
from pipeline.lab.chaos.worker import BrokenPromiseError, ChaosWorker
from pipeline.results.rows import QuestionResult, RunStamp

_STAMP = RunStamp(run_id="r", method="m", model="fake", model_revision=None, config_hash="c")
_MOST_STEPS = 30_000
_MOST_POISON_DEATHS = 60
_STEP_S = 1.0


class ChaosCase:
    """Drives one job to its end.

    Attributes:
        pending: faults with the number of matching transitions that still pass unharmed.
        struck: (fault, video, question or group) of every fault that struck; poison once per try.
    """

    def __init__(self, job: ChaosJob, rng: random.Random, pending: Sequence[tuple[Fault, int]] = ()) -> None:
        self.job, self.rng = job, rng
        self.pending = list(pending)
        self.struck: list[tuple[Fault, WorkKey]] = []
        self.rows: dict[str, QuestionResult] = {}
        self._poisoned: dict[Fault, tuple[int, int]] = {}  # video, question
        self._dead: set[str] = set()
        self._zombies: list[ChaosWorker] = []
        self._num_spawned = 0
        self._cancelled: set[WorkKey] = set()
        self._now_s = 0.0
        self._begin(job)

    def _begin(self, job: ChaosJob) -> None:
        self.state = JobState(job.tasks, config=job.config)
        self.workers: dict[str, ChaosWorker] = {}
        self._current = job
        for role, count in (
            (Role.SCORER, job.num_scorers),
            (Role.DECODER, job.num_decoders),
            (Role.ANSWERER, job.num_answerers),
        ):
            for _ in range(count):
                self._spawn(role)

    def _spawn(self, role: str) -> None:
        self._num_spawned += 1
        name = f"{role}-{self._num_spawned}"
        self.workers[name] = ChaosWorker(name=name, job=self.job)

    def run(self) -> dict[str, QuestionResult]:
        """Rows by question key.

        Raises:
            BrokenPromiseError: the job stands still, a row comes twice, or something is still held at the end.
        """
        for _ in range(_MOST_STEPS):
            if self.state.is_finished:
                self._check_nothing_is_held()
                return self.rows
            self._step(self.rng.choice(list(self.workers)))
            self._collect()
            self._check_bounds()
        raise BrokenPromiseError(f"the job stands still: {self.state.progress}")

    def _step(self, name: str) -> None:
        self._now_s += _STEP_S
        self.state.tell_time(self._now_s)
        worker = self.workers[name]
        if self._zombies and self.rng.random() < 0.3:
            zombie = self._zombies.pop()
            if self.state.exchange(zombie.name, [*zombie.unreported, *zombie.reported]).work:
                raise BrokenPromiseError("a worker given up for lost was given work")
        reports_early = bool(worker.unreported) and self.rng.random() < 0.2
        if worker.in_hand and not reports_early:
            self._do_first(worker)
        elif worker.in_hand or worker.unreported or self.rng.random() < 0.9:
            self._report(worker)

    def _do_first(self, worker: ChaosWorker) -> None:
        work = worker.in_hand[0]
        fault = self._strike(work, Moment.DONE)
        if fault is not None and fault.kind is Kind.POISON_DEATH:
            return self._kill(worker)
        del worker.in_hand[0]
        if fault is not None and fault.failure_class is not None:
            failure = Failure(failure_class=fault.failure_class, message="on purpose")
            worker.unreported.append(Completion(key=work.key, result=failure))
        elif fault is not None and fault.kind is Kind.CANCELLED:
            worker.unreported.append(Completion(key=work.key, result=Cancelled()))
        else:
            worker.unreported.append(worker.do(work, dead=self._dead))
            self._disturb(worker, fault)
        return None

    def _report(self, worker: ChaosWorker) -> None:
        completions, worker.unreported = worker.unreported, []
        faults = [(self._strike_key(done.key, Moment.REPORTED), done) for done in completions]
        twice = [done for fault, done in faults if fault is not None and fault.kind is Kind.TWICE]
        self._exchange(worker, [*completions, *twice])
        worker.reported += completions
        for fault, done in faults:
            if fault is not None and fault.kind is Kind.AGAIN:
                worker.unreported.append(done)
            elif fault is not None and fault.kind is Kind.IMPOSTOR:
                self._exchange(self.workers[self.rng.choice(list(self.workers))], [done])
            elif self.workers.get(worker.name) is worker:
                self._disturb(worker, fault)

    def _exchange(self, worker: ChaosWorker, completions: Sequence[Completion]) -> None:
        batch = self.state.exchange(worker.name, completions)
        worker.receive(batch)
        self._forward_cancelled()
        for work in batch.work:
            if self.workers.get(worker.name) is worker:
                self._disturb(worker, self._strike(work, Moment.HANDED_OUT))

    def _forward_cancelled(self) -> None:
        """Some workers obey, some are too far gone."""
        for name, keys in self.state.take_cancelled().items():
            if self._cancelled.intersection(keys) or name not in self.workers:
                raise BrokenPromiseError(f"{name}: {keys} cancelled twice, or at a worker that is gone")
            self._cancelled.update(keys)
            worker = self.workers[name]
            obeyed = [work for work in worker.in_hand if work.key in keys and self.rng.random() < 0.6]
            worker.in_hand = [work for work in worker.in_hand if work not in obeyed]
            worker.unreported += [Completion(key=work.key, result=Cancelled()) for work in obeyed]

    def _disturb(self, worker: ChaosWorker, fault: Fault | None) -> None:
        if fault is None:
            return
        if fault.kind is Kind.DEATH:
            self._kill(worker)
        elif fault.kind is Kind.PRESUMED_DEAD:
            self._zombies.append(worker)
            self._kill(worker)
        elif fault.kind is Kind.COORDINATOR:
            self._collect()
            self._dead.update(self.workers)
            left = tuple(task for task in self._current.tasks if task.question_keys[0] not in self.rows)
            self._zombies.clear()
            self._begin(replace(self._current, tasks=left))

    def _kill(self, worker: ChaosWorker) -> None:
        del self.workers[worker.name]
        self._dead.add(worker.name)
        self.state.lose_worker(worker.name)
        if len(self._dead) > _MOST_POISON_DEATHS:
            raise BrokenPromiseError("workers die for ever")
        self._spawn(role_of(worker.name))

    def _strike(self, work: Work, moment: Moment) -> Fault | None:
        for fault, (video_id, index) in self._poisoned.items():
            if fault.moment is moment and _is_hit(fault, work, video_id, index):
                self.struck.append((fault, work.key))
                return fault
        return self._strike_key(work.key, moment)

    def _strike_key(self, key: WorkKey, moment: Moment) -> Fault | None:
        stage = key.stage
        for number, (fault, skip) in enumerate(self.pending):
            if (fault.stage, fault.moment) != (stage, moment):
                continue
            if skip:
                self.pending[number] = fault, skip - 1
                continue
            del self.pending[number]
            self.struck.append((fault, key))
            if fault.is_poison:
                is_own = stage in ("gather", "answer")
                asked = [
                    i
                    for i in range(len(self.job.tasks[key.video_id].questions))
                    if (key.video_id, i) not in self.job.refused
                ]
                self._poisoned[fault] = key.video_id, key.index if is_own else self.rng.choice(asked or [0])
            return fault
        return None

    @property
    def poisoned(self) -> dict[Fault, tuple[int, int]]:
        """Poison that has come up: its video, and the question where it is one's."""
        return self._poisoned

    def _collect(self) -> None:
        for video in self.state.take_finished():
            for row in build_rows(video, stamp=_STAMP, finished_at=datetime.now(UTC)):
                if row.question_key in self.rows:
                    raise BrokenPromiseError(f"{row.question_key} has two rows")
                self.rows[row.question_key] = row

    def _check_bounds(self) -> None:
        total, execution = self.state.holdings, self.job.config.execution
        if not 0 <= total.frame_bytes <= execution.frame_buffer_bytes:
            raise BrokenPromiseError(f"{total.frame_bytes} bytes of frames, allowed {execution.frame_buffer_bytes}")
        if total.candidate_bytes > execution.candidate_bytes and self.state.num_admitted > 1:
            raise BrokenPromiseError(f"{total.candidate_bytes} bytes of candidates in {self.state.num_admitted} videos")

    def _check_nothing_is_held(self) -> None:
        for _ in range(3):
            for worker in list(self.workers.values()):
                worker.unreported += [worker.do(work, dead=self._dead) for work in worker.in_hand]
                worker.in_hand = []
                completions, worker.unreported = worker.unreported, []
                worker.receive(self.state.exchange(worker.name, completions))
        left = Counter({worker.name: len(worker.held) + len(worker.in_hand) for worker in self.workers.values()})
        if self.state.holdings != Holdings() or left.total():
            raise BrokenPromiseError(f"held at the end: {self.state.holdings}, {left}")


def _is_hit(fault: Fault, work: Work, video_id: int, index: int) -> bool:
    if work.key.video_id != video_id or work.key.stage != fault.stage:
        return False
    if isinstance(work, ScoreWork):
        return index in work.group.asked
    return isinstance(work, ProbeWork | DecodeWork) or work.key.index == index
