"""The simulated workers: where they run, what each is doing, and how busy each role has been."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.engine.messages.keys import Role
from pipeline.lab.simulation.settings import SimulationSettings
from pipeline.lab.simulation.stages import Piece


@dataclass(kw_only=True, slots=True, eq=False)
class Worker:
    """One process. An event that carries an older ``token`` than the worker's is void.

    Attributes:
        place: number of its place within its role, which its successor takes.
        shard: the coordinator that it works for; None between two.
        pieces: the batch it is doing, in order.
        is_lost: its node is gone; what the coordinator knows of that comes later.
    """

    name: str
    role: str
    node: int
    place: int
    joined_s: float
    token: int = 0
    pieces: list[Piece] = field(default_factory=list)
    shard: int | None = None
    is_lost: bool = False

    def busy_s(self, now_s: float) -> float:
        """Seconds of its current batch that have passed."""
        return sum(max(0.0, min(now_s, piece.end_s) - piece.start_s) for piece in self.pieces)


class Fleet:
    """All workers that are there. Names are never used again."""

    def __init__(self, settings: SimulationSettings) -> None:
        self._numbers = itertools.count()
        self._workers: dict[str, Worker] = {}
        self._busy_s: dict[str, float] = defaultdict(float)  # of batches that have ended
        self._there_s: dict[str, float] = defaultdict(float)  # of workers that have gone
        self._places = _places_by_node(settings)
        self.num_places = Counter(role for places in self._places for role, _ in places)

    def start_all(self) -> Iterator[Worker]:
        """The workers of every node."""
        for node in range(len(self._places)):
            yield from self.start_node(node, 0.0)

    def start_node(self, node: int, now_s: float) -> list[Worker]:
        """A node's workers, under new names."""
        started = [
            Worker(name=f"{role}-{next(self._numbers)}", role=role, node=node, place=place, joined_s=now_s)
            for role, place in self._places[node]
        ]
        self._workers |= {worker.name: worker for worker in started}
        return started

    def lose_node(self, node: int, now_s: float) -> list[Worker]:
        """Its workers stop at once; what they were doing is never reported."""
        lost = [worker for worker in self._workers.values() if worker.node == node]
        for worker in lost:
            self._busy_s[worker.role] += worker.busy_s(now_s)
            self._there_s[worker.role] += now_s - worker.joined_s
            worker.is_lost, worker.pieces = True, []
            del self._workers[worker.name]
        return lost

    def end_batch(self, worker: Worker) -> list[Piece]:
        """Take what a worker has done."""
        done, worker.pieces = worker.pieces, []
        for piece in done:
            self._busy_s[worker.role] += piece.end_s - piece.start_s
        return done

    @property
    def nodes(self) -> list[int]:
        """Nodes that are there."""
        return sorted({worker.node for worker in self._workers.values()})

    def count_serving(self) -> Counter[tuple[str, int]]:
        """Role and coordinator -> workers that work for it."""
        return Counter((w.role, w.shard) for w in self._workers.values() if w.shard is not None)

    def get(self, name: str) -> Worker | None:
        """A worker that is there."""
        return self._workers.get(name)

    def spent_s(self, now_s: float) -> dict[str, tuple[float, float]]:
        """Role -> worker-seconds busy and worker-seconds there, up to now."""
        busy, there = self._busy_s.copy(), self._there_s.copy()
        for worker in self._workers.values():
            busy[worker.role] += worker.busy_s(now_s)
            there[worker.role] += now_s - worker.joined_s
        return {role: (busy[role], there[role]) for role in there}


def _places_by_node(settings: SimulationSettings) -> list[list[tuple[str, int]]]:
    """Per node, its workers' roles and places; places of a role are counted from node to node."""
    numbers: dict[str, Iterator[int]] = defaultdict(itertools.count)
    return [[(role, next(numbers[role])) for role in roles.elements()] for roles in _roles_by_node(settings)]


def _roles_by_node(settings: SimulationSettings) -> list[Counter[str]]:
    """Per node, how many workers of each role; answerers and decoders are spread evenly."""
    num_nodes = -(-settings.num_gpus // settings.gpus_per_node)
    nodes = [Counter[str]() for _ in range(num_nodes)]
    for gpu in range(settings.num_gpus):
        nodes[gpu // settings.gpus_per_node][Role.SCORER] += 1
    for answerer in range(settings.num_answerers):
        node = nodes[answerer * settings.num_gpus // settings.num_answerers // settings.gpus_per_node]
        node[Role.SCORER] -= 1
        node[Role.ANSWERER] += 1
    for decoder in range(settings.num_decoders):
        nodes[decoder * num_nodes // settings.num_decoders][Role.DECODER] += 1
    return nodes
