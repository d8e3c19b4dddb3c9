"""One video in flight: its questions, what it holds, its work in flight. What is lost is made again in ``recovery``."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.messages.work import DecodeDone, Ref, ScoreDone, ScoreWork, WorkKey
from pipeline.engine.one_video.candidate_ledger import CandidateLedger, bound_tokens
from pipeline.engine.one_video.decode_work import VideoSource
from pipeline.engine.one_video.final_passes import FinalPasses
from pipeline.engine.one_video.frame_ledger import FrameLedger
from pipeline.engine.one_video.question_state import Phase, QuestionState, begin_questions, open_batches
from pipeline.failures import PipelineError
from pipeline.method.budget import overselected
from pipeline.method.selectors.base import GroupScore, Selector
from pipeline.passes.records import GroupInput
from pipeline.planning.lost_frames import check_lost
from pipeline.planning.question_check import QuestionCheck
from pipeline.planning.tasks import VideoTask
from pipeline.planning.video_plan import VideoPlan
from pipeline.settings.config import RunConfig


@dataclass(kw_only=True, slots=True, eq=False)
class VideoState:
    """Everything the coordinator knows of one video, from its admission to its rows.

    Attributes:
        age: order of admission; the oldest goes first.
        attempt: of scoring; candidates of an earlier one are not used.
        check: which questions can be asked; those that cannot have failed from the start.
        alone: the one question that is asked, where they are asked apart; None asks all.
        probing: key of the probe in flight; ``scoring`` groups in flight -> their scorer.
        holder: group position -> worker that holds its candidates, for every question that may buy of them.
        scorers: workers that were given groups of this attempt, and may hold something.
        abandoned: workers that may hold something of an earlier attempt, until they are told to drop it.
        cancelled: (worker, key) of work in flight that nobody needs any more, until it is reported.
        reading_strikes: failures and deaths in reading; ``scoring_strikes`` in scoring all questions together.
        num_redone: how often anything was done again; ``num_losses`` through no fault of its own.
        is_suspect: a worker died that had work of it among other work; from then on its work is handed out alone.
        num_felled: questions that failed alone through deaths; ``shunned`` workers on which something of it failed.
    """

    task: VideoTask
    config: RunConfig
    selector: Selector
    age: int = 0
    attempt: int = 1
    plan: VideoPlan | None = None
    check: QuestionCheck = field(default_factory=QuestionCheck)
    questions: list[QuestionState] = field(default_factory=list)
    frames: FrameLedger | None = None
    candidates: CandidateLedger | None = None
    bound_tokens: int = 0
    patch_centers_s: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    final: FinalPasses = field(default_factory=FinalPasses)
    alone: int | None = None
    probing: WorkKey | None = None
    scoring: dict[WorkKey, str] = field(default_factory=dict)
    holder: dict[int, str] = field(default_factory=dict)
    scorers: set[str] = field(default_factory=set)
    abandoned: set[str] = field(default_factory=set)
    cancelled: list[tuple[str, WorkKey]] = field(default_factory=list)
    rung: int = 0
    reading_strikes: int = 0
    scoring_strikes: int = 0
    num_redone: int = 0
    num_losses: int = 0
    is_suspect: bool = False
    num_felled: int = 0
    shunned: set[str] = field(default_factory=set)
    seconds: StageSeconds = field(default_factory=StageSeconds)
    decoders: set[str] = field(default_factory=set)
    num_frames_decoded: int = 0
    bad_frames: set[int] = field(default_factory=set)  # frames of the video
    num_groups_encoded: int = 0
    num_groups_prefilled: int = 0
    num_groups_wasted: int = 0  # scored when nobody needed them any more
    num_turns: int = 0
    last_given: int = -1

    def key(self, stage: str, index: int = 0) -> WorkKey:
        """Key of one piece of work; no two are equal."""
        self.num_turns += 1
        return WorkKey(video_id=self.task.video_id, attempt=self.attempt, stage=stage, index=index, turn=self.num_turns)

    def count_seconds(self, key: WorkKey, seconds: StageSeconds) -> None:
        """What a piece of work cost."""
        if key.stage in ("answer", "gather"):
            self.questions[key.index].seconds += seconds
        else:
            self.seconds += seconds

    @property
    def is_over(self) -> bool:
        """Whether every question has ended."""
        return bool(self.questions) and all(question.is_over for question in self.questions)

    @property
    def scope(self) -> range:
        """Questions that are asked now."""
        return range(len(self.questions)) if self.alone is None else range(self.alone, self.alone + 1)

    @property
    def needs_scores(self) -> bool:
        """Whether a question still waits for groups; before the plan is known they all do."""
        return not self.questions or any(question.phase is Phase.SCORING for question in self.questions)

    @property
    def certain_end(self) -> int:
        """Groups below this position are needed in any case; what is lost and needed again always lies below."""
        ends = [
            self.questions[index].certain_end(selector=self.selector, stopping=self.config.stopping)
            for index in self.scope
            if self.questions[index].phase is Phase.SCORING
        ]
        return max(ends, default=len(self.plan.groups) if self.plan else 0)

    @property
    def num_groups_known(self) -> int:
        """Groups scored, each once."""
        return max((len(question.scores) for question in self.questions), default=0)

    @property
    def num_passes_started(self) -> int:
        """Readings of the video."""
        return 0 if self.frames is None else self.frames.num_passes_started

    def start(self, plan: VideoPlan, probe: Ref, check: QuestionCheck) -> None:
        """Take in the plan; questions begin to score, but for those that cannot be asked."""
        self.check, self.plan, self.probing, self.patch_centers_s = check, plan, None, plan.patch_centers_s
        self.questions = begin_questions(self.task.questions, num_groups=len(plan.groups), refused=check.refused)
        size = self.config.execution.groups_per_call
        task = self.task
        source = VideoSource(uri=task.uri, fingerprint=task.fingerprint, probe=probe, groups_per_bundle=size)
        self.frames = FrameLedger(plan, source)
        self.candidates = CandidateLedger(plan.group_num_tokens, num_questions=len(self.questions))
        budget = self.config.budget
        is_bounded = self.selector.final_budget(budget) is not None
        most = overselected(budget.token_budget, budget.over_select) if is_bounded else None
        self.bound_tokens = bound_tokens(plan.group_num_tokens, budget=most, num_questions=len(self.questions))

    def take_decoded(self, key: WorkKey, done: DecodeDone) -> None:
        """File one stretch.

        Raises:
            PipelineError: ``CORRUPT_MEDIA``, where a question cannot stop early and too many frames are lost for all.
        """
        assert self.plan is not None
        assert self.frames is not None
        self.decoders.add(done.decoder)
        self.num_frames_decoded += done.num_frames_decoded
        self.bad_frames.update(done.bad_frames)
        self.frames.file(key, done)
        if not self.selector.can_stop and self.frames.was_all_read:  # else judged by the frames that count
            self.check_frames(len(self.plan.groups))

    def is_known(self, position: int) -> bool:
        """Whether a group has been scored for all that ask; when it is needed again, its candidates were lost."""
        scoring = (self.questions[i] for i in self.scope if self.questions[i].phase is Phase.SCORING)
        return all(position in question.scores for question in scoring)

    def passed_over(self, position: int) -> list[int]:
        """Lower groups not scored that a group overtakes."""
        assert self.frames is not None
        return [skipped for skipped in self.frames.skipped(position) if not self.is_known(skipped)]

    def next_score(self, position: int, *, worker: str) -> ScoreWork:
        """Hand out a ready group, with the micro-batches that are not empty."""
        assert self.plan is not None
        assert self.frames is not None
        assert self.candidates is not None
        size, refused = self.config.scoring.question_batch, self.check.refused
        batches = tuple(open_batches(self.questions, position, scope=self.scope, refused=refused, size=size))
        only = None if self.alone is None else (self.alone,)
        asked = only or [index for batch in batches for index in batch]
        self.candidates.hand_out([position, *self.passed_over(position)], asked)
        key = self.key("score", position)
        self.scoring[key] = worker
        self.scorers.add(worker)
        self.last_given = max(self.last_given, position)
        group = GroupInput(
            group_index=self.plan.group_indices[position],
            geometry=self.plan.geometry,
            patches=self.plan.groups[position],
            questions=self.task.questions,
            batches=batches,
            patch_centers_s=self.patch_centers_s[self.plan.groups[position]],
            rung=self.rung,
            only=only,
            question_tokens=self.check.num_tokens,
        )
        return ScoreWork(key=key, frames=self.frames.give(position), group=group)

    def take_scores(self, key: WorkKey, done: ScoreDone) -> dict[int, dict[int, int]]:
        """File one group; returns which candidates can be dropped: question -> group position -> limit."""
        assert self.frames is not None
        assert self.candidates is not None
        self.holder[position := key.index] = self.scoring.pop(key)
        self.frames.drop([position])
        self.num_groups_encoded += 1
        self.num_groups_prefilled += done.was_prefilled
        limits = {index: self._take_score(index, position, score) for index, score in done.scores.items()}
        self.candidates.cut(limits)
        return limits

    def share_out(self) -> dict[int, dict[int, int]]:
        """Where enough groups came in: question -> group position -> limit that shrank."""
        assert self.candidates is not None
        selector, budget = self.selector, self.config.budget
        due = {index: self.questions[index] for index in self.scope if self.questions[index].is_due}
        limits = {i: question.update_shares(selector=selector, budget=budget) for i, question in due.items()}
        self.candidates.cut(limits)
        return limits

    def _take_score(self, index: int, position: int, score: GroupScore) -> dict[int, int]:
        """Group position -> limit, where scoring ended or a new holder must be told one."""
        question = self.questions[index]
        if question.phase is not Phase.SCORING or position in question.scores:
            # scored ahead of the stop, masked in its micro-batch, or lost and scored again
            question.num_wasted += len(question.prefix) <= position <= question.last_ahead
            limit = question.known_limit(position)
            return {} if limit is None else {position: limit}
        question.add_score(position, score, selector=self.selector, stopping=self.config.stopping)
        if question.phase is Phase.SCORING:
            return {}  # shares are worked out once per call of a worker
        limits = question.update_shares(selector=self.selector, budget=self.config.budget)
        self._end_scoring(index)
        limits.update({p: 0 for p in question.scores if p >= len(question.prefix)})
        return limits

    def _end_scoring(self, index: int) -> None:
        """A question's prefix is known: it can be answered, unless too many of the frames that count were lost."""
        question = self.questions[index]
        question.num_wasted += len(question.scores) - len(question.prefix)
        question.last_ahead = self.last_given
        try:
            self.check_frames(len(question.prefix))
        except PipelineError as error:
            question.fail(error.to_failure())
        else:
            self.final.waiting.append(index)

    def check_frames(self, num_groups: int) -> None:
        """Raise ``PipelineError`` (``CORRUPT_MEDIA``) where too many frames of a prefix of groups were lost."""
        assert self.plan is not None
        share = self.config.sampling.max_bad_frames_share
        check_lost(self.plan, self.bad_frames, num_groups=num_groups, max_bad_frames_share=share)
