"""Workers without Ray, files or a model: they drive ``JobState`` in any order and check what it promises on the way."""

import hashlib
import random
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial

import numpy as np

from pipeline.engine.job_state import JobState
from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.messages.work import (
    AnswerDone,
    AnswerWork,
    Completion,
    DecodeDone,
    DecodeWork,
    GatherDone,
    GatherWork,
    ProbeDone,
    ProbeWork,
    ScoreDone,
    Work,
)
from pipeline.engine.rows import build_rows
from pipeline.failures import Failure, PipelineError
from pipeline.manifest.questions import Question
from pipeline.method.selectors.base import GroupScore
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import FrameGeometry
from pipeline.passes.records import FinalAnswer
from pipeline.planning.question_check import QuestionCheck
from pipeline.planning.tasks import VideoTask
from pipeline.planning.video_plan import VideoPlan, plan_video
from pipeline.results.rows import QuestionResult, RunStamp
from pipeline.settings.config import (
    BudgetConfig,
    ExecutionConfig,
    RunConfig,
    SamplingConfig,
    ScoringConfig,
    StoppingConfig,
)
from pipeline.video.containers import Container
from pipeline.video.probe import VideoProbe

STAMP = RunStamp(run_id="r", method="m", model="fake", model_revision=None, config_hash="c")
TOKENS_PER_PATCH, FRAME_BYTES = 4, 28 * 28 * 3


class FakeLayout:
    frames_per_patch, num_layers, max_positions, feature_width = 2, 2, 4_096, 4_096

    def frame_geometry(self, height, width, *, min_pixels, max_pixels):
        return FrameGeometry(height=28, width=28, token_rows=2, token_columns=2)


def make_config(method="adapttoken", *, budget=40, stop_entropy=0.5, question_batch=2, **execution) -> RunConfig:
    return RunConfig(
        method=method,
        sampling=SamplingConfig(frames_per_group=8, min_pixels=1, max_pixels=10_000),
        scoring=ScoringConfig(question_batch=question_batch),
        budget=BudgetConfig(token_budget=budget, tau=0.5),
        stopping=StoppingConfig(stop_entropy=stop_entropy, confident_groups=2),
        execution=ExecutionConfig(**execution),
    )


def make_probe(num_frames=100, *, gop=10, num_missing=0, is_demo_video=False) -> VideoProbe:
    """Two frames per second, so that every frame is sampled."""
    pts = np.arange(num_frames, dtype=np.int64)
    keyframes = np.arange(0, num_frames, gop, dtype=np.int64)
    return VideoProbe(
        path="/v.mp4",
        container=next(iter(Container)),
        codec="h264",
        bit_depth=8,
        duration_s=num_frames / 2,
        time_base=Fraction(1, 2),
        pts=pts,
        pts_s=pts / 2,
        keyframe_indices=keyframes,
        keyframe_pts=keyframes,
        keyframe_dts=keyframes,
        width=28,
        height=28,
        rotation=0,
        is_constant_rate=True,
        num_missing_frames=num_missing,
        is_demo_video=is_demo_video,
    )


def make_tasks(num_videos=1, num_questions=2) -> list[VideoTask]:
    tasks = []
    for video in range(num_videos):
        questions = tuple(
            Question(question_id=f"v{video}q{q}", video=f"v{video}", text=f"{q}?", options=("x", "y"), row_index=q)
            for q in range(num_questions)
        )
        keys = tuple(f"k{video}-{q}" for q in range(num_questions))
        tasks.append(
            VideoTask(video_id=video, uri=f"v{video}", fingerprint="f", questions=questions, question_keys=keys)
        )
    return tasks


def fake_score(video_id: int, question: int, group_index: int) -> GroupScore:
    """Certainty and response that look random and depend on nothing but the arguments."""
    digest = hashlib.sha256(f"{video_id}/{question}/{group_index}".encode()).digest()
    return GroupScore(group_index=group_index, certainty=-digest[0] / 256, response="AB"[digest[1] % 2], num_tokens=0)


