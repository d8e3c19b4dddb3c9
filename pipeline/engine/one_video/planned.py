"""A video whose plan is known: its groups on their way from frames to scores, its questions on theirs to answers.

What is lost on the way is made again, and only that: frames of a stretch, one group, one gather. Scores that are known
stay, because a group scored again gives the same ones; its candidates are cut as they were.

Shape suffixes: G = groups
"""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.work import AnswerWork, DecodeDone, GatherWork, ScoreDone, ScoreWork
from pipeline.engine.one_video.candidate_ledger import CandidateLedger
from pipeline.engine.one_video.final_passes import FinalPasses
from pipeline.engine.one_video.frame_ledger import FrameLedger
from pipeline.engine.one_video.question_state import QuestionPhase, QuestionState, open_batches
from pipeline.engine.one_video.scoring_round import ScoringRound
from pipeline.failures import Failure, PipelineError
from pipeline.manifest.questions import Question
from pipeline.method.selectors.base import GroupScore, Selector
from pipeline.passes.group_prior import hear_groups
from pipeline.passes.group_vote import answer_by_vote
from pipeline.passes.records import FinalAnswer, FinalInput, GroupInput
from pipeline.planning.question_check import QuestionCheck
from pipeline.planning.video_plan import VideoPlan
from pipeline.planning.video_warnings import check_lost
from pipeline.settings.config import RunConfig

MakeKey = Callable[[Stage, int], WorkKey]
Limits = dict[int, dict[int, int]]
"""Question -> group position -> how many of its candidates may still be needed."""


@dataclass(kw_only=True, slots=True, eq=False)
class Leftovers:
    """What others must be told to give up, until they have been told.

    Attributes:
        cancelled: (worker, key) of work in flight that nobody needs any more.
        abandoned: workers that may hold candidates of an earlier round.
    """

    cancelled: list[tuple[str, WorkKey]] = field(default_factory=list)
    abandoned: set[str] = field(default_factory=set)


