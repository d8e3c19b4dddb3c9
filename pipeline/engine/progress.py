"""How far a job is, as counts."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace

from pipeline.engine.flow import Flow
from pipeline.engine.messages.keys import Role
from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.one_video.question_state import QuestionPhase
from pipeline.engine.one_video.video_state import VideoState


@dataclass(kw_only=True, slots=True)
class Tally:
    """Sums over videos; ``num_groups_wasted`` also counts what was scored for videos in flight when nobody needed it.

    Attributes:
        num_questions_failed: of those done.
        num_questions_stopped: that needed no further group before all were scored, and have not failed since.
        num_redone: how often something was done again: failures, lost workers.
        stage_seconds: what all pieces of work took, by stage.
    """

    num_videos_done: int = 0
    num_questions_done: int = 0
    num_questions_failed: int = 0
    num_questions_stopped: int = 0
    num_groups_scored: int = 0
    num_groups_planned: int = 0
    num_groups_wasted: int = 0
    num_redone: int = 0
    stage_seconds: StageSeconds = field(default_factory=StageSeconds)

    def __add__(self, other: "Tally") -> "Tally":
        """Sum by sum."""
        return Tally(**{item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(Tally)})

    def add(self, video: VideoState) -> None:
        """A video has ended."""
        self.num_videos_done += 1
        self.add_open(video)
        if video.plan is not None:
            useful = max(len(question.prefix) for question in video.questions)
            self.num_groups_wasted += video.num_groups_known - useful

    def add_open(self, video: VideoState) -> None:
        """A video as it stands."""
        self.num_redone += video.faults.num_redone
        self.stage_seconds += video.spent.seconds
        for question in video.questions:
            if question.phase is QuestionPhase.SCORING and not question.seconds.answer_s:
                continue  # most of them, most of the time
            has_failed = question.phase is QuestionPhase.FAILED
            self.num_questions_done += question.is_over
            self.num_questions_failed += has_failed
            self.num_questions_stopped += question.stop_reason == "confident" and not has_failed
            self.stage_seconds += question.seconds
        if video.plan is not None:
            self.num_groups_planned += len(video.plan.groups)
            self.num_groups_scored += video.num_groups_known


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Counts for people and dashboards; those of an attempt that starts over are taken back, but for the wasted.

    Attributes:
        num_groups_ready: groups whose frames wait for a scorer.
        open_share: what has been scored of the questions that are not over, in questions' worth.
        frame_bytes: reserved for decoded frames.
        candidate_bytes: reserved for tokens that may still be bought.
        num_scorers: processes that have asked for work so far and are not lost; likewise the other two.
        ended: the part of the sums that is of videos that have ended, which stays when a coordinator dies.
    """

    num_videos: int
    num_videos_done: int
    num_questions: int
    num_questions_done: int
    num_groups_scored: int
    num_groups_planned: int
    num_groups_wasted: int = 0
    num_videos_in_flight: int = 0
    num_questions_failed: int = 0
    num_questions_stopped: int = 0
    num_groups_ready: int = 0
    num_redone: int = 0
    open_share: float = 0.0
    frame_bytes: int = 0
    candidate_bytes: int = 0
    num_scorers: int = 0
    num_answerers: int = 0
    num_decoders: int = 0
    stage_seconds: StageSeconds = field(default_factory=StageSeconds)
    ended: Tally = field(default_factory=Tally)

    @classmethod
    def of_nothing(cls, *, num_videos: int, num_questions: int) -> "Progress":
        """Before anything is done."""
        return cls(
            num_videos=num_videos,
            num_videos_done=0,
            num_questions=num_questions,
            num_questions_done=0,
            num_groups_scored=0,
            num_groups_planned=0,
        )

    @property
    def device_s(self) -> float:
        """Seconds in which scorers and answerers had something to do."""
        spent = self.stage_seconds
        return spent.encode_s + spent.prefill_s + spent.score_s + spent.answer_s

    def __add__(self, other: "Progress") -> "Progress":
        """Of two parts of a job."""
        sums = {item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(Progress)}
        return Progress(**sums)

    def served_by(self, num_workers: Mapping[Role, int]) -> "Progress":
        """Of parts that workers go on from: each knows all whom it has seen, and together they have these."""
        return replace(
            self,
            num_scorers=num_workers.get(Role.SCORER, 0),
            num_answerers=num_workers.get(Role.ANSWERER, 0),
            num_decoders=num_workers.get(Role.DECODER, 0),
        )

    def continue_after(self, before: Tally) -> "Progress":
        """Of the whole job, where coordinators that have died ended the videos counted in ``before``."""
        sums = {item.name: getattr(before, item.name) + getattr(self, item.name) for item in fields(Tally)}
        return replace(
            self,
            num_videos=before.num_videos_done + self.num_videos,
            num_questions=before.num_questions_done + self.num_questions,
            ended=before + self.ended,
            **sums,
        )


def measure_progress(
    ended: Tally, flow: Flow, *, num_videos: int, num_questions: int, roles: Iterable[Role]
) -> Progress:
    """Look at every video in flight: some dozens, however long the job is.

    Args:
        ended: of all videos that have ended.
        flow: all others that were begun.
        num_videos: of the job.
        num_questions: of the job.
        roles: of the workers, one by one.
    """
    in_flight, open_share = Tally(), 0.0
    for video in flow.videos.values():
        in_flight.add_open(video)
        open_share += _open_share(video)
    num_workers = Counter(roles)
    sums = ended + in_flight
    return Progress(
        num_videos=num_videos,
        num_videos_in_flight=len(flow.videos),
        num_questions=num_questions,
        num_groups_ready=flow.total.num_ready,
        open_share=open_share,
        frame_bytes=flow.total.frame_bytes,
        candidate_bytes=flow.total.candidate_bytes,
        num_scorers=num_workers[Role.SCORER],
        num_answerers=num_workers[Role.ANSWERER],
        num_decoders=num_workers[Role.DECODER],
        ended=replace(ended),
        **{item.name: getattr(sums, item.name) for item in fields(Tally)},
    )


def _open_share(video: VideoState) -> float:
    """Scored groups that count over all groups, of each question that is not over; its final pass takes little more."""
    if video.plan is None:
        return 0.0
    num_scored, num_groups = 0, len(video.plan.groups)
    for question in video.questions:
        if question.phase is QuestionPhase.SCORING:
            num_scored += len(question.prefix)
        elif not question.is_over:
            num_scored += num_groups
    return num_scored / num_groups
