"""What a run on Ray tells Prometheus: every metric has its name here, and is fed by the driver a few times a second.

Ray puts ``ray_`` before names, and ``_total`` behind those of counters. ``cluster/grafana_dashboard.json`` shows them.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict

from ray.util.metrics import Counter, Gauge, Histogram

from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.progress import Progress
from pipeline.results.rows import QuestionResult

_SUMS = {  # counter -> the sum in ``Progress`` whose growth it takes over
    "adapttoken_questions_stopped_early": ("num_questions_stopped", "questions that needed no further group"),
    "adapttoken_groups_scored": ("num_groups_scored", "groups scored, each once however many questions it serves"),
    "adapttoken_groups_wasted": ("num_groups_wasted", "groups scored that no question needed in the end"),
    "adapttoken_retries": ("num_redone", "how often work was done again: failures, lost workers"),
}
_LEVELS = {  # gauge -> what it shows of ``Progress``
    "adapttoken_videos": ("num_videos", "videos of this run"),
    "adapttoken_videos_in_flight": ("num_videos_in_flight", "videos begun and not ended"),
    "adapttoken_questions": ("num_questions", "questions of this run"),
    "adapttoken_groups_planned": ("num_groups_planned", "groups of the videos whose length is known"),
    "adapttoken_groups_ready": ("num_groups_ready", "groups whose frames wait for a scorer"),
    "adapttoken_frame_bytes": ("frame_bytes", "reserved for decoded frames"),
    "adapttoken_candidate_bytes": ("candidate_bytes", "reserved for tokens that may still be bought"),
}
_ROLES = ("scorer", "answerer", "decoder")
_BOUNDARIES_S = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0]


class RunMetrics:
    """The metrics of one run, told apart from those of others by the label ``run_id``. Ray must be initialised."""

    def __init__(self, run_id: str) -> None:
        run = {"run_id": run_id}
        self._sums = {name: Counter(name, text, tuple(run)) for name, (_, text) in _SUMS.items()}
        self._levels = {name: Gauge(name, text, tuple(run)) for name, (_, text) in _LEVELS.items()}
        self._videos = Counter("adapttoken_videos_done", "videos that have ended", tuple(run))
        self._questions = Counter(
            "adapttoken_questions_done", "questions that have ended", (*run, "status", "error_class")
        )
        self._workers = Gauge("adapttoken_workers", "processes that have asked for work", (*run, "role"))
        self._busy = Counter("adapttoken_busy_seconds", "what all pieces of work took", (*run, "stage"))
        self._seconds = Histogram(  # its sum is only near: Ray passes on how many fell between which boundaries
            "adapttoken_piece_seconds", "what one piece of work took", _BOUNDARIES_S, (*run, "stage")
        )
        self._all = [*self._sums.values(), *self._levels.values()]
        self._all += [self._videos, self._questions, self._workers, self._busy, self._seconds]
        for metric in self._all:
            metric.set_default_tags(run)
        self._known = dict.fromkeys(_SUMS, 0)

    @property
    def names(self) -> dict[str, str]:
        """Name as Prometheus knows it -> ``counter``, ``gauge`` or ``histogram``."""
        kinds = {metric.info["name"]: type(metric).__name__.lower() for metric in self._all}
        return {f"ray_{name}_total" if kind == "counter" else f"ray_{name}": kind for name, kind in kinds.items()}

    def count_rows(self, rows: Iterable[QuestionResult]) -> None:
        """A video has ended."""
        self._videos.inc()
        for row in rows:
            self._questions.inc(tags={"status": row.status, "error_class": str(row.error_class or "")})

    def observe_seconds(self, pieces: Iterable[StageSeconds]) -> None:
        """Pieces of work have been done; stages that a piece has not gone through are left out."""
        sums: dict[str, float] = defaultdict(float)
        for piece in pieces:
            for stage, seconds in asdict(piece).items():
                if seconds > 0:
                    self._seconds.observe(seconds, tags={"stage": stage.removesuffix("_s")})
                    sums[stage.removesuffix("_s")] += seconds
        for stage, seconds in sums.items():
            self._busy.inc(seconds, tags={"stage": stage})

    def note(self, progress: Progress) -> None:
        """What a sum has grown by since the last call; what was taken back meanwhile was work, too, and stays."""
        for name, counter in self._sums.items():
            now = getattr(progress, _SUMS[name][0])
            if now > self._known[name]:
                counter.inc(now - self._known[name])
            self._known[name] = now
        for name, gauge in self._levels.items():
            gauge.set(getattr(progress, _LEVELS[name][0]))
        for role in _ROLES:
            self._workers.set(getattr(progress, f"num_{role}s"), tags={"role": role})
