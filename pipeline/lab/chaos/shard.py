"""One part of a job under test: its state machine, what its coordinator knows of its workers' silence, and its rows."""

from collections import Counter
from collections.abc import Sequence

from pipeline.engine.flow import Holdings
from pipeline.engine.job_state import JobState
from pipeline.engine.messages.keys import Role, WorkKey
from pipeline.engine.messages.work import Batch, Completion
from pipeline.engine.patience import Overdue, WorkerPatience
from pipeline.engine.sharding import shard_config
from pipeline.lab.chaos.jobs import ChaosJob
from pipeline.lab.chaos.worker import BrokenPromiseError, ChaosWorker
from pipeline.planning.tasks import VideoTask

_MOST_S = 200.0  # what the settings allow for any work


class ChaosShard:
    """As ``actors/coordinator_service.py`` does it, on a simulated clock.

    Attributes:
        tasks: those that had not ended when this coordinator began.
        done: videos that have ended since.
        cancelled: work that it has said is needless, each piece once.
        is_over: whether the driver knows that all have.
    """

    def __init__(self, job: ChaosJob, tasks: Sequence[VideoTask], *, index: int, now_s: float) -> None:
        self.index, self.tasks, self.now_s = index, tuple(tasks), now_s
        self._execution = shard_config(job.config, job.num_shards).execution
        self.state = JobState(self.tasks, config=shard_config(job.config, job.num_shards))
        self._most_group_bytes = max((job.most_group_bytes(task.video_id) for task in self.tasks), default=0)
        self._patience = WorkerPatience(dict.fromkeys(Role, _MOST_S))
        self.done: set[int] = set()
        self.cancelled: set[WorkKey] = set()
        self.is_over = False

    @property
    def num_videos_left(self) -> int:
        """That have not ended."""
        return len(self.tasks) - len(self.done)

    def tell_time(self, now_s: float) -> list[Overdue]:
        """Who is not waited for any longer."""
        self.now_s = now_s
        self.state.tell_time(now_s)
        return self._patience.overdue(now_s)

    def expect(self, worker: str) -> None:
        """It has been told to work here."""
        self._patience.expect(worker, now_s=self.now_s)

    def exchange(self, worker: str, completions: Sequence[Completion]) -> Batch:
        """A call, answered at once."""
        self._patience.note_call(worker, [done.key for done in completions], now_s=self.now_s)
        batch = self.state.exchange(worker, completions)
        if batch.is_finished:
            self._patience.forget(worker)
        else:
            self._patience.note_reply(worker, [work.key for work in batch.work], now_s=self.now_s)
        return batch

    def lose(self, worker: ChaosWorker) -> None:
        """It is no more, or has been given up; ``why`` it was ended is in the failure."""
        self._patience.forget(worker.name)
        self.state.lose_worker(worker.name, worker.ended_because)

    def check_bounds(self) -> None:
        """What is held together is bounded; one group may exceed a shard's part of the room for frames.

        Raises:
            BrokenPromiseError: it is not.
        """
        total, execution = self.state.holdings, self._execution
        if not 0 <= total.frame_bytes <= max(self._most_group_bytes, execution.frame_room_bytes):
            raise BrokenPromiseError(f"{total.frame_bytes} bytes of frames, allowed {execution.frame_room_bytes}")
        if total.candidate_bytes > execution.candidate_bytes and self.state.num_admitted > 1:
            raise BrokenPromiseError(f"{total.candidate_bytes} bytes of candidates in {self.state.num_admitted} videos")

    def check_nothing_is_held(self, workers: Sequence[ChaosWorker], *, dead: set[str]) -> None:
        """All videos have ended, and everybody has heard it.

        Raises:
            BrokenPromiseError: a worker keeps something, or the state does.
        """
        for _ in range(3):
            for worker in workers:
                worker.unreported += [worker.do(work, dead=dead) for work in worker.in_hand]
                worker.in_hand = []
                completions, worker.unreported = worker.unreported, []
                worker.receive(self.exchange(worker.name, completions))
        left = Counter({worker.name: len(worker.held) + len(worker.in_hand) for worker in workers})
        if self.state.holdings != Holdings() or left.total():
            raise BrokenPromiseError(f"held at the end: {self.state.holdings}, {left}")
