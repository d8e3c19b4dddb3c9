"""One process's share of the work: runs what the coordinator hands out and turns every failure into a record.

This is the actor boundary, the one place that catches everything.
"""

import traceback
from collections.abc import Callable

import torch

from actors.answerer import AnswererActor
from actors.decoder import DecoderActor
from actors.scorer import ScorerActor
from pipeline.engine.work import AnswerWork, Batch, Completion, DecodeWork, GatherWork, ProbeWork, ScoreWork, Work
from pipeline.failures import Failure, FailureClass, PipelineError


class DecodeWorker:
    """A process that reads videos."""

    def __init__(self, build_decoder: Callable[[], DecoderActor]) -> None:
        self._decoder = build_decoder()

    def run_batch(self, batch: Batch) -> list[Completion]:
        """Do one batch, in order."""
        return [run_guarded(work, self._run) for work in batch.work]

    def _run(self, work: Work) -> Completion:
        if isinstance(work, ProbeWork):
            return self._decoder.probe(work)
        assert isinstance(work, DecodeWork)
        return self._decoder.decode(work)

    def close(self) -> None:
        """End what the decoder has started."""
        self._decoder.close()


class ModelWorker:
    """A process that owns one copy of the model, for scoring and for answering."""

    def __init__(self, build_actors: Callable[[], tuple[ScorerActor, AnswererActor]]) -> None:
        self._scorer, self._answerer = build_actors()

    def run_batch(self, batch: Batch) -> list[Completion]:
        """Drop what is no longer needed, then do the batch in order."""
        for video_id in batch.released:
            self._scorer.release(video_id)
        for retention in batch.retain:
            self._scorer.retain(retention)
        completions = [run_guarded(work, self._run) for work in batch.work]
        if batch.work:
            self._scorer.mark_idle()
        return completions

    def _run(self, work: Work) -> Completion:
        if isinstance(work, ScoreWork):
            return self._scorer.score(work)
        if isinstance(work, GatherWork):
            return self._scorer.gather(work)
        assert isinstance(work, AnswerWork)
        return self._answerer.answer(work)


def run_guarded(work: Work, run: Callable[[Work], Completion]) -> Completion:
    """Run one piece of work; whatever goes wrong becomes a typed failure of that piece."""
    try:
        return run(work)
    except PipelineError as error:
        failure = error.to_failure()
    except (MemoryError, torch.OutOfMemoryError) as error:
        failure = Failure(failure_class=FailureClass.OUT_OF_MEMORY, message=f"{work.key.stage}: {error}")
    except Exception as error:  # noqa: BLE001 - the actor boundary: one bad video must not end the job
        where = traceback.extract_tb(error.__traceback__)[-1]
        failure = Failure(
            failure_class=FailureClass.INTERNAL,
            message=f"{work.key.stage}: {type(error).__name__}: {error} ({where.name}, line {where.lineno})",
        )
    return Completion(key=work.key, result=failure)
