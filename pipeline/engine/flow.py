"""All videos in flight, filed by what they wait for, and what they hold together. Nothing here scans all videos."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import merge

from pipeline.engine.age_queue import AgeQueue
from pipeline.engine.one_video.video_state import VideoState
from pipeline.settings.config import ExecutionConfig


@dataclass(kw_only=True, slots=True)
class Holdings:
    """What a video, or all of them, have and hold.

    Attributes:
        frame_bytes: reserved for frames.
        candidate_bytes: reserved for candidates: what is held, at least the bound of a video that was let in.
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

    def __init__(self, execution: ExecutionConfig) -> None:
        self._execution = execution
        self.videos: dict[int, VideoState] = {}
        self.total = Holdings()
        self._shares: dict[int, Holdings] = {}
        self._by_age: dict[int, VideoState] = {}
        self._let_in: set[int] = set()  # ages of videos that may read and score
        self._unprobed, self._undecoded, self._unanswered = AgeQueue(), AgeQueue(), AgeQueue()
        self._certain, self._speculative = AgeQueue(), AgeQueue()
        self._hungry, self._ahead = AgeQueue(), AgeQueue()

    @property
    def is_short_of_room(self) -> bool:
        """Whether a video that was begun waits for room; true after ``start_readings`` only."""
        return len(self._hungry) > 0

    @property
    def mean_groups(self) -> float | None:
        """Groups per video of those whose plan is known; None while there is none."""
        num_planned = len(self.videos) - self.total.num_unprobed
        return self.total.num_planned / num_planned if num_planned else None

    @property
    def num_let_in(self) -> int:
        """Videos that may read and score."""
        return len(self._let_in)

    def file(self, video: VideoState) -> None:
        """After anything that happened to a video."""
        self.videos[video.task.video_id] = self._by_age[video.age] = video
        frames, end = video.frames, video.certain_end
        unread = None if frames is None else frames.first_unread
        ready = None if frames is None else frames.first_ready
        self._unprobed.put(video.age, is_in=video.plan is None and video.probing is None)
        self._undecoded.put(video.age, is_in=frames is not None and frames.num_queued > 0)
        self._unanswered.put(video.age, is_in=bool(video.final.to_hand_out))
        self._certain.put(video.age, is_in=ready is not None and ready < end)
        self._speculative.put(video.age, is_in=ready is not None and ready >= end)
        self._hungry.put(video.age, is_in=unread is not None and unread < end)
        self._ahead.put(video.age, is_in=unread is not None and unread >= end)
        share = self._measure(video, end)
        self.total.replace(self._shares.get(video.age, _NOTHING), share)
        self._shares[video.age] = share

    def _measure(self, video: VideoState, end: int) -> Holdings:
        counts = Holdings(num_scoring=video.needs_scores, num_unprobed=video.plan is None)
        if video.plan is None or video.frames is None:
            return counts
        counts.frame_bytes, counts.num_queued = video.frames.reserved_bytes, video.frames.num_queued
        counts.candidate_bytes = self._charge(video, extra_tokens=0) if video.age in self._let_in else 0
        counts.num_certain = video.frames.num_ready(end)
        counts.num_ready = video.frames.num_ready(len(video.plan.groups))
        counts.num_planned = len(video.plan.groups)
        return counts

    def remove(self, video: VideoState) -> None:
        """It is over."""
        self.total.replace(self._shares.pop(video.age), _NOTHING)
        del self.videos[video.task.video_id], self._by_age[video.age]
        self._let_in.discard(video.age)
        queues = (self._unprobed, self._undecoded, self._unanswered, self._certain, self._speculative)
        for queue in (*queues, self._hungry, self._ahead):
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
        is_let_in_only = False
        for age in self._hungry:
            video = self._by_age[age]
            if age not in self._let_in and (is_let_in_only or not self._has_room_for_candidates(video)):
                is_let_in_only = True
            else:
                return video if self._has_room_for_frames(video) else None
        return None

    def start_reading_ahead(self, window: int | None) -> bool:
        """Reserve room for one reading that may turn out unnecessary; returns whether one was begun.

        Args:
            window: groups beyond the certain ones; None: decoders have nothing else to do.
        """
        for age in self._ahead:
            video = self._by_age[age]
            assert video.frames is not None
            first = video.frames.first_unread or 0
            is_near = window is None or first < video.certain_end + window
            if is_near and self._has_room_for_candidates(video) and self._has_room_for_frames(video):
                self._start_reading(video)
                return True
        return False

    def _start_reading(self, video: VideoState) -> None:
        assert video.frames is not None
        self._let_in.add(video.age)
        video.frames.start_chunk()
        self.file(video)

    def _has_room_for_frames(self, video: VideoState) -> bool:
        """The whole next reading fits."""
        assert video.frames is not None
        return video.frames.chunk_bytes() <= self._execution.frame_buffer_bytes - self.total.frame_bytes

    def _has_room_for_candidates(self, video: VideoState) -> bool:
        """It has been let in, or can be: as the only one in any case."""
        if video.age in self._let_in or not self._let_in:
            return True
        return self.total.candidate_bytes + self._charge(video, extra_tokens=0) <= self._execution.candidate_bytes

    def _charge(self, video: VideoState, *, extra_tokens: int) -> int:
        assert video.plan is not None
        assert video.candidates is not None
        return max(video.bound_tokens, video.candidates.num_tokens + extra_tokens) * video.plan.token_bytes

    def _has_room_to_score(self, video: VideoState, position: int) -> bool:
        """Within its own bound a video always gets on; beyond, only where the others leave room."""
        assert video.candidates is not None
        cost = video.candidates.cost([position, *video.passed_over(position)])
        if not cost:
            return True
        charge, before = self._charge(video, extra_tokens=cost), self._charge(video, extra_tokens=0)
        others = self.total.candidate_bytes - self._shares[video.age].candidate_bytes
        return charge == before or others + charge <= self._execution.candidate_bytes

    def videos_to_read(self) -> Iterator[VideoState]:
        """With a timeline or a stretch to read."""
        return (self._by_age[age] for age in merge(self._unprobed, self._undecoded))

    def videos_to_answer(self) -> Iterator[VideoState]:
        """With a final pass to run."""
        return (self._by_age[age] for age in self._unanswered)

    def next_to_score(self, window: int, may_take: Callable[[VideoState], bool]) -> tuple[VideoState, int] | None:
        """The oldest video with a group that is needed in any case, else with one within the window.

        Returns:
            The video, and below which position ``first_group`` may choose; None where nothing can be scored.
        """
        for ages, ahead in ((self._certain, 0), (self._speculative, window)):
            for age in ages if ages is self._certain or window else ():
                video = self._by_age[age]
                end = video.certain_end + ahead
                if may_take(video) and self.first_group(video, end) is not None:
                    return video, end
        return None

    def first_group(self, video: VideoState, end: int) -> int | None:
        """The next group of a video that a scorer can have; it may have been given others since it was filed."""
        assert video.frames is not None
        for position in video.frames.ready_positions():
            if position < end and self._has_room_to_score(video, position):
                return position
            if position >= end or not video.is_known(position):
                return None  # in visiting order; but what is lost and known waits without holding up the rest
        return None
