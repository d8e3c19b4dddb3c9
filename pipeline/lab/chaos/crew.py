"""The workers of a case and the shards that they serve: as ``actors/worker_pool.py`` starts, renames and moves them."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.engine.messages.keys import Role, role_of
from pipeline.engine.sharding import ShardLoad, choose_shard, home_of, most_workers
from pipeline.lab.chaos.jobs import ChaosJob
from pipeline.lab.chaos.shard import ChaosShard
from pipeline.lab.chaos.worker import ChaosWorker

_MOST_PAUSE_S = 15.0  # for which chance may pass over a worker that runs


@dataclass(kw_only=True, slots=True, eq=False)
class Zombie:
    """A worker that was given up and is alive: it goes on reporting, under its old name, to whom it served."""

    worker: ChaosWorker
    shard: ChaosShard
    num_reports_left: int


class Crew:
    """Names are never used again.

    Attributes:
        dead: names under which nobody can be reached, and whose objects have gone.
        num_moves: how often a worker went on to another shard.
    """

    def __init__(self, job: ChaosJob, rng: random.Random) -> None:
        """Nobody is there yet."""
        self._job, self._rng, self._num_spawned = job, rng, 0
        self.workers: dict[str, ChaosWorker] = {}
        self.zombies: list[Zombie] = []
        self.dead: set[str] = set()
        self.num_moves = 0
        self._serving: dict[str, ChaosShard] = {}
        self._stepped_s: dict[str, float] = {}
        self._num_places = {
            Role.SCORER: job.num_scorers,
            Role.DECODER: job.num_decoders,
            Role.ANSWERER: job.num_answerers,
        }

    def start(self, shards: Sequence[ChaosShard], *, now_s: float) -> None:
        """One worker for each place."""
        for role, count in self._num_places.items():
            for place in range(count):
                self._spawn(role, place, shards, now_s=now_s)

    def shard_of(self, worker: ChaosWorker) -> ChaosShard | None:
        """Whom it serves; None where all has ended, or where it is none of the crew any more."""
        return self._serving.get(worker.name) if self.workers.get(worker.name) is worker else None

    def is_sent(self, worker: ChaosWorker, shards: Sequence[ChaosShard]) -> bool:
        """Whether it serves a shard, now that the driver may send who had to wait until one has room."""
        if worker.name not in self._serving:
            self._serve(worker, shards)
            self.num_moves += worker.name in self._serving
        return worker.name in self._serving

    def serving(self, shard: ChaosShard) -> list[ChaosWorker]:
        """A shard's workers."""
        return [worker for worker in self.workers.values() if self._serving.get(worker.name) is shard]

    def choose(self, now_s: float) -> ChaosWorker | None:
        """Whose turn it is: anybody's who runs, but nobody is passed over for long."""
        running = [worker for worker in self.workers.values() if not worker.is_hung]
        if not running:
            return None
        late = [worker for worker in running if now_s - self._stepped_s[worker.name] > _MOST_PAUSE_S]
        worker = late[0] if late else self._rng.choice(running)
        self._stepped_s[worker.name] = now_s
        return worker

    def replace(self, worker: ChaosWorker, shards: Sequence[ChaosShard], *, now_s: float) -> None:
        """It is gone: another one takes its place."""
        self._leave(worker)
        self._spawn(role_of(worker.name), worker.place, shards, now_s=now_s)

    def rename(self, worker: ChaosWorker, shards: Sequence[ChaosShard], *, now_s: float) -> None:
        """Its coordinator did not answer: it goes on as somebody else, if it runs."""
        if worker.is_hung:
            return self.replace(worker, shards, now_s=now_s)
        self._leave(worker)
        worker.start_over()
        return self._join(worker, shards, now_s=now_s)

    def move(self, worker: ChaosWorker, shards: Sequence[ChaosShard], *, now_s: float) -> None:
        """Its shard has ended: it goes on under its name, and now and then says again what is of no interest there."""
        if worker.is_hung:
            return self.replace(worker, shards, now_s=now_s)
        stale = worker.reported[-2:] if self._rng.random() < 0.5 else []
        worker.start_over()
        worker.unreported += stale
        self._serve(worker, shards)
        self.num_moves += worker.name in self._serving
        return None

    def _spawn(self, role: Role, place: int, shards: Sequence[ChaosShard], *, now_s: float) -> None:
        self._join(ChaosWorker(name=f"{role}-", job=self._job, place=place), shards, now_s=now_s)

    def _join(self, worker: ChaosWorker, shards: Sequence[ChaosShard], *, now_s: float) -> None:
        self._num_spawned += 1
        worker.name = f"{role_of(worker.name)}-{self._num_spawned}"
        self.workers[worker.name] = worker
        self._stepped_s[worker.name] = now_s
        self._serve(worker, shards)

    def _leave(self, worker: ChaosWorker) -> None:
        del self.workers[worker.name]
        self._serving.pop(worker.name, None)
        self.dead.add(worker.name)

    def _serve(self, worker: ChaosWorker, shards: Sequence[ChaosShard]) -> None:
        """Where the product would send it."""
        self._serving.pop(worker.name, None)
        role = role_of(worker.name)
        num_serving = Counter(shard.index for name, shard in self._serving.items() if role_of(name) is role)
        loads = {s.index: ShardLoad(s.num_videos_left, num_serving[s.index]) for s in shards if not s.is_over}
        num_places, num_shards = self._num_places[role], len(shards)
        home = home_of(worker.place, num_places=num_places, num_shards=num_shards)
        chosen = choose_shard(loads, home=home, most=most_workers(num_places, num_shards=num_shards))
        if chosen is not None:
            self._serving[worker.name] = shards[chosen]
            shards[chosen].expect(worker.name)
