"""How fast a job gets on, from its counts and a clock: seconds left, and how busy the model's processes are."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.engine.progress import Progress

_RATE_WINDOW_S = 600.0  # longer than what one video takes to come in
_BUSY_WINDOW_S = 60.0  # seconds count when a piece of work ends, which rarely takes longer
_SAMPLE_EVERY_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What the counts say about time.

    Attributes:
        elapsed_s: since the run began to work, the start of its workers included.
        eta_s: seconds left at the rate of the last ten minutes; None until something is scored.
        questions_per_minute: likewise.
        busy_share: of the last minute, in which a scorer or answerer had something to do, in ``[0, 1]``; None before.
    """

    elapsed_s: float
    eta_s: float | None = None
    questions_per_minute: float | None = None
    busy_share: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sample:
    """``worker_s``: seconds that the model's processes have been there, all together."""

    time_s: float
    done: float
    device_s: float
    worker_s: float


class Pace:
    """Told how far the job is, as often as is known; nothing in it waits."""

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic) -> None:
        """The run begins now.

        Args:
            now_s: a monotonic clock.
        """
        self._now_s, self._started_s = now_s, now_s()
        self._samples: deque[_Sample] = deque()
        self._worker_s, self._seen_s = 0.0, self._started_s

    def note(self, progress: Progress) -> Outlook:
        """Take in how far it is now, and say what follows."""
        now_s = self._now_s()
        self._worker_s += (now_s - self._seen_s) * (progress.num_scorers + progress.num_answerers)
        self._seen_s = now_s
        done = progress.num_questions_done + progress.open_share
        sample = _Sample(time_s=now_s, done=done, device_s=progress.device_s, worker_s=self._worker_s)
        self._file(sample)
        rate = self._rate(sample)
        return Outlook(
            elapsed_s=now_s - self._started_s,
            eta_s=_seconds_left(progress, rate),
            questions_per_minute=None if rate is None else 60 * rate,
            busy_share=self._busy_share(sample),
        )

    def _file(self, sample: _Sample) -> None:
        """Keep one per second; begin anew where counts were taken back."""
        samples = self._samples
        if samples and (sample.done < samples[-1].done or sample.device_s < samples[-1].device_s):
            samples.clear()
        is_idle = len(samples) == 1 and (samples[0].done, samples[0].device_s) == (sample.done, sample.device_s)
        if is_idle:
            samples.clear()  # the rate counts from the moment before the first piece of work came in
        if not samples or sample.time_s - samples[-1].time_s >= _SAMPLE_EVERY_S:
            samples.append(sample)
        while samples[0].time_s < sample.time_s - _RATE_WINDOW_S:
            samples.popleft()

    def _rate(self, now: _Sample) -> float | None:
        """Questions per second."""
        first = self._samples[0]
        passed_s, done = now.time_s - first.time_s, now.done - first.done
        return done / passed_s if passed_s > 0 and done > 0 else None

    def _busy_share(self, now: _Sample) -> float | None:
        start_s = now.time_s - _BUSY_WINDOW_S
        first = next((sample for sample in reversed(self._samples) if sample.time_s <= start_s), self._samples[0])
        worker_s = now.worker_s - first.worker_s
        return min(1.0, (now.device_s - first.device_s) / worker_s) if worker_s > 0 else None


def _seconds_left(progress: Progress, rate: float | None) -> float | None:
    if progress.num_questions_done == progress.num_questions:
        return 0.0
    left = progress.num_questions - progress.num_questions_done - progress.open_share
    return None if rate is None else max(0.0, left / rate)
