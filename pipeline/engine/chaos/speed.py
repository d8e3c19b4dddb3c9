"""How many group completions the state machine takes per second of wall time, with workers that do nothing."""

import time
from dataclasses import dataclass

from pipeline.config import BudgetConfig, ExecutionConfig, RunConfig, SamplingConfig, StoppingConfig
from pipeline.engine.chaos.jobs import ChaosJob, answer_of, draw_task, score_of
from pipeline.engine.job_state import JobState
from pipeline.engine.work import (
    AnswerWork,
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


def measure_speed(
    *,
    method: str,
    num_scorers: int,
    num_videos: int = 60,
    num_questions: int = 4,
    num_frames: int = 10_000,
    stop_after_groups: int = 3_000,
) -> Speed:
    """Run until that many groups are scored; only the time inside the state machine counts."""
    job = _build_job(
        method, num_scorers=num_scorers, num_videos=num_videos, num_questions=num_questions, num_frames=num_frames
    )
    started = time.perf_counter()
    state = JobState(job.tasks, config=job.config)
    seconds, begin_s = time.perf_counter() - started, 0.0
    counts = dict.fromkeys(("completions", "groups", "calls", "retentions"), 0)
    idle = _Idle(job)
    in_hand: dict[str, tuple[Work, ...]] = {f"decoder-{number}": () for number in range(_NUM_DECODERS)}
    in_hand |= {f"scorer-{number}": () for number in range(num_scorers)}
    while not state.is_finished and counts["groups"] < stop_after_groups:
        for name, works in in_hand.items():
            done = [idle.finish(work) for work in works]
            started = time.perf_counter()
            batch = state.exchange(name, done)
            seconds += time.perf_counter() - started
            in_hand[name] = batch.work
            counts["completions"] += len(done)
            counts["groups"] += sum(isinstance(completion.result, ScoreDone) for completion in done)
            counts["calls"] += 1
            counts["retentions"] += len(batch.retain)
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


class _Idle:
    """Finishes any piece at once; every video is like every other."""

    def __init__(self, job: ChaosJob) -> None:
        self._plan, self._answer = job.plan(0), answer_of({0: 1})

    def finish(self, work: Work) -> Completion:
        """References are never opened."""
        return Completion(key=work.key, result=self._result(work))

    def _result(self, work: Work) -> Result:
        if isinstance(work, ProbeWork):
            return ProbeDone(plan=self._plan)
        if isinstance(work, DecodeWork):
            return DecodeDone(bundles=dict.fromkeys(work.slots), decoder="none", num_frames_decoded=1)
        if isinstance(work, GatherWork):
            return GatherDone(pieces=None)
        if isinstance(work, AnswerWork):
            return self._answer
        num_tokens = len(work.patches) * work.geometry.tokens_per_patch
        asked = [index for batch in work.batches for index in batch]
        scores = {i: score_of(work.key.video_id, i, work.group_index, num_tokens=num_tokens) for i in asked}
        return ScoreDone(scores=scores, was_prefilled=True)


def _build_job(method: str, *, num_scorers: int, num_videos: int, num_questions: int, num_frames: int) -> ChaosJob:
    """Without bounds in bytes."""
    execution = ExecutionConfig(
        num_scorers=num_scorers,
        num_decoders=_NUM_DECODERS,
        groups_in_hand=2,
        frame_buffer_bytes=2**40,
        candidate_bytes=2**50,
    )
    config = RunConfig(
        method=method,
        sampling=SamplingConfig(min_pixels=1, max_pixels=10_000, max_frames=num_frames),
        budget=BudgetConfig(token_budget=120),
        stopping=StoppingConfig(stop_entropy=0.1),
        execution=execution,
    )
    tasks = tuple(draw_task(video_id, num_questions) for video_id in range(num_videos))
    return ChaosJob(
        tasks=tasks,
        num_frames=(num_frames,) * num_videos,
        config=config,
        num_scorers=num_scorers,
        num_decoders=_NUM_DECODERS,
        num_answerers=0,
    )