@dataclass(kw_only=True, slots=True, eq=False)
class Planned:
    """The state of a video from its plan to its last answer.

    Attributes:
        asked: the questions as the model is asked them, in manifest order.
        check: which of them can be asked; those that cannot have failed from the start.
        bound_tokens: most candidates it needs at once to get on.
        bad_frames: frames of the video that could not be decoded.
    """

    plan: VideoPlan
    config: RunConfig
    selector: Selector
    asked: tuple[Question, ...]
    check: QuestionCheck
    questions: list[QuestionState]
    frames: FrameLedger
    candidates: CandidateLedger
    bound_tokens: int
    patch_centers_s: npt.NDArray[np.float64]
    round: ScoringRound = field(default_factory=ScoringRound)
    final: FinalPasses = field(default_factory=FinalPasses)
    bad_frames: set[int] = field(default_factory=set)
    leftovers: Leftovers = field(default_factory=Leftovers)

    # ---- what can be done next

    @property
    def scope(self) -> range:
        """Questions that are asked now."""
        return self.round.scope(len(self.questions))

    @property
    def certain_end(self) -> int:
        """Groups below this position are needed in any case; what is lost and needed again always lies below."""
        ends = [
            self.questions[index].certain_end(selector=self.selector, stopping=self.config.stopping)
            for index in self.scope
            if self.questions[index].phase is QuestionPhase.SCORING
        ]
        return max(ends, default=len(self.plan.groups))

    def charge_bytes(self, *, extra_tokens: int = 0) -> int:
        """Room that its candidates are charged with: what is held and to come, at least its bound."""
        return max(self.bound_tokens, self.candidates.num_tokens + extra_tokens) * self.plan.token_bytes

    def is_known(self, position: int) -> bool:
        """Whether a group has been scored for all that ask; when it is needed again, its candidates were lost."""
        scoring = (self.questions[i] for i in self.scope if self.questions[i].phase is QuestionPhase.SCORING)
        return all(position in question.scores for question in scoring)

    def passed_over(self, position: int) -> list[int]:
        """Lower groups not scored that a group overtakes."""
        return [skipped for skipped in self.frames.skipped(position) if not self.is_known(skipped)]

    def next_score(self, position: int, *, worker: str, make_key: MakeKey) -> ScoreWork:
        """Hand out a ready group, with the micro-batches that are not empty."""
        size, isolated = self.config.scoring.question_batch, self.round.isolated
        refused = self.check.refused
        batches = tuple(open_batches(self.questions, position, scope=self.scope, refused=refused, size=size))
        only = None if isolated is None else (isolated,)
        asked = only or [index for batch in batches for index in batch]
        self.candidates.hand_out([position, *self.passed_over(position)], asked)
        key = make_key(Stage.SCORE, position)
        self.round.hand_out(key, worker)
        group = GroupInput(
            group_index=self.plan.group_indices[position],
            geometry=self.plan.geometry,
            patches=self.plan.groups[position],
            questions=self.asked,
            batches=batches,
            patch_centers_s=self.patch_centers_s[self.plan.groups[position]],
            rung=self.round.rung,
            only=only,
            question_tokens=self.check.num_tokens,
            num_groups=len(self.plan.groups),
            num_patches=self.plan.num_chosen,
        )
        return ScoreWork(key=key, frames=self.frames.give(position), group=group)

    def next_answer(self, make_key: MakeKey) -> AnswerWork:
        """Hand out the final pass that has waited longest."""
        index = self.final.to_hand_out[0]
        key, selector = make_key(Stage.ANSWER, index), self.selector
        final = FinalInput(
            question=self.asked[index],
            final_budget=selector.final_budget(self.config.budget) if selector.removes_redundancy else None,
            geometry=self.plan.geometry,
            patch_times_s=self.plan.patch_times_s,
            duration_s=self.plan.end_s,
            patch_centers_s=self.patch_centers_s,
            rung=self.questions[index].answer_rung,
        )
        return AnswerWork(key=key, pieces=self.final.hand_out(index, key), final=final)

    # ---- what comes back

    def is_awaited(self, key: WorkKey) -> bool:
        """Whether a piece of work is in flight and still needed."""
        if key.stage is Stage.SCORE:
            return key in self.round.in_flight
        if key.stage is Stage.DECODE:
            return self.frames.is_current(key)
        return key.stage.is_of_one_question and self.final.is_current(key)

    def take_decoded(self, key: WorkKey, done: DecodeDone) -> None:
        """File one stretch.

        Raises:
            PipelineError: ``CORRUPT_MEDIA``, where a question cannot stop early and too many frames are lost for all.
        """
        self.bad_frames.update(done.bad_frames)
        self.frames.file(key, done)
        if not self.selector.can_stop and self.frames.was_all_read:  # else judged by the frames that count
            self._check_frames(len(self.plan.groups))

    def take_scores(self, key: WorkKey, done: ScoreDone) -> Limits:
        """File one group; returns which candidates can be dropped."""
        self.round.file(key)
        self.frames.drop([key.index])
        num_scoring = self._num_scoring()
        limits = {index: self._take_score(index, key.index, score) for index, score in done.scores.items()}
        self.candidates.cut(limits)
        if self._num_scoring() != num_scoring:
            self.trim()
        return limits

    def take_answer(self, index: int, final: FinalAnswer) -> None:
        """A question is answered, once its groups were heard if the selector wants that.

        Raises:
            PipelineError: What the selector makes of them is no answer.
        """
        question = self.questions[index]
        question.answer = hear_groups(final, selector=self.selector, prefix=question.prefix, question=self.asked[index])
        question.phase = QuestionPhase.DONE
        self.final.forget(index)

    def share_out(self) -> Limits:
        """Where enough groups came in: limits that shrank."""
        selector, budget = self.selector, self.config.budget
        due = {index: self.questions[index] for index in self.scope if self.questions[index].is_due}
        limits = {i: question.update_shares(selector=selector, budget=budget) for i, question in due.items()}
        self.candidates.cut(limits)
        return limits

    def _num_scoring(self) -> int:
        return sum(question.phase is QuestionPhase.SCORING for question in self.questions)

    def _take_score(self, index: int, position: int, score: GroupScore) -> dict[int, int]:
        """Group position -> limit, where scoring ended or a new holder must be told one."""
        question = self.questions[index]
        if question.phase is not QuestionPhase.SCORING or position in question.scores:
            # scored ahead of the stop, masked in its micro-batch, or lost and scored again
            question.num_wasted += len(question.prefix) <= position <= question.last_ahead
            limit = question.known_limit(position)
            return {} if limit is None else {position: limit}
        question.add_score(position, score, selector=self.selector, stopping=self.config.stopping)
        if question.phase is QuestionPhase.SCORING:
            return {}  # shares are worked out once per call of a worker
        limits = question.update_shares(selector=self.selector, budget=self.config.budget)
        self._end_scoring(index)
        limits.update({p: 0 for p in question.scores if p >= len(question.prefix)})
        return limits

    def _end_scoring(self, index: int) -> None:
        """A question's prefix is known: it can be answered, unless too many of the frames that count were lost."""
        question = self.questions[index]
        question.end_scoring(last_ahead=self.round.last_given)
        try:
            self._check_frames(len(question.prefix))
        except PipelineError as error:
            question.fail(error.to_failure())
            return
        if self.selector.needs_final_pass:
            self.final.waiting.append(index)
        else:
            self.take_answer(index, answer_by_vote(self.selector, question.prefix, self.asked[index]))

    def _check_frames(self, num_groups: int) -> None:
        """Raise ``PipelineError`` (``CORRUPT_MEDIA``) where too many frames of a prefix of groups were lost."""
        share = self.config.sampling.max_bad_frames_share
        check_lost(self.plan, self.bad_frames, num_groups=num_groups, max_bad_frames_share=share)

    # ---- what is lost, and what nobody needs any more

    def put_back(self, key: WorkKey, *, lost: AbstractSet[str], has_lost_input: bool = False) -> None:
        """A piece in flight was not done: somebody else will be given it.

        Args:
            key: what ``is_awaited``.
            lost: workers that are gone.
            has_lost_input: the worker found that frames or tokens it needed are gone.
        """
        if key.stage is Stage.SCORE:
            self.round.take_back([key])
            self.frames.take_back([key.index], lost=lost, is_lost=has_lost_input)
        elif key.stage is Stage.GATHER or (key.stage is Stage.ANSWER and has_lost_input):
            self.final.gather_again(key.index)
        elif key.stage is Stage.ANSWER:
            self.final.put_back(key.index)
        else:
            self.frames.read_again(key)

    def lose_worker(self, worker: str) -> bool:
        """A worker is gone with the frames, candidates and tokens it held; returns whether any are missed."""
        self.round.scorers.discard(worker)
        has_lost = self.final.lose_worker(worker)
        has_lost |= self.frames.lose_decoder(worker)
        return self.lose_candidates(self.round.held_by(worker)) or has_lost

    def lose_candidates(self, positions: Iterable[int]) -> bool:
        """Nobody holds the candidates of some groups any more; returns whether they are needed."""
        lost = list(positions)
        for position in lost:
            del self.round.holder[position]
        if not lost:
            return False
        self.trim()
        return any(not self.frames.is_idle(position) for position in lost)

    def restart(self, questions: Sequence[int], *, rung: int, isolated: int | None, lost: AbstractSet[str]) -> None:
        """Score some questions from the start, as if nothing had been scored; frames that are there are used."""
        given = self.round.take_back(self.round.in_flight)
        self.leftovers.cancelled += given
        self.leftovers.abandoned |= self.round.scorers
        self.frames.take_back([key.index for _, key in given], lost=lost)
        self.round = self.round.next(rung=rung, isolated=isolated)
        for index in range(len(self.questions)):
            self.final.forget(index)
        self.candidates.clear()
        for index in questions:
            self.questions[index].restart(rung=rung)
        self.trim()
        self.frames.read_in_order()
        self.trim()

    def give_up(self) -> None:
        """Nothing of it is used any more: who works on it, or holds something of it, can let it go."""
        self.leftovers.cancelled += self.round.take_back(self.round.in_flight)
        self.frames.drop(range(len(self.plan.groups)))
        self.leftovers.cancelled += self.frames.take_unneeded()
        self.leftovers.abandoned |= self.round.scorers

    def start_gathers(self, make_key: MakeKey) -> list[tuple[str, GatherWork]]:
        """Of each question that can be answered, have the tokens handed out that it bought, by who holds them."""
        started = []
        for index in list(self.final.waiting):
            question = self.questions[index]
            assert question.bought is not None
            bought, by_patch = question.bought, question.bought_by_patch
            for holder, gather in self.final.start(index, bought, self.round.holder, make_key, by_patch).items():
                question.phase = QuestionPhase.ANSWERING
                started.append((holder, gather))
        return started

    def fail(self, index: int, failure: Failure) -> None:
        """End a question without an answer."""
        self.questions[index].fail(failure)
        self.final.forget(index)

    def trim(self) -> None:
        """Read what is needed and not there, drop what is not needed, cancel what is in flight for nobody."""
        needed_G, unheld_G = self._needed(), np.ones(len(self.plan.groups), dtype=bool)
        unheld_G[list(self.round.holder)] = False
        self.frames.want(np.flatnonzero(needed_G & unheld_G).tolist())
        self.frames.drop([p for p in np.flatnonzero(~needed_G).tolist() if not self.frames.is_idle(p)])
        self.candidates.forget([p for p in np.flatnonzero(unheld_G).tolist() if self.frames.is_idle(p)])
        needless = [key for key in self.round.in_flight if not needed_G[key.index]]
        self.leftovers.cancelled += self.round.take_back(needless)
        self.leftovers.cancelled += self.frames.take_unneeded()

    def _needed(self) -> npt.NDArray[np.bool_]:
        """``(G,)`` groups of which a question asked now needs tokens that have not been gathered."""
        needed_G = np.zeros(len(self.plan.groups), dtype=bool)
        for index in self.scope:
            question = self.questions[index]
            is_scoring = question.phase is QuestionPhase.SCORING
            if is_scoring or not (question.is_over or self.final.has_tokens(index)):
                needed_G |= question.needed()
        return needed_G
