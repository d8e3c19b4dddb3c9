"""How many group completions the state machine takes per second of wall time, with workers that do nothing."""

import time
from dataclasses import dataclass

from pipeline.engine.job_state import JobState
from pipeline.engine.messages.work import Completion, ScoreDone, ScoreWork, Work
from pipeline.lab.simulation.archive import Archive
from pipeline.lab.simulation.results import KnownResults
from pipeline.lab.simulation.settings import SimulationSettings

_NO_LIMIT = 2**50
_NUM_DECODERS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """What was done, and the state machine's own seconds."""

    num_completions: int
    num_groups: int
    num_calls: int
    num_retentions: int
    begin_s: float
    seconds: float

    def __str__(self) -> str:
        """One line."""
        groups, completions = self.num_groups / self.seconds, self.num_completions / self.seconds
        retained = self.num_retentions / max(1, self.num_groups)
        return (
            f"{groups:,.0f} groups/s, {completions:,.0f} completions/s, {self.num_calls / self.seconds:,.0f} calls/s, "
            f"{retained:.1f} retentions per group; the first group was handed out after {self.begin_s:.2f} s"
        )


def measure_decisions(
    *,
    method: str,
    num_scorers: int,
    num_videos: int = 60,
    num_questions: int = 4,
    num_frames: int = 10_000,
    stop_after_groups: int = 3_000,
) -> Speed:
    """Run until that many groups are scored; only the time inside the state machine counts."""
    settings = SimulationSettings(
        method=method,
        num_videos=num_videos,
        num_questions=num_questions,
        num_frames=num_frames,
        num_gpus=num_scorers,
        decode_cores_per_gpu=_NUM_DECODERS / num_scorers,
        frame_buffer_bytes_per_gpu=_NO_LIMIT,
    )
    archive = Archive(settings)
    results = KnownResults(archive=archive, put=lambda: "object", plan=archive.plan_copy)
    started = time.perf_counter()
    state = JobState(archive.tasks(), config=settings.run_config())
    seconds, begin_s = time.perf_counter() - started, 0.0
    counts = dict.fromkeys(("completions", "groups", "calls", "retentions"), 0)
    in_hand: dict[str, tuple[Work, ...]] = {f"decoder-{number}": () for number in range(_NUM_DECODERS)}
    in_hand |= {f"scorer-{number}": () for number in range(num_scorers)}
    while not state.is_finished and counts["groups"] < stop_after_groups:
        for name, works in in_hand.items():
            done = [Completion(key=work.key, result=results.of(work)) for work in works]
            started = time.perf_counter()
            batch = state.exchange(name, done)
            seconds += time.perf_counter() - started
            in_hand[name] = batch.work
            counts["completions"] += len(done)
            counts["groups"] += sum(isinstance(completion.result, ScoreDone) for completion in done)
            counts["calls"] += 1
            counts["retentions"] += sum(len(retention.limits) for retention in batch.retain)
            if not begin_s and any(isinstance(work, ScoreWork) for work in batch.work):
                begin_s = seconds
    return Speed(
        num_completions=counts["completions"],
        num_groups=counts["groups"],
        num_calls=counts["calls"],
        num_retentions=counts["retentions"],
        begin_s=begin_s,
        seconds=seconds,
    )
