"""Owns one copy of the model: encodes and scores groups, holds their candidates until they are bought or dropped."""

import time
from dataclasses import dataclass

import numpy as np

from actors.store import ObjectStore
from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.messages.work import Completion, GatherDone, GatherWork, Retention, ScoreDone, ScoreWork
from pipeline.models.interface import VideoModel
from pipeline.passes.candidates import GroupCandidates
from pipeline.passes.group_pass import GroupScorer, LaunchedGroup
from pipeline.settings.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class QueuedGroup:
    """A group's pass under way; ``wait_s`` is how long its frames were waited for with nothing else to do."""

    key: WorkKey
    launched: LaunchedGroup
    wait_s: float


class ScorerActor:
    """Plain class; the model is shared with the answerer of the same process.

    Attributes:
        can_queue: whether a pass can be queued while another runs, which takes a GPU.
    """

    def __init__(self, model: VideoModel, store: ObjectStore, config: RunConfig) -> None:
        self._store, self.can_queue = store, model.device.type == "cuda"
        self._candidates: dict[tuple[int, int, int], GroupCandidates] = {}  # video, attempt, position
        self._groups = GroupScorer(model, config)
        self._idle_since: float | None = time.perf_counter()  # None: there is work on the device

    def score(self, work: ScoreWork) -> Completion:
        """Encode one group once, prefill it once, score it for all questions."""
        return self.finish(self.launch(work))

    def launch(self, work: ScoreWork) -> QueuedGroup:
        """Put one group's frames together and queue its pass."""
        pieces = [self._store.get(ref)[work.key.index] for ref in work.frames]
        wait_s = 0.0 if self._idle_since is None else time.perf_counter() - self._idle_since
        self._idle_since = None
        return QueuedGroup(key=work.key, launched=self._groups.launch(pieces, work.group), wait_s=wait_s)

    def finish(self, queued: QueuedGroup) -> Completion:
        """Wait for a queued pass; its candidates stay here."""
        key, group = queued.key, queued.launched.finish()
        self._candidates[key.video_id, key.attempt, key.index] = group.candidates
        done = ScoreDone(scores=group.scores, was_prefilled=group.was_prefilled)
        seconds = StageSeconds(
            encode_s=group.encode_s, prefill_s=group.prefill_s, score_s=group.score_s, scorer_wait_s=queued.wait_s
        )
        return Completion(key=key, result=done, seconds=seconds)

    def gather(self, work: GatherWork) -> Completion:
        """Hand out bought tokens; only these ever leave the process."""
        started = time.perf_counter()
        key = work.key
        fetched = [  # all are on their way before the first is waited for
            self._candidates[key.video_id, key.attempt, position].fetch(
                key.index, count, position=position, by_patch=work.by_patch.get(position)
            )
            for position, count in sorted(work.bought.items())
        ]
        pieces = [piece.read() for piece in fetched]
        seconds = StageSeconds(answer_s=time.perf_counter() - started)
        return Completion(key=key, result=GatherDone(pieces=self._store.put(pieces)), seconds=seconds)

    def retain(self, retention: Retention) -> None:
        """Drop candidates beyond shrunken shares."""
        for position, limit in retention.limits.items():
            candidates = self._candidates.get((retention.video_id, retention.attempt, position))
            if candidates is not None:  # else the video has been released meanwhile
                candidates.retain(retention.question, limit)

    def release(self, video_id: int) -> None:
        """Drop all candidates of a finished or abandoned video."""
        self._candidates = {key: held for key, held in self._candidates.items() if key[0] != video_id}

    def mark_idle(self) -> None:
        """The wait for the next frames counts from now."""
        self._idle_since = time.perf_counter()

    @property
    def num_candidate_tokens(self) -> int:
        """Tokens whose features are held; bounded by the shares, not by the video."""
        return int(np.sum([len(held.held) for held in self._candidates.values()], dtype=np.int64))
