"""One coordinator on Ray and its part of the job: asked without waiting for it, and replaced when it dies or hangs."""

import logging
import time
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayError, RayTaskError

from actors.builders import Job
from actors.coordinator_service import CoordinatorService, JobStatus
from pipeline.counted import counted
from pipeline.engine.job_state import JobState
from pipeline.engine.messages.keys import Role
from pipeline.engine.one_video.tries import Rest
from pipeline.engine.progress import Progress, Tally
from pipeline.failures import Failure, FailureClass, PipelineError
from pipeline.own_time import OwnTime
from pipeline.settings.config import RunConfig

_BACKSTOP_FACTOR = 3  # a reader kills its own child after one timeout, and tries twice; only copying can hang longer
_log = logging.getLogger("adapttoken.coordinator")


def is_bug(error: RayError) -> bool:
    """Whether code has raised it; all others say that a process or a node has gone, or that Ray ended it for memory."""
    if not isinstance(error, RayTaskError):
        return False
    return isinstance(error.cause, RayTaskError) or not isinstance(error.cause, RayError)


def most_patience_s(config: RunConfig) -> dict[Role, float]:
    """Wall seconds that a worker may take for what it was given, by the settings."""
    return {
        Role.DECODER: _BACKSTOP_FACTOR * config.reading.decode_timeout_s,
        Role.SCORER: config.execution.score_timeout_s + least_patience_s(config).get(Role.SCORER, 0.0),
        Role.ANSWERER: config.execution.score_timeout_s,
    }


def least_patience_s(config: RunConfig) -> dict[Role, float]:
    """What is waited however quick others were: with ``nvdec`` a video's first group decodes for all of them."""
    reads = config.sampling.decoder == "nvdec"
    return {Role.SCORER: _BACKSTOP_FACTOR * config.reading.decode_timeout_s} if reads else {}


class Shard:
    """What the driver knows of one coordinator, and of those before it.

    Attributes:
        index: among the job's shards.
        coordinator: where its workers ask; another one after a death.
        is_finished: whether all of its videos have ended.
        progress: of all its coordinators together; what it has to do, until the first one has answered.
        outage: why it cannot go on, if so.
    """

    def __init__(self, job: Job, options: dict[str, Any], *, index: int = 0) -> None:
        """Start nothing; ``options`` are those of ``ray.remote``."""
        self.index, self.is_finished = index, not len(job.tasks)
        self.coordinator: Any = None
        self.progress = Progress.of_nothing(num_videos=len(job.tasks), num_questions=job.num_questions)
        self.outage: Failure | None = None
        self._job, self._options = job, options
        self._done: set[int] = set()
        self._before, self._last = Tally(), Tally()
        self._deaths_left = job.config.execution.max_attempts
        self._rest, self._is_resting = Rest(), False
        self._question: Any = None
        self._own_time, self._asked_s = OwnTime(), 0.0
        self._limit_s = 0.0
        self._told: list[Any] = []

    @property
    def num_videos_left(self) -> int:
        """That have not ended."""
        return len(self._job.tasks) - len(self._done)

    def start(self) -> None:
        """Make a coordinator for what is left."""
        job = self._job.without(self._done) if self._done else self._job
        shown = f"{job.stamp.run_id} coordinator-{self.index} {uuid.uuid4().hex[:4]}"  # each but once, as Ray wants it
        options: dict[str, Any] = {"name": shown, **self._options}
        remote_service: Any = ray.remote(**options)(CoordinatorService)
        self.coordinator = remote_service.remote(
            partial(JobState, job.tasks, config=job.config),
            stamp=job.stamp,
            patience_s=most_patience_s(job.config),
            least_s=least_patience_s(job.config),
            is_traced=job.is_traced,
        )
        self._question, self._told = None, []
        self._limit_s = job.config.execution.score_timeout_s  # its process has to start first

    def has_coordinator(self) -> bool:
        """Whether there is one to ask; after one that Ray ended for memory the next is made here, when it is time."""
        if self._is_resting and self._rest.until_s <= time.monotonic():
            self._is_resting = False
            self.start()
        return not self._is_resting

    def ask(self) -> Any:
        """Send the question how far it is, unless one is under way; returns what its answer will be in."""
        if self._question is None:
            self._question, self._asked_s = self.coordinator.poll.remote(), self._own_time.tell(time.monotonic())
        return self._question

    def hear(self) -> JobStatus | None:
        """The answer, once it is there.

        Raises:
            RayError: The coordinator is dead, or has not answered for too long.
        """
        ready, _ = ray.wait([self._question], timeout=0)
        if not ready:
            if self._own_time.tell(time.monotonic()) - self._asked_s > self._limit_s:
                raise GetTimeoutError(f"it has not answered for {self._limit_s:g} s")
            return None
        status: JobStatus = ray.get(self._question)
        self._check_told()
        self._question, self._limit_s = None, self._job.config.execution.coordinator_timeout_s
        if status.outcomes:
            self._deaths_left = self._job.config.execution.max_attempts
            self._rest.end()
            self._done.update(outcome.video_id for outcome in status.outcomes)
        self.progress = status.progress.continue_after(self._before)
        self._last, self.outage, self.is_finished = self.progress.ended, status.outage, status.is_finished
        return status

    def _check_told(self) -> None:
        """What it was told has been heard, or was a bug; what it has not heard yet is looked at with a later answer."""
        if self._told:
            heard, self._told = ray.wait(self._told, num_returns=len(self._told), timeout=0)
            ray.get(heard)

    def expect(self, workers: Sequence[str]) -> None:
        """These have been told to work for it."""
        self._told.append(self.coordinator.expect.remote(workers))

    def lose_worker(self, name: str, failure: Failure | None) -> None:
        """One of its workers is no more; a coordinator that is dead, too, needs not know."""
        if not self.is_finished and self.coordinator is not None:
            self._told.append(self.coordinator.lose_worker.remote(name, failure))

    def replace(self, error: RayError) -> None:
        """Its coordinator died or hangs: what has not ended starts over with another one.

        Where Ray ended it for want of memory that one waits, longer each time: at once it would only be ended, too.

        Raises:
            PipelineError: They keep dying, or it was a bug.
        """
        if is_bug(error):
            raise PipelineError(FailureClass.INTERNAL, f"the coordinator came upon a bug: {error}") from error
        self._deaths_left, self._before = self._deaths_left - 1, self._last
        if self._deaths_left == 0:
            raise PipelineError(FailureClass.WORKER_LOST, f"the coordinator keeps dying: {error}") from error
        _log.warning(
            "the coordinator died (%s); %s done, the others go on",
            type(error).__name__,
            counted(len(self._done), "video is", "videos are"),
        )
        self.stop()
        self.coordinator, self._question = None, None
        if isinstance(error, OutOfMemoryError):
            self._rest.begin(time.monotonic())
            self._is_resting = True
        else:
            self.start()

    def stop(self) -> None:
        """End its process."""
        if self.coordinator is not None:
            ray.kill(self.coordinator)
