"""One disturbed run of a random job: workers take turns in any order, faults strike, and every promise is checked."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.engine.messages.work import Cancelled, Completion
from pipeline.engine.rows import build_rows
from pipeline.failures import Failure, FailureClass, StoreFullError
from pipeline.lab.chaos.crew import Crew, Zombie
from pipeline.lab.chaos.faults import Fault, Kind, Moment
from pipeline.lab.chaos.jobs import ChaosJob
from pipeline.lab.chaos.shard import ChaosShard
from pipeline.lab.chaos.strikes import Strikes
from pipeline.lab.chaos.worker import BrokenPromiseError, ChaosWorker
from pipeline.results.rows import QuestionResult, RunStamp

_STAMP = RunStamp(run_id="r", method="m", model="fake", model_revision=None, config_hash="c")
_MOST_STEPS = 30_000
_MOST_POISON_DEATHS = 60
_MOST_LATE_REPORTS = 3
_STEP_S = 1.0
_SILENT = Failure(failure_class=FailureClass.WORKER_LOST, message="it was silent for too long")


class ChaosCase:
    """Drives one job to its end.

    Attributes:
        strikes: what struck, and what is still to come.
        num_given_up: workers that were silent for too long.
    """

    def __init__(self, job: ChaosJob, rng: random.Random, pending: Sequence[tuple[Fault, int]] = ()) -> None:
        self.job, self.rng = job, rng
        self.strikes = Strikes(job, rng, pending)
        self.rows: dict[str, QuestionResult] = {}
        self.num_given_up = 0
        # what is given up for silence counts as a death: where attempts are few, only poison may kill
        self._has_patience = not any(fault.is_poison for fault, _ in pending)
        self._num_poison_deaths = 0
        self._now_s = 0.0
        num = job.num_shards
        self.shards = [ChaosShard(job, job.tasks[index::num], index=index, now_s=0.0) for index in range(num)]
        self.crew = Crew(job, rng)
        self.crew.start(self.shards, now_s=0.0)

    def run(self) -> dict[str, QuestionResult]:
        """Rows by question key.

        Raises:
            BrokenPromiseError: the job stands still, a row comes twice, or something is still held at the end.
        """
        for _ in range(_MOST_STEPS):
            self._pass_time()
            if self.crew.zombies and self.rng.random() < 0.3:
                self._report_late(self.rng.choice(self.crew.zombies))
            worker = self.crew.choose(self._now_s)
            if worker is not None and self.crew.is_sent(worker, self.shards):
                self._step(worker)
            self._collect()
            for shard in self.shards:
                shard.check_bounds()
                if not shard.is_over and shard.state.is_finished:
                    self._end_shard(shard)
            if all(shard.is_over for shard in self.shards):
                return self.rows
        raise BrokenPromiseError(f"the job stands still: {[shard.state.progress for shard in self.shards]}")

    def _pass_time(self) -> None:
        self._now_s += _STEP_S
        for shard in self.shards:
            for overdue in shard.tell_time(self._now_s):
                worker = self.crew.workers.get(overdue.worker)
                if self._has_patience and worker is not None and self.crew.shard_of(worker) is shard:
                    self.num_given_up += 1
                    worker.ended_because = _SILENT
                    self._give_up(worker)

    def _report_late(self, zombie: Zombie) -> None:
        """A worker given up for lost is alive, and says what it has done and more than once."""
        zombie.num_reports_left -= 1
        if not zombie.num_reports_left:
            self.crew.zombies.remove(zombie)
        worker = zombie.worker
        completions = [*worker.unreported, *worker.reported]
        completions += [worker.do(work, dead=self.crew.dead) for work in worker.in_hand]
        if zombie.shard.exchange(worker.name, completions).work:
            raise BrokenPromiseError("a worker given up for lost was given work")

    def _step(self, worker: ChaosWorker) -> None:
        reports_early = bool(worker.unreported) and self.rng.random() < 0.2
        if worker.in_hand and not reports_early:
            self._do_first(worker)
        elif worker.in_hand or worker.unreported or self.rng.random() < 0.9:
            self._report(worker)

    def _do_first(self, worker: ChaosWorker) -> None:
        work = worker.in_hand[0]
        fault = self.strikes.at(work, Moment.DONE)
        if fault is not None and fault.kind is Kind.POISON_DEATH:
            self._num_poison_deaths += 1
            if self._num_poison_deaths > _MOST_POISON_DEATHS:
                raise BrokenPromiseError("workers die for ever")
            return self._kill(worker)
        del worker.in_hand[0]
        if fault is not None and fault.failure_class is not None:
            failure = Failure(failure_class=fault.failure_class, message="on purpose")
            worker.unreported.append(Completion(key=work.key, result=failure))
        elif fault is not None and fault.kind is Kind.FULL:
            worker.unreported.append(Completion(key=work.key, result=StoreFullError("on purpose").to_failure()))
        elif fault is not None and fault.kind is Kind.CANCELLED:
            worker.unreported.append(Completion(key=work.key, result=Cancelled()))
        else:
            worker.unreported.append(worker.do(work, dead=self.crew.dead))
            self._disturb(worker, fault)
        return None

    def _report(self, worker: ChaosWorker) -> None:
        completions, worker.unreported = worker.unreported, []
        faults = [(self.strikes.at_key(done.key, Moment.REPORTED), done) for done in completions]
        twice = [done for fault, done in faults if fault is not None and fault.kind is Kind.TWICE]
        self._exchange(worker, [*completions, *twice])
        worker.reported += completions
        for fault, done in faults:
            if fault is not None and fault.kind is Kind.AGAIN:
                worker.unreported.append(done)
            elif fault is not None and fault.kind is Kind.IMPOSTOR:
                self._exchange(self.rng.choice(list(self.crew.workers.values())), [done])
            else:
                self._disturb(worker, fault)

    def _exchange(self, worker: ChaosWorker, completions: Sequence[Completion]) -> None:
        shard = self.crew.shard_of(worker)
        if shard is None or worker.is_hung:
            return
        batch = shard.exchange(worker.name, completions)
        worker.receive(batch)
        self._forward_cancelled(shard)
        for work in batch.work:
            self._disturb(worker, self.strikes.at(work, Moment.HANDED_OUT))

    def _forward_cancelled(self, shard: ChaosShard) -> None:
        """Some workers obey, some are too far gone."""
        for name, keys in shard.state.take_cancelled().items():
            worker = self.crew.workers.get(name)
            if shard.cancelled.intersection(keys) or worker is None or self.crew.shard_of(worker) is not shard:
                raise BrokenPromiseError(f"{name}: {keys} cancelled twice, or at a worker that is gone")
            shard.cancelled.update(keys)
            obeyed = [work for work in worker.in_hand if work.key in keys and self.rng.random() < 0.6]
            worker.in_hand = [work for work in worker.in_hand if work not in obeyed]
            worker.unreported += [Completion(key=work.key, result=Cancelled()) for work in obeyed]

    def _disturb(self, worker: ChaosWorker, fault: Fault | None) -> None:
        shard = self.crew.shard_of(worker)
        if fault is None or shard is None:
            return
        if fault.kind is Kind.DEATH:
            self._kill(worker)
        elif fault.kind is Kind.PRESUMED_DEAD:
            self._give_up(worker)
        elif fault.kind is Kind.HANG:
            worker.is_hung = True
        elif fault.kind is Kind.COORDINATOR:
            self._collect()
            self._replace_coordinator(shard)

    def _give_up(self, worker: ChaosWorker) -> None:
        """It is told that it is dead, by and by."""
        shard = self.crew.shard_of(worker)
        if shard is not None:
            self.crew.zombies.append(Zombie(worker=worker, shard=shard, num_reports_left=_MOST_LATE_REPORTS))
        self._kill(worker)

    def _kill(self, worker: ChaosWorker) -> None:
        shard = self.crew.shard_of(worker)
        self.crew.replace(worker, self.shards, now_s=self._now_s)
        if shard is not None:
            shard.lose(worker)

    def _replace_coordinator(self, old: ChaosShard) -> None:
        """What has not ended starts over; who served it goes on under another name."""
        workers = self.crew.serving(old)
        self.crew.zombies = [zombie for zombie in self.crew.zombies if zombie.shard is not old]
        left = [task for task in old.tasks if task.video_id not in old.done]
        self.shards[old.index] = ChaosShard(self.job, left, index=old.index, now_s=self._now_s)
        for worker in workers:
            self.crew.rename(worker, self.shards, now_s=self._now_s)

    def _end_shard(self, shard: ChaosShard) -> None:
        """All of its videos have ended: nothing is held of them, and its workers go on elsewhere."""
        workers = self.crew.serving(shard)
        shard.check_nothing_is_held([worker for worker in workers if not worker.is_hung], dead=self.crew.dead)
        shard.is_over = True
        for worker in workers:
            self.crew.move(worker, self.shards, now_s=self._now_s)

    def _collect(self) -> None:
        for shard in self.shards:
            for video in shard.state.take_finished():
                shard.done.add(video.task.video_id)
                for row in build_rows(video, stamp=_STAMP, finished_at=datetime.now(UTC)):
                    if row.question_key in self.rows:
                        raise BrokenPromiseError(f"{row.question_key} has two rows")
                    self.rows[row.question_key] = row
