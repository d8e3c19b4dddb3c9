"""A worker process in memory: holds candidates, opens references, and finds out when something it needs is gone."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from pipeline.engine.messages.work import (
    AnswerWork,
    Batch,
    Completion,
    DecodeDone,
    DecodeWork,
    GatherDone,
    GatherWork,
    ProbeDone,
    ProbeWork,
    Result,
    ScoreDone,
    ScoreWork,
    Work,
)
from pipeline.failures import Failure, FailureClass, PipelineError
from pipeline.lab.chaos.jobs import FRAMES_PER_PATCH, ChaosJob, answer_of, score_of
from pipeline.method.selectors.registry import get_selector


class BrokenPromiseError(RuntimeError):
    """The state machine broke a promise: a worker was asked for what it cannot have, or a row is not as it must be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A value in the object store; it goes with the process that put it there."""

    owner: str
    value: object


class _GoneError(Exception):
    pass


@dataclass(kw_only=True, slots=True, eq=False)
class ChaosWorker:
    """What it was given and has not done, what it has done and not reported, and the candidates it holds.

    ``held``: (video, attempt, position) -> question -> tokens. ``place`` is that of its role which a successor takes;
    who ``is_hung`` does nothing, until it is given up; ``ended_because`` says why it was, where it was not dead.
    """

    name: str
    job: ChaosJob
    place: int = 0
    is_hung: bool = False
    ended_because: Failure | None = None
    in_hand: list[Work] = field(default_factory=list)
    unreported: list[Completion] = field(default_factory=list)
    reported: list[Completion] = field(default_factory=list)
    held: dict[tuple[int, int, int], dict[int, int]] = field(default_factory=dict)

    def receive(self, batch: Batch) -> None:
        """Drop what is no longer needed, and keep the work for later."""
        for video_id in batch.released:
            self.held = {key: held for key, held in self.held.items() if key[0] != video_id}
        for drop in batch.retain:
            for position, limit in drop.limits.items():
                held = self.held.get((drop.video_id, drop.attempt, position))
                if held is not None and drop.question in held:
                    held[drop.question] = min(held[drop.question], limit)
        self.in_hand += batch.work

    def start_over(self) -> None:
        """For another coordinator, which knows nothing of what went before."""
        self.in_hand, self.unreported, self.reported, self.held = [], [], [], {}

    def do(self, work: Work, *, dead: AbstractSet[str]) -> Completion:
        """One piece; what went with a dead process is a failure of class ``worker_lost``."""
        result: Result
        try:
            result = self._do(work, dead)
        except PipelineError as error:
            result = error.to_failure()
        except _GoneError:
            result = Failure(failure_class=FailureClass.WORKER_LOST, message="an object went with its process")
        return Completion(key=work.key, result=result)

    def _do(self, work: Work, dead: AbstractSet[str]) -> Result:
        video_id = work.key.video_id
        if isinstance(work, ProbeWork):
            return ProbeDone(
                plan=self.job.plan(video_id, room_bytes=work.room_bytes), probe=None, check=self.job.check(video_id)
            )
        if isinstance(work, DecodeWork):
            bundles: dict[int, dict[int, tuple[int, int, tuple[int, ...]]]] = {}
            for position, slots, _ in work.slots.items():
                filled = work.key.video_id, position, tuple(slots.tolist())
                bundles.setdefault(position // work.groups_per_bundle, {})[position] = filled
            stored = {number: Stored(owner=self.name, value=bundle) for number, bundle in bundles.items()}
            num_frames = work.stretch.num_frames_to_decode
            return DecodeDone(bundles=stored, decoder="fake", num_frames_decoded=num_frames)
        if isinstance(work, GatherWork):
            return GatherDone(pieces=Stored(owner=self.name, value=self._gather(work)))
        if isinstance(work, AnswerWork):
            return answer_of(work.final.question, {p: n for ref in work.pieces for p, n in _open(ref, dead)})
        return self._score(work, dead)

    def _gather(self, work: GatherWork) -> tuple[tuple[int, int], ...]:
        for position, count in work.bought.items():
            held = self.held.get((work.key.video_id, work.key.attempt, position), {}).get(work.key.index, 0)
            if count > held:
                raise BrokenPromiseError(f"{work.key}: {count} tokens bought of group {position}, {held} are held")
        return tuple(sorted(work.bought.items()))

    def _score(self, work: ScoreWork, dead: AbstractSet[str]) -> ScoreDone:
        filled = []
        for ref in work.frames:
            video_id, position, slots = _open(ref, dead)[work.key.index]
            if (video_id, position) != (work.key.video_id, work.key.index):
                raise BrokenPromiseError(f"{work.key}: frames of video {video_id}, group {position}")
            filled += slots
        group = work.group
        num_frames = len(group.patches) * FRAMES_PER_PATCH
        if sorted(filled) != list(range(num_frames)):
            raise BrokenPromiseError(f"{work.key}: slots {sorted(filled)} of {num_frames} are filled")
        num_tokens = len(group.patches) * group.geometry.tokens_per_patch
        self.held[work.key.video_id, work.key.attempt, work.key.index] = dict.fromkeys(group.asked, num_tokens)
        scores = {i: score_of(group.questions[i], group.group_index, num_tokens=num_tokens) for i in group.asked}
        return ScoreDone(scores=scores, was_prefilled=get_selector(self.job.config.method).needs_scores)


def _open(ref: Stored, dead: AbstractSet[str]) -> Any:
    if ref.owner in dead:
        raise _GoneError
    return ref.value