def fake_profile(method: str, score: GroupScore, num_patches: int) -> bytes:
    """What the selector compares across groups, from the certainty alone."""
    kind = get_selector(method).profile
    size = {"nothing": 0, "patches": num_patches, "tokens": num_patches * TOKENS_PER_PATCH}[kind]
    values = -np.arange(size, dtype=np.float32) * (1 + score.certainty)
    return values.astype(np.float32).tobytes()


STEP_S = 0.25


class World:
    """Workers that each hold one batch; ``step`` lets one of them finish it and ask for the next."""

    def __init__(
        self,
        config: RunConfig,
        tasks: list[VideoTask],
        *,
        num_scorers: int = 1,
        num_decoders: int = 1,
        probes: dict[str, VideoProbe] | None = None,
        fail: Callable[[str, Work], Failure | None] = lambda worker, work: None,
        bad_frames: frozenset[int] = frozenset(),
        stamp: RunStamp = STAMP,
        refused: dict[int, Failure] | None = None,
        plan: Callable[[VideoProbe], VideoPlan] | None = None,
        letter_share: float | None = None,
    ) -> None:
        self.plan = plan or partial(
            plan_video, layout=FakeLayout(), selector=get_selector(config.method), config=config
        )
        self.letter_share = letter_share
        self.refused = refused or {}  # questions of every video
        self.stamp = stamp
        self.now_s = 0.0
        self.config, self.probes, self.fail, self.bad_frames = config, probes or {}, fail, bad_frames
        self.state = JobState(tasks, config=config)
        self.doing: dict[str, tuple[Work, ...]] = {f"scorer-{i}": () for i in range(num_scorers)}
        self.doing |= {f"decoder-{i}": () for i in range(num_decoders)}
        self.held: dict[str, dict[tuple[int, int, int], dict[int, int]]] = {name: {} for name in self.doing}
        self.done: list[tuple[str, Work]] = []
        self.spent: dict[int, float] = {}
        self.rows: list[QuestionResult] = []
        self.finished_order: list[int] = []
        self.videos = {}
        self.versions: dict[tuple[int, int], set[str]] = {}  # (video, attempt) -> fingerprints of what was scored

    def run(self, rng: random.Random | None = None, *, max_steps: int = 20_000) -> list[QuestionResult]:
        """Until all videos have ended, in round robin or at random; a job that stands still fails the test."""
        names = sorted(self.doing)
        for number in range(max_steps):
            if self.state.is_finished:
                return sorted(self.rows, key=lambda row: row.question_id)
            names = sorted(self.doing)
            self.step(rng.choice(names) if rng else names[number % len(names)])
        raise AssertionError(f"not finished after {max_steps} steps: {self.state.progress}")

    def step(self, worker: str) -> None:
        self.now_s += STEP_S
        completions = [self._complete(worker, work) for work in self.doing[worker]]
        self.state.tell_time(self.now_s)
        batch = self.state.exchange(worker, completions)
        for video_id in batch.released:
            self.held[worker] = {key: held for key, held in self.held[worker].items() if key[0] != video_id}
        for drop in batch.retain:
            for position, limit in drop.limits.items():
                held = self.held[worker].get((drop.video_id, drop.attempt, position))
                if held is not None:
                    held[drop.question] = min(held.get(drop.question, 0), limit)
        self.doing[worker] = batch.work
        self._check_buffer()
        self._collect()

    def _collect(self) -> None:
        for video in self.state.take_finished():
            self.rows += build_rows(video, stamp=self.stamp, finished_at=datetime.now(UTC))
            self.finished_order.append(video.task.video_id)
            self.videos[video.task.video_id] = video

    def lose(self, worker: str, *, successor: str, failure: Failure | None = None) -> None:
        """The worker dies with what it was doing and all it held."""
        del self.doing[worker], self.held[worker]
        self.state.lose_worker(worker, failure)
        self.doing[successor], self.held[successor] = (), {}
        self._collect()

    def _check_buffer(self) -> None:
        buffered = [video.planned.frames.reserved_bytes for video in self.state._flow.videos.values() if video.planned]
        assert all(num_bytes >= 0 for num_bytes in buffered)
        assert sum(buffered) <= self.config.execution.frame_room_bytes

    def _complete(self, worker: str, work: Work) -> Completion:
        self.done.append((worker, work))
        failure = self.fail(worker, work)
        if failure is not None:
            return Completion(key=work.key, result=failure)
        try:
            result, seconds = self._do(worker, work)
        except PipelineError as error:
            return Completion(key=work.key, result=error.to_failure())
        self.spent[work.key.video_id] = self.spent.get(work.key.video_id, 0.0) + seconds.total_s
        return Completion(key=work.key, result=result, seconds=seconds)

    def _do(self, worker: str, work: Work):
        if isinstance(work, ProbeWork):
            probe = self.probes.get(work.uri) or make_probe()
            plan = self.plan(probe, **({} if work.room_bytes is None else {"room_bytes": work.room_bytes}))
            check = QuestionCheck(num_tokens=tuple(range(5, 5 + len(work.questions))), refused=self.refused)
            return ProbeDone(plan=plan, probe=None, check=check), StageSeconds(decode_s=0.5)
        if isinstance(work, DecodeWork):
            bad = tuple(sorted(self.bad_frames.intersection(work.stretch.frame_indices.tolist())))
            bundles = {}
            for position, slots, _ in work.slots.items():
                bundle = bundles.setdefault(position // work.groups_per_bundle, {})
                bundle[position] = (work.key.video_id, position, slots, work.fingerprint)
            done = DecodeDone(
                bundles=bundles,
                decoder="fake",
                num_frames_decoded=work.stretch.num_frames_to_decode,
                bad_frames=bad,
            )
            return done, StageSeconds(decode_s=1.0)
        if isinstance(work, GatherWork):
            return GatherDone(pieces=self._gather(worker, work)), StageSeconds(answer_s=0.25)
        if isinstance(work, AnswerWork):
            kept = {position: count for pieces in work.pieces for position, count in pieces}
            return AnswerDone(final=self._answer(kept)), StageSeconds(answer_s=2.0)
        return self._score(worker, work), StageSeconds(encode_s=1.0, prefill_s=2.0, score_s=3.0)

    def _answer(self, kept: dict[int, int]) -> FinalAnswer:
        return FinalAnswer(
            answer="A",
            answer_text="A",
            option_probabilities=(0.5, 0.5),
            answer_entropy=0.1,
            evidence=(),
            tokens=b"",
            kept=kept,
            letter_share=self.letter_share,
        )

    def _gather(self, worker: str, work: GatherWork) -> list[tuple[int, int]]:
        for position, count in work.bought.items():
            held = self.held[worker][work.key.video_id, work.key.attempt, position][work.key.index]
            assert count <= held, "a token was dropped and then bought"
        return sorted(work.bought.items())

    def _score(self, worker: str, work) -> ScoreDone:
        slots = np.concatenate([bundle[work.key.index][2] for bundle in work.frames])
        versions = {bundle[work.key.index][3] for bundle in work.frames}
        assert len(versions) <= 1, "frames of two versions of the file in one group"
        self.versions.setdefault((work.key.video_id, work.key.attempt), set()).update(versions)
        assert sorted(slots.tolist()) == list(range(2 * len(work.group.patches))), "every slot is filled once"
        num_tokens = len(work.group.patches) * TOKENS_PER_PATCH
        scores = {}
        for index in work.group.asked:
            score = fake_score(work.key.video_id, index, work.group.group_index)
            scores[index] = GroupScore(
                group_index=score.group_index,
                certainty=score.certainty,
                response=score.response,
                num_tokens=num_tokens,
                profile=fake_profile(self.config.method, score, len(work.group.patches)),
                tokens_per_patch=TOKENS_PER_PATCH,
            )
        key = (work.key.video_id, work.key.attempt, work.key.index)
        self.held[worker][key] = dict.fromkeys(work.group.asked, num_tokens)
        return ScoreDone(scores=scores, was_prefilled=get_selector(self.config.method).needs_scores)


def stable(row: QuestionResult) -> dict[str, object]:
    """A row without what load may change."""
    from dataclasses import asdict

    from pipeline.results.rows import VOLATILE_COLUMNS

    return {name: value for name, value in asdict(row).items() if name not in VOLATILE_COLUMNS}
