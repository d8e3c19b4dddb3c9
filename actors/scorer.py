"""Owns one copy of the model: encodes and scores groups, holds their candidates until they are bought or dropped."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.store import ObjectStore
from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.messages.work import (
    Ahead,
    Completion,
    DecodeDone,
    GatherDone,
    GatherWork,
    Ref,
    Retention,
    ScoreDone,
    ScoreWork,
)
from pipeline.failures import PipelineError
from pipeline.models.interface import VideoModel
from pipeline.passes.candidates import GroupCandidates
from pipeline.passes.device_frames import DeviceFrames, ReadStretch
from pipeline.passes.group_pass import GroupScorer, LaunchedGroup
from pipeline.settings.config import RunConfig
from pipeline.video.undecoded import Undecoded


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class QueuedGroup:
    """A group's pass under way.

    Attributes:
        wait_s: how long its frames were waited for with nothing else to do.
        read: how they were read, where that was done here; ``decode_s`` is what it took beyond earlier groups.
    """

    key: WorkKey
    launched: LaunchedGroup
    wait_s: float
    read: DecodeDone | None = None
    decode_s: float = 0.0


class ScorerActor:
    """Plain class; the model is shared with the answerer of the same process.

    Attributes:
        can_queue: whether a pass can be queued while another runs, which takes a GPU.
    """

    def __init__(
        self,
        model: VideoModel,
        store: ObjectStore,
        config: RunConfig,
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._store, self.can_queue = store, model.device.type == "cuda"
        self._candidates: dict[tuple[int, int, int], GroupCandidates] = {}  # video, attempt, position
        self._groups = GroupScorer(model, config)
        self._frames: DeviceFrames | None = None  # where the scorer is to decode
        if config.sampling.decoder == "nvdec":
            self._frames = DeviceFrames(model.device, config, timeline=store.get, storage_options=storage_options)
        self._idle_since: float | None = time.perf_counter()  # None: there is work on the device

    def score(self, work: ScoreWork) -> Completion:
        """Encode one group once, prefill it once, score it for all questions."""
        return self.finish(self.launch(work))

    def launch(self, work: ScoreWork) -> QueuedGroup:
        """Put one group's frames together and queue its pass."""
        pieces = self._pieces_of(work.frames, work.key.index)
        undecoded = _undecoded(pieces)
        taken = self._frames.take(undecoded, owner=work.key.video_id) if self._frames and undecoded else []
        wait_s = 0.0 if self._idle_since is None else time.perf_counter() - self._idle_since
        self._idle_since = None
        if taken:
            reads = (read for read, _ in taken)
            pieces = [(slots, rows, next(reads).for_current_stream()) for slots, rows, _ in pieces]
        return QueuedGroup(
            key=work.key,
            launched=self._groups.launch(pieces, work.group),
            wait_s=wait_s,
            read=sum_up(taken) if taken else None,
            decode_s=sum(read.seconds for read, is_new in taken if is_new),
        )

    def expect(self, works: Sequence[ScoreWork], ahead: Sequence[Ahead]) -> None:
        """Groups that will be scored, and those that may follow: what is to be decoded for them here is begun."""
        if self._frames is None:
            return
        for group in (*(Ahead(work.key.video_id, work.key.index, work.frames) for work in works), *ahead):
            with suppress(PipelineError):  # its own turn tells
                pieces = self._pieces_of(group.frames, group.position)
                self._frames.expect(_undecoded(pieces), owner=group.video_id)

    def _pieces_of(self, refs: Sequence[Ref], position: int) -> list[Any]:
        return [self._store.get(ref)[position] for ref in refs]

    def finish(self, queued: QueuedGroup) -> Completion:
        """Wait for a queued pass; its candidates stay here."""
        key, group = queued.key, queued.launched.finish()
        self._candidates[key.video_id, key.attempt, key.index] = group.candidates
        done = ScoreDone(scores=group.scores, was_prefilled=group.was_prefilled, read=queued.read)
        seconds = StageSeconds(
            decode_s=queued.decode_s,
            encode_s=group.encode_s,
            prefill_s=group.prefill_s,
            score_s=group.score_s,
            scorer_wait_s=queued.wait_s,
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
        """Drop all candidates of a finished or abandoned video, and its frames."""
        if self._frames is not None:
            self._frames.release(video_id)
        self._candidates = {key: held for key, held in self._candidates.items() if key[0] != video_id}

    def close(self) -> None:
        """End what decodes here."""
        if self._frames is not None:
            self._frames.close()

    def mark_idle(self) -> None:
        """The wait for the next frames counts from now."""
        self._idle_since = time.perf_counter()

    @property
    def num_candidate_tokens(self) -> int:
        """Tokens whose features are held; bounded by the shares, not by the video."""
        return int(np.sum([len(held.held) for held in self._candidates.values()], dtype=np.int64))


def _undecoded(pieces: Sequence[Any]) -> list[Undecoded]:
    """What of a group's frames is to be decoded here; of one video it is all or nothing."""
    return [frames for _, _, frames in pieces if isinstance(frames, Undecoded)]


def sum_up(taken: Sequence[tuple[ReadStretch, bool]]) -> DecodeDone:
    """How a group's stretches were read; frames are counted with the group for which they were decoded."""
    reads = [read for read, _ in taken]
    return DecodeDone(
        bundles={},
        decoder="+".join(sorted({read.decoder for read in reads})),
        num_frames_decoded=sum(read.num_frames_decoded for read, is_new in taken if is_new),
        bad_frames=tuple(sorted({frame for read in reads for frame in read.bad_frames})),
        sandbox=", ".join(sorted({read.sandbox for read in reads})),
    )
