"""All videos in flight, filed by what they wait for, and what they hold together. Nothing here scans all videos."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import merge

from pipeline.engine.age_queue import AgeQueue
from pipeline.engine.frame_allowance import FrameAllowance
from pipeline.engine.one_video.planned import Planned
from pipeline.engine.one_video.video_state import VideoState
from pipeline.settings.config import ExecutionConfig


@dataclass(kw_only=True, slots=True)
class Holdings:
    """What a video, or all of them, have and hold.

    Attributes:
        frame_bytes: reserved for frames.
        candidate_bytes: reserved for candidates: what is held, at least the bound of an admitted video.
        num_certain: groups ready that are needed in any case; ``num_ready`` with those that may not be.
        num_queued: stretches that wait for a decoder.
        num_scoring: videos of which a question still waits for groups; ``num_unprobed`` those without a plan.
    """

    frame_bytes: int = 0
    candidate_bytes: int = 0
    num_certain: int = 0
    num_ready: int = 0
    num_queued: int = 0
    num_scoring: int = 0
    num_unprobed: int = 0
    num_planned: int = 0

    def replace(self, old: "Holdings", new: "Holdings") -> None:
        """One video's share changes."""
        self.frame_bytes += new.frame_bytes - old.frame_bytes
        self.candidate_bytes += new.candidate_bytes - old.candidate_bytes
        self.num_certain += new.num_certain - old.num_certain
        self.num_ready += new.num_ready - old.num_ready
        self.num_queued += new.num_queued - old.num_queued
        self.num_scoring += new.num_scoring - old.num_scoring
        self.num_unprobed += new.num_unprobed - old.num_unprobed
        self.num_planned += new.num_planned - old.num_planned


_NOTHING = Holdings()


