"""What the coordinator hands out and what comes back. Tensors never appear here, only references to where they are.

A reference is whatever the executor's object store makes of a value: an ``ObjectRef`` under Ray, the value itself in
the serial executor. The coordinator passes references on without opening them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.failures import Failure
from pipeline.manifest.questions import Question
from pipeline.manifest.time_range import TimeRange
from pipeline.method.selectors.base import GroupScore
from pipeline.passes.records import FinalAnswer, FinalInput, GroupInput
from pipeline.planning.question_check import QuestionCheck
from pipeline.planning.video_plan import VideoPlan
from pipeline.video.decode_plan import Stretch
from pipeline.video.slot_table import SlotTable

Ref = Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeWork:
    """Read a video's timeline, plan it, or the part asked about, and check its questions.

    Attributes:
        fingerprint: which version of the file is meant.
        room_bytes: what its frames may take, where that has turned out to be less than configured.
    """

    key: WorkKey
    uri: str
    fingerprint: str
    questions: tuple[Question, ...] = ()
    time_range: TimeRange | None = None
    room_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DecodeWork:
    """Decode one stretch and bundle its frames by group.

    Attributes:
        probe: reference to its timeline, which may be megabytes; who cannot open it reads the timeline again.
        slots: which slots of which groups the stretch fills.
        groups_per_bundle: groups whose frames are stored together, positions ``[i * n, (i + 1) * n)`` in bundle i.
        size: height and width to resize to while decoding; None keeps the stored size.
    """

    key: WorkKey
    uri: str
    fingerprint: str
    probe: Ref
    stretch: Stretch
    slots: SlotTable
    size: tuple[int, int] | None
    groups_per_bundle: int = 1


class ScoreWork(NamedTuple):
    """Encode one group and score it for all questions that still need it; a named tuple travels fastest.

    Attributes:
        key: ``index`` is the group's position in visiting order.
        frames: references to bundles, as in ``DecodeDone``, that together fill the group.
    """

    key: WorkKey
    frames: tuple[Ref, ...]
    group: GroupInput

    def __reduce__(self) -> tuple[Any, ...]:
        """Small arrays travel as bytes: a buffer beside the message costs more than what it holds."""
        group = self.group
        centers_s = None if group.patch_centers_s is None else group.patch_centers_s.tobytes()
        fields = (None if isinstance(value, np.ndarray) else value for value in group)
        return _unpack_score_work, (self.key, self.frames, group.patches.tobytes(), centers_s, *fields)


def _unpack_score_work(
    key: WorkKey, frames: tuple[Ref, ...], patches: bytes, centers_s: bytes | None, *fields: Any
) -> ScoreWork:
    group = GroupInput(*fields)._replace(
        patches=np.frombuffer(patches, dtype=np.int64),
        patch_centers_s=None if centers_s is None else np.frombuffer(centers_s),
    )
    return ScoreWork(key=key, frames=frames, group=group)


@dataclass(frozen=True, kw_only=True, slots=True)
class GatherWork:
    """Hand out the tokens one question bought from groups that this worker holds: group position -> count.

    ``by_patch``: tokens of each of its patches, where they are not simply its best ones.
    """

    key: WorkKey
    bought: Mapping[int, int]
    by_patch: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AnswerWork:
    """The final pass of question ``key.index``; ``pieces`` refer to lists of ``CandidatePiece``."""

    key: WorkKey
    pieces: tuple[Ref, ...]
    final: FinalInput


Work = ProbeWork | DecodeWork | ScoreWork | GatherWork | AnswerWork


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """How many candidates of some groups a question may still need, by group position; what is beyond is dropped."""

    video_id: int
    attempt: int
    question: int
    limits: Mapping[int, int]


class Ahead(NamedTuple):
    """A group that a scorer will be given, of a video that it is to decode: it can begin. No work, and no promise."""

    video_id: int
    position: int
    frames: tuple[Ref, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """One reply of the coordinator. ``released`` are videos whose candidates can go."""

    work: tuple[Work, ...] = ()
    ahead: tuple[Ahead, ...] = ()
    retain: tuple[Retention, ...] = ()
    released: tuple[int, ...] = ()
    is_finished: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ProbeDone:
    """What will be done with a video: planned where it was read, so that an odd video cannot end the job.

    ``probe`` refers to the timeline, for those who read the frames; ``check`` says which questions can be asked.
    """

    plan: VideoPlan
    probe: Ref
    check: QuestionCheck = field(default_factory=QuestionCheck)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DecodeDone:
    """Frames of one stretch, in bundles of several groups; ``bad_frames`` are frames of the video.

    Attributes:
        bundles: number of the bundle -> reference to a mapping of group position to ``FramePiece``, or to
            ``UndecodedPiece`` where the scorer is to read them.
        decoder: libraries that read them, joined by ``+``; ``sandbox``: what held its process.
        notes: for the log; the rows are what they are without.
    """

    bundles: Mapping[int, Ref]
    decoder: str
    num_frames_decoded: int
    bad_frames: tuple[int, ...] = ()
    sandbox: str = ""
    notes: tuple[str, ...] = ()


class ScoreDone(NamedTuple):
    """Question index -> what the group says about it.

    Attributes:
        was_prefilled: False where tokens were only encoded.
        read: how the scorer read the group's frames, without bundles; None where a decoder had.
    """

    scores: Mapping[int, GroupScore]
    was_prefilled: bool
    read: DecodeDone | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GatherDone:
    """Where the gathered tokens are."""

    pieces: Ref


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerDone:
    """The final answer."""

    final: FinalAnswer


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancelled:
    """The worker gave a piece up, because it was told that nobody needs it any more."""


Result = ProbeDone | DecodeDone | ScoreDone | GatherDone | AnswerDone | Cancelled | Failure


class Completion(NamedTuple):
    """One finished piece of work."""

    key: WorkKey
    result: Result
    seconds: StageSeconds = StageSeconds()
