"""Runs the real ``JobState`` against simulated workers on a simulated clock: a heap of events, one state per shard.

A worker's call is decided on when it arrives; calls are served in that order, so the queue only delays replies.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.messages.work import Batch, Cancelled, Completion, DecodeWork, ProbeWork, ScoreDone
from pipeline.engine.policy import long_poll_s
from pipeline.engine.rows import build_rows
from pipeline.engine.sharding import ShardLoad, choose_shard, home_of, most_workers
from pipeline.lab.simulation.archive import Archive
from pipeline.lab.simulation.coordinator import Coordinator, start_coordinators
from pipeline.lab.simulation.fleet import Fleet, Worker
from pipeline.lab.simulation.messages import load_in, load_out
from pipeline.lab.simulation.records import Observation, Snapshot
from pipeline.lab.simulation.settings import SimulationSettings
from pipeline.lab.simulation.stages import Piece, StageModel
from pipeline.results.rows import RunStamp

_STAMP = RunStamp(run_id="simulation", method="simulated", model="none", model_revision=None, config_hash="")
_STEADY_FROM, _STEADY_TO = 0.1, 0.9  # shares of the videos
_STANDSTILL_S = 6 * 3600.0


class Simulation:
    """One run. ``observe`` may be called once."""

    def __init__(self, settings: SimulationSettings) -> None:
        self._settings, self._archive = settings, Archive(settings)
        self._stages = StageModel(settings, self._archive)
        self._coordinators = start_coordinators(settings, self._archive)
        self._fleet = Fleet(settings)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._free: list[Worker] = []  # until the driver sends them to a coordinator
        self._chance = random.Random(f"nodes {settings.seed}")
        self._now_s = self._last_progress_s = 0.0
        self._started_s: dict[int, float] = {}
        self._seen = Observation(plan=self._archive.plan, start=self._snapshot(0.0))

    def observe(self) -> Observation:
        """Run until every question has ended.

        Raises:
            RuntimeError: When nothing has been completed for hours of simulated time.
        """
        self._send(list(self._fleet.start_all()), latency_s=0.0)
        self._at(self._settings.coordinator.poll_s, self._poll)
        self._plan_next_loss()
        while not all(coordinator.state.is_finished for coordinator in self._coordinators):
            self._now_s, _, handle, arguments = heapq.heappop(self._events)
            if self._now_s - self._last_progress_s > _STANDSTILL_S:
                left = [coordinator.state.progress for coordinator in self._coordinators]
                raise RuntimeError(f"nothing was completed for {_STANDSTILL_S} s: {left}")
            handle(*arguments)
        self._seen.end = self._snapshot(self._seen.makespan_s)
        self._seen.longest_wait_s = max(coordinator.queue.longest_wait_s for coordinator in self._coordinators)
        for coordinator in self._coordinators:
            self._collect_rows(coordinator)
        return self._seen

    def _send(self, workers: Sequence[Worker], *, latency_s: float) -> None:
        """The driver has them ask a coordinator: as the product chooses it, by what it knew when it asked last."""
        serving, num_shards = self._fleet.count_serving(), len(self._coordinators)
        going_on = [coordinator for coordinator in self._coordinators if not coordinator.is_over]
        loads = {
            role: {one.index: ShardLoad(one.num_videos_left, serving[role, one.index]) for one in going_on}
            for role in {worker.role for worker in workers}
        }
        for worker in workers:
            num_places = self._fleet.num_places[worker.role]
            home = home_of(worker.place, num_places=num_places, num_shards=num_shards)
            most = most_workers(num_places, num_shards=num_shards)
            worker.shard = choose_shard(loads[worker.role], home=home, most=most)
            if worker.shard is None:
                self._free.append(worker)
                continue
            load = loads[worker.role][worker.shard]
            loads[worker.role][worker.shard] = load._replace(num_workers=load.num_workers + 1)
            self._at(self._now_s + latency_s, self._call, worker, worker.token)

    def _at(self, time_s: float, handle: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (time_s, next(self._order), handle, arguments))

    def _call(self, worker: Worker, token: int) -> None:
        """A worker's call arrives: what it has done, and the question what to do next."""
        if worker.is_lost or token != worker.token:
            return
        coordinator = self._coordinator_of(worker)
        completions = [piece.completion for piece in self._fleet.end_batch(worker)]
        ask = partial(coordinator.state.exchange, worker.name, completions)
        batch, _ = coordinator.queue.serve(
            self._now_s, ask, num_completions=len(completions), load=load_in(completions)
        )
        self._reply(worker, batch)
        if completions:
            self._last_progress_s = self._now_s
            self._seen.groups_scored += sum(isinstance(done.result, ScoreDone) for done in completions)
            self._follow_up(coordinator)

    def _coordinator_of(self, worker: Worker) -> Coordinator:
        assert worker.shard is not None, "who calls has been sent"
        return self._coordinators[worker.shard]

    def _reply(self, worker: Worker, batch: Batch) -> None:
        """Let a worker begin its batch, wait at the coordinator where the batch is empty, or leave it."""
        coordinator = self._coordinator_of(worker)
        sent_s = coordinator.queue.send(load_out(batch))
        if worker.is_lost:
            return
        worker.token += 1
        if not (batch.work or batch.retain or batch.released or batch.is_finished):
            waiting = coordinator.waiting.setdefault(worker.role, {})
            waiting[worker.name] = worker
            poll_s = self._settings.coordinator.long_poll_s or long_poll_s(len(waiting))
            self._at(sent_s + poll_s, self._time_out, worker, worker.token)
            return
        if batch.is_finished:
            worker.shard = None
            self._free.append(worker)
            return
        for work in batch.work:
            if isinstance(work, ProbeWork):
                self._started_s.setdefault(work.key.video_id, sent_s)
        latency_s = self._settings.coordinator.latency_s
        worker.pieces = self._stages.run(batch, sent_s + latency_s)
        self._report_at_end(worker, sent_s + latency_s)

    def _report_at_end(self, worker: Worker, idle_from_s: float) -> None:
        end_s = worker.pieces[-1].end_s if worker.pieces else idle_from_s
        self._at(end_s + self._settings.coordinator.latency_s, self._call, worker, worker.token)

    def _time_out(self, worker: Worker, token: int) -> None:
        """A waiting worker gets an empty batch, and asks again."""
        if token != worker.token:
            return
        self._coordinator_of(worker).waiting[worker.role].pop(worker.name, None)
        if not worker.is_lost:
            self._at(self._now_s + 2 * self._settings.coordinator.latency_s, self._call, worker, token)

    def _follow_up(self, coordinator: Coordinator) -> None:
        """What a change of state leads to: finished videos, and replies to those who wait."""
        finished = coordinator.state.take_finished()
        for video in finished:
            self._seen.latencies_s.append(coordinator.queue.free_at_s - self._started_s.pop(video.task.video_id))
        coordinator.uncollected += finished
        if finished:
            self._note_steady_state()
        for waiting in coordinator.waiting.values():
            self._wake(coordinator, waiting)
        if coordinator.state.is_finished:
            self._seen.makespan_s = max(self._seen.makespan_s, coordinator.queue.free_at_s)

    def _wake(self, coordinator: Coordinator, waiting: dict[str, Worker]) -> None:
        """Reply to those who wait, the longest first, until one gets nothing; then to those who have mail."""
        for worker in list(waiting.values()):
            if not self._answer(coordinator, waiting, worker):
                break
        for name in sorted(coordinator.state.with_mail & waiting.keys()):
            self._answer(coordinator, waiting, waiting[name])

    def _answer(self, coordinator: Coordinator, waiting: dict[str, Worker], worker: Worker) -> bool:
        """End a wait, if there is anything; returns whether."""
        batch, _ = coordinator.queue.decide(self._now_s, partial(coordinator.state.exchange, worker.name, ()))
        if not (batch.work or batch.retain or batch.released or batch.is_finished):
            return False
        del waiting[worker.name]
        self._reply(worker, batch)
        return True

    def _cancel(self, name: str, keys: frozenset[WorkKey]) -> None:
        """Word reaches a worker that some of its work is no longer needed: it skips what it has not begun."""
        worker = self._fleet.get(name)
        if worker is None or not worker.pieces:
            return
        at_s, kept = worker.pieces[0].start_s, []
        for piece in worker.pieces:
            duration_s = piece.end_s - piece.start_s
            is_begun = piece.start_s <= self._now_s
            if piece.work.key in keys and piece.end_s > self._now_s and not (is_begun and not _can_abort(piece)):
                self._seen.num_cancelled += 1
                duration_s = max(0.0, self._now_s - piece.start_s)
                piece.completion = Completion(key=piece.work.key, result=Cancelled())
            at_s = piece.start_s if is_begun else max(at_s, self._now_s)
            piece.start_s, piece.end_s = at_s, at_s + duration_s
            at_s = piece.end_s
            kept.append(piece)
        worker.pieces, worker.token = kept, worker.token + 1
        self._report_at_end(worker, self._now_s)

    def _poll(self) -> None:
        """The driver asks every coordinator for finished rows, which it builds, and for work that may be dropped."""
        for coordinator in self._coordinators:
            if not coordinator.is_over:
                self._ask(coordinator)
        free, self._free = self._free, []
        there = [worker for worker in free if not worker.is_lost]
        self._send(there, latency_s=2 * self._settings.coordinator.latency_s)
        self._at(self._now_s + self._settings.coordinator.poll_s, self._poll)

    def _ask(self, coordinator: Coordinator) -> None:
        coordinator.queue.serve(self._now_s, partial(self._collect_rows, coordinator))
        coordinator.is_over = coordinator.state.is_finished
        for name, keys in coordinator.state.take_cancelled().items():
            arrival_s = coordinator.queue.free_at_s + self._settings.coordinator.latency_s
            self._at(arrival_s, self._cancel, name, frozenset(keys))

    def _collect_rows(self, coordinator: Coordinator) -> None:
        finished, coordinator.uncollected = coordinator.uncollected, []
        coordinator.num_videos_left -= len(finished)
        for video in finished:
            rows = build_rows(video, stamp=_STAMP, finished_at=datetime.now(UTC))
            self._seen.groups_useful += max(row.num_groups_scored for row in rows)
            for row in rows:
                self._seen.rows_by_question[row.question_id] = self._seen.rows_by_question.get(row.question_id, 0) + 1
                self._seen.num_failed += row.status != "ok"

    def _plan_next_loss(self) -> None:
        rate = len(self._fleet.nodes) * self._settings.node_losses_per_hour / 3600
        if rate:
            self._at(self._now_s + self._chance.expovariate(rate), self._lose_node)

    def _lose_node(self) -> None:
        node = self._chance.choice(self._fleet.nodes)
        lost = self._fleet.lose_node(node, self._now_s)
        self._seen.num_nodes_lost += 1
        self._at(self._now_s + self._settings.detection_s, self._learn_of_loss, lost)
        self._at(self._now_s + self._settings.return_s, self._restart_node, node)
        self._plan_next_loss()

    def _learn_of_loss(self, lost: Sequence[Worker]) -> None:
        for worker in lost:
            if worker.shard is not None:
                coordinator = self._coordinators[worker.shard]
                coordinator.queue.serve(self._now_s, partial(coordinator.state.lose_worker, worker.name))
        for coordinator in self._coordinators:
            self._follow_up(coordinator)

    def _restart_node(self, node: int) -> None:
        self._send(self._fleet.start_node(node, self._now_s), latency_s=0.0)

    def _note_steady_state(self) -> None:
        share = len(self._seen.latencies_s) / self._settings.num_videos
        if share >= _STEADY_FROM and self._seen.steady_from is None:
            self._seen.steady_from = self._snapshot(self._now_s)
        if share >= _STEADY_TO and self._seen.steady_to is None:
            self._seen.steady_to = self._snapshot(self._now_s)

    def _snapshot(self, time_s: float) -> Snapshot:
        queues = [coordinator.queue for coordinator in self._coordinators]
        return Snapshot(
            time_s=time_s,
            spent_s=self._fleet.spent_s(time_s),
            coordinator_s=sum(queue.busy_s for queue in queues),
            decision_s=sum(queue.decision_s for queue in queues),
            num_calls=sum(queue.num_calls for queue in queues),
            num_completions=sum(queue.num_completions for queue in queues),
            waited_s=sum(queue.waited_s for queue in queues),
        )


def _can_abort(piece: Piece) -> bool:
    """Reading runs in a child process that can be killed; a GPU finishes the group it has begun."""
    return isinstance(piece.work, DecodeWork)
