"""Runs final passes. The logic is ``pipeline.passes.final_pass``; this opens the gathered tokens and times it."""

import time

from actors.store import ObjectStore
from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.messages.work import AnswerDone, AnswerWork, Completion
from pipeline.models.interface import VideoModel
from pipeline.passes.final_pass import answer_question
from pipeline.settings.config import RunConfig


class AnswererActor:
    """Plain class; shares the model with the scorer of its process."""

    def __init__(self, model: VideoModel, store: ObjectStore, config: RunConfig) -> None:
        self._model, self._store, self._config = model, store, config

    def answer(self, work: AnswerWork) -> Completion:
        """One question's final pass."""
        started = time.perf_counter()
        pieces = [piece for ref in work.pieces for piece in self._store.get(ref)]
        done = AnswerDone(final=answer_question(self._model, pieces, work.final, self._config))
        return Completion(key=work.key, result=done, seconds=StageSeconds(answer_s=time.perf_counter() - started))
