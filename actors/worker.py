"""One process's share of the work: runs what the coordinator hands out and turns every failure into a record.

This is the actor boundary, the one place that catches everything.
"""

import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from types import MappingProxyType
from typing import TypeVar

import torch

from actors.answerer import AnswererActor
from actors.batch_run import BatchRun
from actors.decoder import DecoderActor
from actors.scorer import QueuedGroup, ScorerActor
from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.messages.work import (
    AnswerWork,
    Batch,
    Completion,
    DecodeWork,
    GatherWork,
    ProbeWork,
    ScoreWork,
    Work,
)
from pipeline.failures import DeviceLostError, Failure, FailureClass, PipelineError
from pipeline.models.devices.lost import loses_device

_SomeWork = TypeVar("_SomeWork", bound=Work)
_Done = TypeVar("_Done")


class DecodeWorker:
    """A process that reads videos; of ``ways`` to do so that a run's record would name it has none."""

    ways: Mapping[str, str] = MappingProxyType({})

    def __init__(self, build_decoder: Callable[[], DecoderActor]) -> None:
        self._decoder = build_decoder()
        self._pieces = BatchRun(lambda work: run_guarded(work, self._run), abort=self._decoder.abort)

    def run_batch(self, batch: Batch) -> list[Completion]:
        """Do one batch, in order."""
        return self._pieces.run(batch.work)

    def cancel(self, keys: Collection[WorkKey]) -> None:
        """From another thread: leave out pieces of the batch at hand; one that is being read is broken off."""
        self._pieces.cancel(keys)

    def _run(self, work: Work) -> Completion:
        if isinstance(work, ProbeWork):
            return self._decoder.probe(work)
        assert isinstance(work, DecodeWork)
        return self._decoder.decode(work)

    def start_over(self) -> None:
        """For a new coordinator; nothing is kept between pieces of work."""

    def close(self) -> None:
        """End what the decoder has started."""
        self._decoder.close()


class ModelWorker:
    """A process that owns one copy of the model, for scoring and for answering.

    Where passes can be queued, the last group of a batch is: it is reported with the next batch, whose first group is
    queued before it is waited for. So the device has work while the coordinator is asked. An empty batch reports it.

    Attributes:
        ways: how the model computes here, in words.
    """

    def __init__(
        self, build_actors: Callable[[], tuple[ScorerActor, AnswererActor]], *, ways: Mapping[str, str] | None = None
    ) -> None:
        self._build_actors, self.ways = build_actors, dict(ways or {})
        self._scorer, self._answerer = build_actors()
        self._pieces = BatchRun(lambda work: run_guarded(work, self._run))
        self._following: dict[WorkKey, ScoreWork] = {}
        self._queued: dict[WorkKey, QueuedGroup] = {}
        self._held: tuple[ScoreWork, ...] = ()

    def run_batch(self, batch: Batch) -> list[Completion]:
        """Drop what is no longer needed, then do the batch in order, after what was held back before."""
        with ending_with_device():
            for video_id in batch.released:
                self._scorer.release(video_id)
            for retention in batch.retain:
                self._scorer.retain(retention)
        works: tuple[Work, ...] = (*self._held, *batch.work)
        groups = [work for work in works if isinstance(work, ScoreWork)]
        self._scorer.expect(groups, batch.ahead)
        can_hold = self._scorer.can_queue and bool(batch.work) and isinstance(batch.work[-1], ScoreWork)
        self._following = {one.key: two for one, two in pairwise(groups)} if self._scorer.can_queue else {}
        self._held = (groups[-1],) if can_hold else ()
        completions = self._pieces.run(works[:-1] if can_hold else works)
        completions += [failed for work in self._held if (failed := self._queue(work)) is not None]
        self._held = tuple(work for work in self._held if work.key in self._queued)
        self._queued = {work.key: self._queued[work.key] for work in self._held}  # what was cancelled is forgotten
        if works and not self._held:
            self._scorer.mark_idle()
        return completions

    def cancel(self, keys: Collection[WorkKey]) -> None:
        """From another thread: leave out pieces of the batch at hand that have not begun."""
        self._pieces.cancel(keys)

    def _run(self, work: Work) -> Completion:
        if isinstance(work, ScoreWork):
            return self._score(work)
        if isinstance(work, GatherWork):
            return self._scorer.gather(work)
        assert isinstance(work, AnswerWork)
        return self._answerer.answer(work)

    def _score(self, work: ScoreWork) -> Completion:
        """Queue the next group's pass before waiting for this one's; what cannot be queued fails in its own turn."""
        queued = self._queued.pop(work.key, None) or self._scorer.launch(work)
        following = self._following.get(work.key)
        if following is not None:
            self._queue(following)
        return self._scorer.finish(queued)

    def _queue(self, work: ScoreWork) -> Completion | None:
        """Queue a group's pass; returns why that cannot be done."""
        if work.key in self._queued:
            return None
        launched = guard(work, self._scorer.launch)
        if isinstance(launched, Failure):
            return Completion(key=work.key, result=launched)
        self._queued[work.key] = launched
        return None

    def start_over(self) -> None:
        """For a new coordinator, which knows of no candidates and awaits nothing; the model stays loaded."""
        self._held = ()
        self._queued.clear()
        self._scorer.close()
        with ending_with_device():
            self._scorer, self._answerer = self._build_actors()


def run_guarded(work: Work, run: Callable[[Work], Completion]) -> Completion:
    """Run one piece of work; whatever goes wrong becomes a typed failure of that piece, but as ``guard`` says."""
    done = guard(work, run)
    return Completion(key=work.key, result=done) if isinstance(done, Failure) else done


def guard(work: _SomeWork, run: Callable[[_SomeWork], _Done]) -> _Done | Failure:
    """Do something for one piece of work; whatever goes wrong becomes a typed failure.

    Raises:
        DeviceLostError: The process is of no more use: all work after this would fail, too.
    """
    try:
        return run(work)
    except Exception as error:
        if isinstance(error, DeviceLostError):
            raise
        if loses_device(error):
            raise DeviceLostError.because(error) from error
        return _describe(error, stage=work.key.stage)


@contextmanager
def ending_with_device() -> Iterator[None]:
    """For what belongs to no piece of work: a lost device raises ``DeviceLostError``, anything else is a bug."""
    try:
        yield
    except RuntimeError as error:
        if loses_device(error):
            raise DeviceLostError.because(error) from error
        raise


def _describe(error: Exception, *, stage: str) -> Failure:
    if isinstance(error, PipelineError):
        return error.to_failure()
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return Failure(failure_class=FailureClass.OUT_OF_MEMORY, message=f"{stage}: {error}")
    where = traceback.extract_tb(error.__traceback__)[-1]
    return Failure(
        failure_class=FailureClass.INTERNAL,
        message=f"{stage}: {type(error).__name__}: {error} ({where.name}, line {where.lineno})",
    )