class Flow:
    """The oldest video comes first in everything."""

    def __init__(self, execution: ExecutionConfig, *, outage_s: float) -> None:
        self._execution = execution
        self.videos: dict[int, VideoState] = {}
        self.total = Holdings()
        self.allowance = FrameAllowance(num_bytes=execution.frame_room_bytes, patience_s=outage_s)
        self._shares: dict[int, Holdings] = {}
        self._by_age: dict[int, VideoState] = {}
        self._admitted: set[int] = set()  # ages of videos that may read and score
        self._unprobed, self._undecoded, self._unanswered = AgeQueue(), AgeQueue(), AgeQueue()
        self._certain, self._speculative = AgeQueue(), AgeQueue()
        self._unread, self._unread_ahead = AgeQueue(), AgeQueue()

    @property
    def is_short_of_room(self) -> bool:
        """Whether a video that was begun waits for room; true after ``start_readings`` only."""
        return len(self._unread) > 0

    @property
    def mean_groups(self) -> float | None:
        """Groups per video of those whose plan is known; None while there is none."""
        num_planned = len(self.videos) - self.total.num_unprobed
        return self.total.num_planned / num_planned if num_planned else None

    @property
    def num_admitted(self) -> int:
        """Videos that may read and score."""
        return len(self._admitted)

    def file(self, video: VideoState) -> None:
        """After anything that happened to a video."""
        self.videos[video.task.video_id] = self._by_age[video.age] = video
        planned, age = video.planned, video.age
        if planned is None:
            self._admitted.discard(age)  # it starts over
        end = 0 if planned is None else planned.certain_end
        unread = None if planned is None else planned.frames.first_unread
        ready = None if planned is None else planned.frames.first_ready
        self._unprobed.put(age, is_in=video.waits_for_probe)
        self._undecoded.put(age, is_in=planned is not None and planned.frames.num_queued > 0)
        self._unanswered.put(age, is_in=planned is not None and bool(planned.final.to_hand_out))
        self._certain.put(age, is_in=ready is not None and ready < end)
        self._speculative.put(age, is_in=ready is not None and ready >= end)
        self._unread.put(age, is_in=unread is not None and unread < end)
        self._unread_ahead.put(age, is_in=unread is not None and unread >= end)
        share = self._measure(video, end)
        self.total.replace(self._shares.get(age, _NOTHING), share)
        self._shares[age] = share

    def _measure(self, video: VideoState, end: int) -> Holdings:
        planned = video.planned
        counts = Holdings(num_scoring=video.needs_scores, num_unprobed=planned is None)
        if planned is None:
            return counts
        counts.frame_bytes, counts.num_queued = planned.frames.reserved_bytes, planned.frames.num_queued
        counts.candidate_bytes = planned.charge_bytes() if video.age in self._admitted else 0
        counts.num_certain = planned.frames.num_ready(end)
        counts.num_ready = planned.frames.num_ready(len(planned.plan.groups))
        counts.num_planned = len(planned.plan.groups)
        return counts

    def remove(self, video: VideoState) -> None:
        """It is over."""
        self.total.replace(self._shares.pop(video.age), _NOTHING)
        del self.videos[video.task.video_id], self._by_age[video.age]
        self._admitted.discard(video.age)
        queues = (self._unprobed, self._undecoded, self._unanswered, self._certain, self._speculative)
        for queue in (*queues, self._unread, self._unread_ahead):
            queue.put(video.age, is_in=False)

    @property
    def num_to_answer(self) -> int:
        """Videos of which a final pass waits for a worker."""
        return len(self._unanswered)

    def start_readings(self) -> None:
        """Reserve room for what is needed in any case, oldest video first: a large one would starve else.

        A video that waits for the candidates of others lets those read on, and nobody else in before it.
        """
        while (video := self._next_to_start()) is not None:
            self._start_reading(video)

    def _next_to_start(self) -> VideoState | None:
        is_admitted_only = False
        for age in self._unread:
            video = self._by_age[age]
            if age not in self._admitted and (is_admitted_only or not self._has_room_for_candidates(video)):
                is_admitted_only = True
            else:
                return video if self._has_room_for_frames(video) else None
        return None

    def start_reading_ahead(self, window: int | None) -> bool:
        """Reserve room for one reading that may turn out unnecessary; returns whether one was begun.

        Args:
            window: groups beyond the certain ones; None: decoders have nothing else to do.
        """
        for age in self._unread_ahead:
            video, planned = self._by_age[age], self._planned(age)
            first = planned.frames.first_unread or 0
            is_near = window is None or first < planned.certain_end + window
            if is_near and self._has_room_for_candidates(video) and self._has_room_for_frames(video):
                self._start_reading(video)
                return True
        return False

    def _planned(self, age: int) -> Planned:
        planned = self._by_age[age].planned
        assert planned is not None, "only planned videos are filed for reading and scoring"
        return planned

    def _start_reading(self, video: VideoState) -> None:
        self._admitted.add(video.age)
        self._planned(video.age).frames.start_chunk()
        self.file(video)

    def _has_room_for_frames(self, video: VideoState) -> bool:
        """The whole next reading fits, or nothing else is there: one group may exceed a shard's part of the room."""
        room = self.allowance.num_bytes - self.total.frame_bytes
        return not self.total.frame_bytes or self._planned(video.age).frames.chunk_bytes() <= room

    def _has_room_for_candidates(self, video: VideoState) -> bool:
        """It has been admitted, or can be: as the only one in any case."""
        if video.age in self._admitted or not self._admitted:
            return True
        charge = self._planned(video.age).charge_bytes()
        return self.total.candidate_bytes + charge <= self._execution.candidate_bytes

    def _has_room_to_score(self, planned: Planned, age: int, position: int) -> bool:
        """Within its own bound a video always gets on; beyond, only where the others leave room."""
        cost = planned.candidates.cost([position, *planned.passed_over(position)])
        if not cost:
            return True
        charge, before = planned.charge_bytes(extra_tokens=cost), planned.charge_bytes()
        others = self.total.candidate_bytes - self._shares[age].candidate_bytes
        return charge == before or others + charge <= self._execution.candidate_bytes

    def videos_to_read(self) -> Iterator[VideoState]:
        """With a timeline or a stretch to read."""
        return (self._by_age[age] for age in merge(self._unprobed, self._undecoded))

    def videos_to_answer(self) -> Iterator[tuple[VideoState, Planned]]:
        """With a final pass to run."""
        return ((self._by_age[age], self._planned(age)) for age in self._unanswered)

    def next_to_score(
        self, window: int, may_take: Callable[[VideoState], bool]
    ) -> tuple[VideoState, Planned, int] | None:
        """The oldest video with a group that is needed in any case, else with one within the window.

        Returns:
            The video, and below which position ``first_group`` may choose; None where nothing can be scored.
        """
        for ages, ahead in ((self._certain, 0), (self._speculative, window)):
            for age in ages if ages is self._certain or window else ():
                video, planned = self._by_age[age], self._planned(age)
                end = planned.certain_end + ahead
                if may_take(video) and self.first_group(planned, age, end) is not None:
                    return video, planned, end
        return None

    def first_group(self, planned: Planned, age: int, end: int) -> int | None:
        """The next group of a video that a scorer can have; it may have been given others since it was filed."""
        for position in planned.frames.ready_positions():
            if position < end and self._has_room_to_score(planned, age, position):
                return position
            if position >= end or not planned.is_known(position):
                return None  # in visiting order; but what is lost and known waits without holding up the rest
        return None
