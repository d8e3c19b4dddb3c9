"""Whether the storage is away: different videos in a row that could not be read. Pure; the clock is the caller's.

A failure of the storage counts against a video only where another one could be read since. During an outage new ones
are begun one at a time, as a try: when one can be read, the storage is there, and what still fails does so on its own.
When a video that was hit can be read again, the outage is over.
"""

from dataclasses import dataclass, field

from pipeline.failures import Failure, FailureClass

VIDEOS_IN_A_ROW = 3
_LAST_VIDEOS = 2  # enough where the storage does not answer at all, and no other video is left to tell
_TRY_EVERY_S = 30.0


@dataclass(kw_only=True, slots=True, eq=False)
class Outage:
    """What reading has met lately.

    Attributes:
        patience_s: ``reading.outage_s``; 0: nothing is ever an outage.
        hit: videos that failed by storage since one could be read.
        singled_out: videos that failed while others could be read: they speak for themselves only.
    """

    patience_s: float
    hit: set[int] = field(default_factory=set)
    singled_out: set[int] = field(default_factory=set)
    _since_s: float | None = None
    _next_try_s: float = 0.0
    _last: Failure | None = None

    @property
    def is_on(self) -> bool:
        """Whether there is one."""
        return self._since_s is not None

    def note_failure(self, video_id: int, failure: Failure, *, now_s: float, has_others: bool) -> bool:
        """A reading failed; returns whether that may be an outage, and does not count against the video.

        Args:
            video_id: whose.
            failure: of any class.
            now_s: time.
            has_others: whether there are videos that have not been tried, and can tell.
        """
        if not (failure.is_of_storage and self.patience_s) or video_id in self.singled_out:
            return False
        self.hit.add(video_id)
        self._last = failure
        is_mute = failure.failure_class is FailureClass.TRANSFER and not has_others
        if self._since_s is None and len(self.hit) >= (_LAST_VIDEOS if is_mute else VIDEOS_IN_A_ROW):
            self._since_s, self._next_try_s = now_s, now_s + _TRY_EVERY_S
        return self.is_on or has_others

    def note_reading(self, video_id: int, *, is_probe: bool) -> None:
        """A reading went well; a stretch of a video that was not hit may come from a copy, and says nothing."""
        if video_id in self.hit:
            self.hit.clear()
        elif is_probe:
            self.singled_out |= self.hit
            self.hit.clear()
        self.singled_out.discard(video_id)
        self._since_s = self._since_s if self.hit else None

    def forget(self, video_id: int) -> None:
        """A video has ended."""
        self.singled_out.discard(video_id)

    def may_try(self, now_s: float) -> bool:
        """During an outage: whether one more video is begun, to see how it fares."""
        if now_s < self._next_try_s:
            return False
        self._next_try_s = now_s + _TRY_EVERY_S
        return True

    def judge(self, videos_in_flight: set[int], *, now_s: float) -> Failure | None:
        """Why the job cannot go on: it has lasted too long, and all that is in flight waits for its end."""
        if self._since_s is None or now_s - self._since_s < self.patience_s or not videos_in_flight <= self.hit:
            return None
        why = "" if self._last is None else f", last: {self._last.message.rstrip('.')}"
        return Failure(
            failure_class=FailureClass.TRANSFER,
            message=f"the storage has been away for {now_s - self._since_s:.0f} s: {len(self.hit)} videos in a row "
            f"cannot be read{why}. None of them has failed: when it is back, the same command goes on. "
            "To wait longer raise reading.outage_s; with 0 such videos fail one by one",
        )
