"""One video in flight: its stages, the frames it holds, and the questions it serves. No clock, no I/O."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.config import RunConfig
from pipeline.engine.decode_work import build_decode_work
from pipeline.engine.lost_frames import check_lost
from pipeline.engine.question_state import Phase, QuestionState
from pipeline.engine.video_plan import VideoPlan
from pipeline.engine.work import (
    AnswerWork,
    DecodeDone,
    DecodeWork,
    GatherWork,
    Ref,
    Retention,
    ScoreDone,
    ScoreWork,
    StageSeconds,
    VideoTask,
    WorkKey,
)
from pipeline.failures import PipelineError
from pipeline.selectors.base import Selector
from pipeline.video.decode_plan import DecodePass


@dataclass(kw_only=True, slots=True, eq=False)
class VideoState:
    """Everything the coordinator knows of one attempt at one video."""

    task: VideoTask
    attempt: int
    config: RunConfig
    selector: Selector
    plan: VideoPlan | None = None
    questions: list[QuestionState] = field(default_factory=list)
    is_probed: bool = False  # handed out
    next_pass: int = 0
    undecoded: list[DecodeWork] = field(default_factory=list)
    stretches_left: dict[int, int] = field(default_factory=dict)  # pass -> stretches not yet decoded
    bundles: dict[int, list[Ref]] = field(default_factory=dict)  # position -> references
    ready: list[int] = field(default_factory=list)  # positions with all frames, not yet handed out
    holder: dict[int, str] = field(default_factory=dict)  # position -> worker that holds its candidates
    gathers_left: dict[int, int] = field(default_factory=dict)  # question -> outstanding gathers
    pieces: dict[int, list[Ref]] = field(default_factory=dict)  # question -> gathered references
    seconds: StageSeconds = field(default_factory=StageSeconds)
    decoders: set[str] = field(default_factory=set)
    num_frames_decoded: int = 0
    bad_frames: set[int] = field(default_factory=set)  # frames of the video
    num_passes_started: int = 0
    num_groups_started: int = 0
    num_groups_encoded: int = 0
    num_groups_prefilled: int = 0
    buffered_bytes: int = 0
    waiting_answers: list[int] = field(default_factory=list)

    def key(self, stage: str, index: int = 0) -> WorkKey:
        """Key of one piece of this attempt's work."""
        return WorkKey(video_id=self.task.video_id, attempt=self.attempt, stage=stage, index=index)

    @property
    def is_over(self) -> bool:
        """Whether every question has ended."""
        return bool(self.questions) and all(question.is_over for question in self.questions)

    @property
    def num_questions_over(self) -> int:
        """Questions that have ended."""
        return sum(question.is_over for question in self.questions)

    @property
    def needs_scores(self) -> bool:
        """Whether any question still waits for groups."""
        return any(question.phase is Phase.SCORING for question in self.questions)

    @property
    def is_decoded(self) -> bool:
        """Whether every frame has been read, so that what was lost is known."""
        assert self.plan is not None
        return self.next_pass == len(self.plan.passes) and not any(self.stretches_left.values())

    def start(self, plan: VideoPlan) -> None:
        """Take in the plan; questions begin to score."""
        self.plan = plan
        self.questions = [QuestionState(num_groups=len(plan.groups)) for _ in self.task.questions]

    def start_empty(self) -> None:
        """Without a plan (the video could not be read), so that every question can fail."""
        self.questions = [QuestionState(num_groups=0) for _ in self.task.questions]

    def next_pass_bytes(self) -> int | None:
        """Bytes that the next decode pass will hold; None when there is none to start."""
        assert self.plan is not None
        if self.next_pass >= len(self.plan.passes) or not self.needs_scores:
            return None
        return sum(self.plan.group_bytes(position) for position in self._next().group_positions)

    def _next(self) -> DecodePass:
        assert self.plan is not None
        return self.plan.passes[self.next_pass]

    def start_pass(self) -> None:
        """Queue the stretches of the next pass; its bytes count as taken from now on."""
        assert self.plan is not None
        self.buffered_bytes += self.next_pass_bytes() or 0
        decode_pass, index = self._next(), self.next_pass
        first_key = self.key(f"decode-{index}")
        self.undecoded += build_decode_work(self.plan, decode_pass, uri=self.task.uri, first_key=first_key)
        self.stretches_left[index] = len(decode_pass.stretches)
        self.next_pass += 1
        self.num_passes_started += 1

    def take_decoded(self, pass_index: int, done: DecodeDone) -> None:
        """File one stretch; when it was the pass's last, its groups become ready in visiting order."""
        assert self.plan is not None
        self.decoders.add(done.decoder)
        self.num_frames_decoded += done.num_frames_decoded
        self.bad_frames.update(done.bad_frames)
        if not self.needs_scores:  # they all stopped while this was read
            return
        for position, bundle in done.bundles.items():
            self.bundles.setdefault(position, []).append(bundle)
        self.stretches_left[pass_index] -= 1
        if self.stretches_left[pass_index] == 0:
            self.ready += self.plan.passes[pass_index].group_positions

    def next_score(self) -> ScoreWork | None:
        """The next ready group in visiting order, with the micro-batches that are not empty."""
        if not self.ready or not self.needs_scores:
            return None
        assert self.plan is not None
        position = self.ready.pop(0)
        self.num_groups_started += 1
        return ScoreWork(
            key=self.key("score", position),
            group_index=self.plan.group_indices[position],
            frames=tuple(self.bundles[position]),
            num_frames=len(self.plan.group_frames(position)),
            geometry=self.plan.geometry,
            patches=self.plan.groups[position],
            questions=self.task.questions,
            batches=tuple(self._open_batches()),
            patch_centers_s=self.plan.patch_centers_s[self.plan.groups[position]],
        )

    def _open_batches(self) -> Iterator[tuple[int, ...]]:
        """Fixed micro-batches in manifest order; one goes on whole until none of its questions needs scores."""
        size = self.config.scoring.question_batch
        for start in range(0, len(self.questions), size):
            batch = tuple(range(start, min(start + size, len(self.questions))))
            if any(self.questions[index].phase is Phase.SCORING for index in batch):
                yield batch

    def take_scores(self, position: int, done: ScoreDone, *, worker: str) -> list[Retention]:
        """File one group; returns which candidates can be dropped."""
        self.release_frames(position)
        self.holder[position] = worker
        self.num_groups_encoded += 1
        self.num_groups_prefilled += done.was_prefilled
        dropped = []
        for index, score in done.scores.items():
            question = self.questions[index]
            if question.phase is not Phase.SCORING:  # masked in its micro-batch, or scored ahead of the stop
                dropped.append(self._retention(position, index, 0))
                continue
            if question.add_score(position, score, selector=self.selector, stopping=self.config.stopping):
                shrunk = question.update_shares(selector=self.selector, budget=self.config.budget)
                dropped += [self._retention(p, index, limit) for p, limit in shrunk.items()]
            if question.phase is not Phase.SCORING:
                self._end_scoring(index)
                beyond = [p for p in question.scores if p >= len(question.prefix)]
                dropped += [self._retention(p, index, 0) for p in beyond]
        if not self.needs_scores:
            self._stop_reading()
        return dropped

    def _end_scoring(self, index: int) -> None:
        """A question's prefix is known: it can be answered, unless too many of the frames that count were lost."""
        question = self.questions[index]
        question.num_wasted = self.num_groups_started - len(question.prefix)
        try:
            self.check_frames(len(question.prefix))
        except PipelineError as error:
            question.fail(error.to_failure())
        else:
            self.waiting_answers.append(index)

    def check_frames(self, num_groups: int) -> None:
        """Refuse a prefix of groups of which too many frames were lost.

        Raises:
            PipelineError: ``CORRUPT_MEDIA``.
        """
        assert self.plan is not None
        share = self.config.sampling.max_bad_frames_share
        check_lost(self.plan, self.bad_frames, num_groups=num_groups, max_bad_frames_share=share)

    def _stop_reading(self) -> None:
        """Every question has what it needs: frames not yet scored, and stretches not yet decoded, are dropped."""
        self.undecoded.clear()
        self.ready.clear()
        for position in list(self.bundles):
            self.release_frames(position)
        self.buffered_bytes = 0

    def _retention(self, position: int, question: int, limit: int) -> Retention:
        return Retention(
            video_id=self.task.video_id, attempt=self.attempt, position=position, question=question, limit=limit
        )

    def release_frames(self, position: int) -> None:
        """Forget a group's frames; the object store can drop them."""
        assert self.plan is not None
        if self.bundles.pop(position, None) is not None:
            self.buffered_bytes -= self.plan.group_bytes(position)

    def start_answers(self) -> Iterator[tuple[str, GatherWork]]:
        """For each question that has just ended scoring: one gather per worker that holds bought tokens."""
        while self.waiting_answers:
            index = self.waiting_answers.pop(0)
            question = self.questions[index]
            assert question.bought is not None
            by_worker: dict[str, dict[int, int]] = {}
            for position, count in enumerate(question.bought.tolist()):
                if count:
                    by_worker.setdefault(self.holder[position], {})[position] = count
            question.phase = Phase.ANSWERING
            self.gathers_left[index], self.pieces[index] = len(by_worker), []
            for worker, bought in by_worker.items():
                yield worker, GatherWork(key=self.key("gather", index), bought=bought)

    def take_gathered(self, index: int, pieces: Ref) -> AnswerWork | None:
        """File gathered tokens; the final pass is ready when they are complete."""
        assert self.plan is not None
        self.pieces[index].append(pieces)
        self.gathers_left[index] -= 1
        if self.gathers_left[index]:
            return None
        return AnswerWork(
            key=self.key("answer", index),
            question=self.task.questions[index],
            pieces=tuple(self.pieces.pop(index)),
            final_budget=self.selector.final_budget(self.config.budget) if self.selector.removes_redundancy else None,
            geometry=self.plan.geometry,
            patch_times_s=self.plan.patch_times_s,
            duration_s=self.plan.probe.duration_s,
            patch_centers_s=self.plan.patch_centers_s,
        )
