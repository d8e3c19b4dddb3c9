"""Runs the real ``JobState`` against simulated workers on a simulated clock: a heap of events, one coordinator.

A worker's call is decided on when it arrives; calls are served in that order, so the queue only delays replies.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pipeline.engine.job_state import JobState
from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.messages.work import Batch, Cancelled, Completion, DecodeWork, ProbeWork, ScoreDone
from pipeline.engine.one_video.video_state import VideoState
from pipeline.engine.rows import build_rows
from pipeline.lab.simulation.archive import Archive
from pipeline.lab.simulation.coordinator_queue import CoordinatorQueue
from pipeline.lab.simulation.fleet import Fleet, Worker
from pipeline.lab.simulation.messages import records_in, records_out
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
        self._queue = CoordinatorQueue(settings.coordinator)
        self._state = JobState(self._archive.tasks(), config=settings.run_config())
        self._fleet = Fleet(settings)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._waiting: dict[str, dict[str, Worker]] = {}  # role -> name -> worker, longest wait first
        self._chance = random.Random(f"nodes {settings.seed}")
        self._now_s = self._last_progress_s = 0.0
        self._uncollected: list[VideoState] = []
        self._started_s: dict[int, float] = {}
        self._seen = Observation(plan=self._archive.plan, start=self._snapshot(0.0))

    def observe(self) -> Observation:
        """Run until every question has ended.

        Raises:
            RuntimeError: When nothing has been completed for hours of simulated time.
        """
        for worker in self._fleet.start_all():
            self._at(0.0, self._call, worker, worker.token)
        self._at(self._settings.coordinator.poll_s, self._poll)
        self._plan_next_loss()
        while not self._state.is_finished:
            self._now_s, _, handle, arguments = heapq.heappop(self._events)
            if self._now_s - self._last_progress_s > _STANDSTILL_S:
                raise RuntimeError(f"nothing was completed for {_STANDSTILL_S} s: {self._state.progress}")
            handle(*arguments)
        self._seen.makespan_s = self._queue.free_at_s
        self._seen.end = self._snapshot(self._queue.free_at_s)
        self._seen.longest_wait_s = self._queue.longest_wait_s
        self._collect_rows()
        return self._seen

    def _at(self, time_s: float, handle: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (time_s, next(self._order), handle, arguments))

    def _call(self, worker: Worker, token: int) -> None:
        """A worker's call arrives: what it has done, and the question what to do next."""
        if worker.is_lost or token != worker.token:
            return
        completions = [piece.completion for piece in self._fleet.end_batch(worker)]
        ask = partial(self._state.exchange, worker.name, completions)
        batch, _ = self._queue.serve(
            self._now_s, ask, num_completions=len(completions), num_records=records_in(completions)
        )
        self._reply(worker, batch)
        if completions:
            self._last_progress_s = self._now_s
            self._seen.groups_scored += sum(isinstance(done.result, ScoreDone) for done in completions)
            self._follow_up()

    def _reply(self, worker: Worker, batch: Batch) -> None:
        """Let a worker begin its batch, or wait at the coordinator where the batch is empty."""
        sent_s = self._queue.send(records_out(batch))
        if worker.is_lost:
            return
        worker.token += 1
        if not (batch.work or batch.retain or batch.released or batch.is_finished):
            self._waiting.setdefault(worker.role, {})[worker.name] = worker
            self._at(sent_s + self._settings.coordinator.long_poll_s, self._time_out, worker, worker.token)
            return
        if batch.is_finished:
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
        self._waiting[worker.role].pop(worker.name, None)
        if not worker.is_lost:
            self._at(self._now_s + 2 * self._settings.coordinator.latency_s, self._call, worker, token)

    def _follow_up(self) -> None:
        """What a change of state leads to: finished videos, and replies to those who wait."""
        finished = self._state.take_finished()
        for video in finished:
            self._seen.latencies_s.append(self._queue.free_at_s - self._started_s.pop(video.task.video_id))
        self._uncollected += finished
        if finished:
            self._note_steady_state()
        for role in self._waiting:
            self._wake(role)

    def _wake(self, role: str) -> None:
        """Reply to those who wait, the longest first, until one gets nothing; then to those who have mail."""
        waiting = self._waiting[role]
        for worker in list(waiting.values()):
            if not self._answer(waiting, worker):
                break
        for name in sorted(self._state.with_mail & waiting.keys()):
            self._answer(waiting, waiting[name])

    def _answer(self, waiting: dict[str, Worker], worker: Worker) -> bool:
        """End a wait, if there is anything; returns whether."""
        batch, _ = self._queue.decide(self._now_s, partial(self._state.exchange, worker.name, ()))
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
        """The driver asks for finished rows, which the coordinator builds, and for work that may be dropped."""
        self._queue.serve(self._now_s, self._collect_rows)
        for name, keys in self._state.take_cancelled().items():
            arrival_s = self._queue.free_at_s + self._settings.coordinator.latency_s
            self._at(arrival_s, self._cancel, name, frozenset(keys))
        self._at(self._now_s + self._settings.coordinator.poll_s, self._poll)

    def _collect_rows(self) -> None:
        finished, self._uncollected = self._uncollected, []
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
            self._queue.serve(self._now_s, partial(self._state.lose_worker, worker.name))
        self._follow_up()

    def _restart_node(self, node: int) -> None:
        for worker in self._fleet.start_node(node, self._now_s):
            self._at(self._now_s, self._call, worker, worker.token)

    def _note_steady_state(self) -> None:
        share = len(self._seen.latencies_s) / self._settings.num_videos
        if share >= _STEADY_FROM and self._seen.steady_from is None:
            self._seen.steady_from = self._snapshot(self._now_s)
        if share >= _STEADY_TO and self._seen.steady_to is None:
            self._seen.steady_to = self._snapshot(self._now_s)

    def _snapshot(self, time_s: float) -> Snapshot:
        return Snapshot(
            time_s=time_s,
            spent_s=self._fleet.spent_s(time_s),
            coordinator_s=self._queue.busy_s,
            decision_s=self._queue.decision_s,
            num_calls=self._queue.num_calls,
            num_completions=self._queue.num_completions,
            waited_s=self._queue.waited_s,
        )


def _can_abort(piece: Piece) -> bool:
    """Reading runs in a child process that can be killed; a GPU finishes the group it has begun."""
    return isinstance(piece.work, DecodeWork)
