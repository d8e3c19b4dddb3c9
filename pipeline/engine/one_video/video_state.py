"""One video in flight, from its admission to its rows: a phase with a state of its own, a record of faults and costs.

::

    PROBING ── plan ──> SCORING ── last group that counts ──> ANSWERING ── last answer ──> OVER
       │                  │  ^                                    │                         ^
       └── unreadable ────┼──┼────────────────────────────────────┼─────────────────────────┘
                          └──┴── lost, out of memory, isolated <──┘
                  a file that was replaced while it was read: PROBING again
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.messages.work import DecodeDone, ProbeDone, ProbeWork, ScoreDone
from pipeline.engine.one_video.candidate_ledger import CandidateLedger, bound_tokens
from pipeline.engine.one_video.decode_work import VideoSource
from pipeline.engine.one_video.faults import Faults, Remedy, is_unblamed
from pipeline.engine.one_video.frame_ledger import FrameLedger
from pipeline.engine.one_video.phases import At, Phase, Probing, Unreadable
from pipeline.engine.one_video.planned import Limits, Planned
from pipeline.engine.one_video.question_state import QuestionPhase, QuestionState, begin_questions
from pipeline.engine.one_video.scoring_round import ScoringRound
from pipeline.engine.one_video.spent import Spent
from pipeline.engine.one_video.tries import Tries
from pipeline.failures import READING, Failure, FailureClass, PipelineError
from pipeline.method.budget import overselected
from pipeline.method.selectors.base import Selector
from pipeline.planning.tasks import VideoTask
from pipeline.planning.video_plan import VideoPlan
from pipeline.settings.config import RunConfig
from pipeline.uris import strip_secrets


@dataclass(kw_only=True, slots=True, eq=False)
class VideoState:
    """Everything the coordinator knows of one video.

    Attributes:
        age: order of admission; the oldest goes first.
        state: what its phase needs.
        found: the version that it is answered about, where the planned one was replaced meanwhile.
        first_attempt: of scoring it as it is planned now; those before were about another version, or read otherwise.
        room_bytes: what its frames may take, where that has turned out to be less than configured.
        num_turns: pieces of work handed out.
    """

    task: VideoTask
    config: RunConfig
    selector: Selector
    age: int = 0
    state: Probing | Planned | Unreadable = field(default_factory=Probing)
    faults: Faults = field(init=False)
    spent: Spent = field(default_factory=Spent)
    found: str | None = None
    first_attempt: int = 1
    room_bytes: int | None = None
    num_turns: int = 0

    def __post_init__(self) -> None:
        self.faults = Faults(max_attempts=self.config.execution.max_attempts)

    # ---- where it stands

    @property
    def planned(self) -> Planned | None:
        """Its state once the plan is known, and to the end; None before, and where it never became known."""
        return self.state if isinstance(self.state, Planned) else None

    @property
    def fingerprint(self) -> str:
        """The version that it is answered about."""
        return self.found or self.task.fingerprint

    @property
    def plan(self) -> VideoPlan | None:
        """What will be done with it."""
        return self.state.plan if isinstance(self.state, Planned) else None

    @property
    def questions(self) -> Sequence[QuestionState]:
        """In manifest order; none before the plan is known."""
        return self.state.questions

    @property
    def phase(self) -> Phase:
        """Follows from its state."""
        if isinstance(self.state, Probing):
            return Phase.PROBING
        if any(question.phase is QuestionPhase.SCORING for question in self.state.questions):
            return Phase.SCORING
        return Phase.OVER if all(question.is_over for question in self.state.questions) else Phase.ANSWERING

    @property
    def is_over(self) -> bool:
        """Whether every question has ended."""
        return not isinstance(self.state, Probing) and all(question.is_over for question in self.state.questions)

    @property
    def needs_scores(self) -> bool:
        """Whether a question still waits for groups; before the plan is known they all do."""
        return self.phase in (Phase.PROBING, Phase.SCORING)

    @property
    def waits_for_probe(self) -> bool:
        """Whether its timeline is to be read, and nobody does."""
        return isinstance(self.state, Probing) and self.state.key is None

    @property
    def num_groups_known(self) -> int:
        """Groups scored, each once."""
        return max((len(question.scores) for question in self.questions), default=0)

    def make_key(self, stage: Stage, index: int = 0) -> WorkKey:
        """Key of one piece of work; no two are equal."""
        self.num_turns += 1
        attempt = self.state.round.attempt if isinstance(self.state, Planned) else 1
        return WorkKey(video_id=self.task.video_id, attempt=attempt, stage=stage, index=index, turn=self.num_turns)

    def count_seconds(self, key: WorkKey, seconds: StageSeconds) -> None:
        """What a piece of work cost."""
        if key.stage.is_of_one_question and self.questions:  # else it starts over
            self.questions[key.index].seconds += seconds
        else:
            self.spent.seconds += seconds

    def is_awaited(self, key: WorkKey) -> bool:
        """Whether a piece of work is in flight and still needed."""
        if isinstance(self.state, Probing):
            return self.state.key == key
        return isinstance(self.state, Planned) and self.state.is_awaited(key)

    # ---- what comes back

    def start_probe(self) -> ProbeWork:
        """Have its timeline read."""
        key = self.make_key(Stage.PROBE)
        self.state, task = Probing(key=key), self.task
        return ProbeWork(
            key=key,
            uri=task.uri,
            fingerprint=self.fingerprint,
            questions=task.questions,
            time_range=task.time_range,
            room_bytes=self.room_bytes,
        )

    def take_plan(self, key: WorkKey, done: ProbeDone) -> None:
        """Questions begin to score, but for those that cannot be asked."""
        self._note_read(key)
        plan, task, budget = done.plan, self.task, self.config.budget
        size = self.config.execution.groups_per_call
        source = VideoSource(uri=task.uri, fingerprint=self.fingerprint, probe=done.probe, groups_per_bundle=size)
        is_bounded = self.selector.final_budget(budget) is not None and self.selector.profile != "patches"
        most = overselected(budget.token_budget, budget.over_select) if is_bounded else None
        num_tokens_G, num_questions = plan.group_num_tokens, len(task.questions)
        self.state = Planned(
            plan=plan,
            config=self.config,
            selector=self.selector,
            asked=done.check.as_asked(task.questions),
            check=done.check,
            questions=begin_questions(task.questions, num_groups=len(plan.groups), refused=done.check.refused),
            frames=FrameLedger(plan, source),
            candidates=CandidateLedger(num_tokens_G, num_questions=num_questions),
            bound_tokens=bound_tokens(num_tokens_G, budget=most, num_questions=num_questions),
            patch_centers_s=plan.patch_centers_s,
            round=ScoringRound(attempt=self.first_attempt),
        )

    def take_decoded(self, planned: Planned, key: WorkKey, done: DecodeDone) -> None:
        """File one stretch; a video of which too much is lost fails."""
        self._note_read(key)
        self.spent.count_decoded(done)
        try:
            planned.take_decoded(key, done)
        except PipelineError as error:
            self.fail_open(error.to_failure())

    def take_scores(self, planned: Planned, key: WorkKey, done: ScoreDone) -> Limits:
        """File one group; returns which candidates can be dropped."""
        self.spent.count_group(was_prefilled=done.was_prefilled)
        if done.read is not None:
            self._note_read(key)
            self.spent.count_decoded(done.read)
            planned.bad_frames.update(done.read.bad_frames)
        if not planned.is_known(key.index):
            self.faults.num_losses = 0  # it gets on
        self.faults.model_rest.end()
        self._scoring_tries(planned).clear(key)
        return planned.take_scores(key, done)

    def _note_read(self, key: WorkKey) -> None:
        self.faults.reading_rest.end()
        self.faults.reading.clear(key)

    def _scoring_tries(self, planned: Planned) -> Tries:
        """Who is charged with a group that fails now: the one question asked, or all together."""
        if len(self.questions) > 1 and planned.round.isolated is None:
            return self.faults.scoring
        return self.questions[planned.round.isolated or 0].scoring

    # ---- what fails

    def is_of_reading(self, key: WorkKey, failure: Failure) -> bool:
        """Whether the video could not be read; with ``nvdec`` a scorer reads what it scores."""
        by_scorer = key.stage is Stage.SCORE and self.config.sampling.decoder == "nvdec"
        return key.stage.is_reading or (by_scorer and failure.failure_class in READING)

    def put_back(self, key: WorkKey, *, lost: AbstractSet[str], has_lost_input: bool = False) -> None:
        """A piece in flight was not done: somebody else will be given it."""
        if isinstance(self.state, Probing):
            self.state = Probing()
        elif isinstance(self.state, Planned):
            self.state.put_back(key, lost=lost, has_lost_input=has_lost_input)

    def trim(self) -> None:
        """Drop and cancel what nobody needs, have read what is needed."""
        if isinstance(self.state, Planned):
            self.state.trim()

    def fail_open(self, failure: Failure) -> None:
        """End every question that is not over."""
        if isinstance(self.state, Probing):
            self.state = Unreadable(questions=[QuestionState(num_groups=0) for _ in self.task.questions])
        for index, question in enumerate(self.questions):
            if not question.is_over and isinstance(self.state, Planned):
                self.state.fail(index, failure)
            elif not question.is_over:
                question.fail(failure)
        self.trim()

    def start_over(self, found: str) -> None:
        """Its file was replaced: it is planned again, in the version that is there; no frame or score is used twice."""
        self._plan_anew()
        self.found = found
        self.spent.notes.append(f"{strip_secrets(self.task.uri)} was replaced while it was read: it starts over")

    def _plan_anew(self) -> None:
        if isinstance(self.state, Planned):
            self.state.give_up()
            self.first_attempt = self.state.round.attempt + 1
        self.state = Probing()

    def take_full(self, key: WorkKey, *, room_bytes: int | None, now_s: float, lost: AbstractSet[str]) -> None:
        """No room for what was read: again after a rest. ``room_bytes``: it starts over, in smaller readings."""
        if room_bytes is None:
            self.put_back(key, lost=lost)
        else:
            self._plan_anew()
            self.room_bytes = room_bytes
            told = f"store and disk were full: it starts over, with {room_bytes / 1e6:.0f} MB for frames"
            self.spent.notes.append(f"{strip_secrets(self.task.uri)}: {told}")
        self.faults.num_redone += 1
        self.faults.reading_rest.begin(now_s)

    def excuse(self, failure: Failure) -> None:
        """Something was lost, or found no room, through no fault of the video's; the former is not redone for ever."""
        if not failure.is_full and not self.faults.note_loss():
            self.fail_open(failure)

    def take_failure(self, key: WorkKey, failure: Failure, *, worker: str, lost: AbstractSet[str], at: At) -> None:
        """A worker reports that a piece failed: it is put back, and what that means is carried out."""
        if failure.found is not None and self.faults.note_replaced():
            self.start_over(failure.found)
            return
        self.put_back(key, lost=lost, has_lost_input=is_unblamed(failure))
        if key.stage is Stage.GATHER and isinstance(self.state, Planned) and not failure.is_full:
            wants = self.state.questions[key.index].wants  # what cannot be handed out is as good as lost
            self.state.lose_candidates([p for p in self.state.round.held_by(worker) if wants(p)])
        self.trim()
        if is_unblamed(failure):
            self.excuse(failure)
            return
        if failure.is_retryable and failure.failure_class is not FailureClass.OUT_OF_MEMORY:
            self.faults.rest_of(key).begin(at.now_s)
        if at.is_outage:
            self.faults.num_redone += 1
        else:
            self.faults.excluded.add(worker)
            self.blame(key, failure, is_death=False, lost=lost)

    def blame(self, key: WorkKey, failure: Failure, *, is_death: bool, lost: AbstractSet[str]) -> None:
        """A piece failed, or killed its worker; it has been put back already.

        Args:
            key: the piece.
            failure: what the rows say if this is the end.
            is_death: the worker died of it.
            lost: workers that are gone.
        """
        planned = self.planned
        if planned is None or self.is_of_reading(key, failure):
            if self.faults.judge_reading(failure, key, last_turn=self.num_turns) is Remedy.FAIL_VIDEO:
                self.fail_open(failure)
        elif key.stage is Stage.SCORE and planned.round.isolated is None and len(self.questions) > 1:
            self._blame_all(planned, key, failure, lost=lost)
        elif key.stage is Stage.SCORE:
            self._blame_asked(planned, key, failure, is_death=is_death, lost=lost)
        else:
            remedy = self._blame_one(planned, key.index, key, failure, rung=self.questions[key.index].answer_rung)
            self.questions[key.index].answer_rung += remedy is Remedy.NEXT_RUNG

    def isolate_next(self, *, lost: AbstractSet[str]) -> None:
        """Where questions are asked one at a time and one is over, the next has its turn."""
        planned = self.planned
        if planned is None or planned.round.isolated is None or self.is_over:
            return
        if planned.questions[planned.round.isolated].is_over:
            isolated = _first_open(planned)
            planned.restart([isolated], rung=0, isolated=isolated, lost=lost)

    def _blame_all(self, planned: Planned, key: WorkKey, failure: Failure, *, lost: AbstractSet[str]) -> None:
        rung = planned.round.rung
        remedy = self.faults.judge_scoring(failure, key, rung=rung, last_turn=self.num_turns)
        if remedy is Remedy.NEXT_RUNG:  # all at one rung, whatever was answered before
            again = [i for i, question in enumerate(self.questions) if question.phase is not QuestionPhase.FAILED]
            planned.restart(again, rung=rung + 1, isolated=None, lost=lost)
        elif remedy is Remedy.ISOLATE:
            for question in self.questions:
                question.scoring.charge()
            again = [index for index, question in enumerate(self.questions) if not question.is_over]
            planned.restart(again, rung=0, isolated=_first_open(planned), lost=lost)

    def _blame_asked(
        self, planned: Planned, key: WorkKey, failure: Failure, *, is_death: bool, lost: AbstractSet[str]
    ) -> None:
        """The one question that was asked."""
        index, rung = planned.round.isolated or 0, planned.round.rung
        remedy = self._blame_one(planned, index, key, failure, rung=rung)
        if remedy is Remedy.NEXT_RUNG:
            planned.restart([index], rung=rung + 1, isolated=planned.round.isolated, lost=lost)
        elif remedy is Remedy.FAIL_QUESTION:
            has_answered = any(question.phase is QuestionPhase.DONE for question in self.questions)
            if self.faults.note_fatal(is_death=is_death, has_answered=has_answered):
                self.fail_open(failure)

    def _blame_one(self, planned: Planned, index: int, key: WorkKey, failure: Failure, *, rung: int) -> Remedy:
        remedy = self.faults.judge_question(failure, planned.questions[index], key, rung=rung, last_turn=self.num_turns)
        if remedy is Remedy.FAIL_QUESTION:
            planned.fail(index, failure)
            planned.trim()
        return remedy


def _first_open(planned: Planned) -> int:
    return next(index for index, question in enumerate(planned.questions) if not question.is_over)
