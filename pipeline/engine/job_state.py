"""The job as a pure state machine: completions in, work out. ``actors.coordinator`` executes it; there is no clock.

Order of preference: finish what is begun (gathers, final passes), then groups of the oldest video. Every piece of work
has a key of its own and is awaited from one worker: whatever else comes in, late, twice or from a worker given up for
lost, changes nothing. What is lost with a worker is done again; how far to run ahead is in ``policy``, what a failure
means in ``blame``. Neither changes a row.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from pipeline.engine.dispatch import ANSWERER, DECODER, SCORER, Dispatcher, role_of
from pipeline.engine.flow import Holdings
from pipeline.engine.mailbox import post_limits
from pipeline.engine.messages.work import (
    AnswerDone,
    Batch,
    Cancelled,
    Completion,
    DecodeDone,
    GatherDone,
    ProbeDone,
    ScoreDone,
    WorkKey,
)
from pipeline.engine.one_video.question_state import Phase
from pipeline.engine.one_video.recovery import fail_open, is_awaited, is_in_use, lose_holdings, put_back, trim
from pipeline.engine.one_video.verdict import ask_next, excuse, punish, take_failure
from pipeline.engine.one_video.video_state import VideoState
from pipeline.engine.progress import Progress, Tally, measure_progress
from pipeline.failures import Failure, FailureClass, PipelineError
from pipeline.method.selectors.registry import get_selector
from pipeline.planning.task_queue import count_questions
from pipeline.planning.tasks import VideoTask
from pipeline.settings.config import RunConfig

__all__ = ["ANSWERER", "DECODER", "SCORER", "JobState"]


class JobState:
    """All decisions of a run. Workers are known by name; the part before ``-`` is their role."""

    def __init__(self, tasks: Sequence[VideoTask], *, config: RunConfig) -> None:
        self._config, selector = config, get_selector(config.method)
        self._dispatcher = Dispatcher(tasks, config=config, selector=selector)
        self._flow, self._boxes = self._dispatcher.flow, self._dispatcher.boxes
        self._finished: list[VideoState] = []
        self._lost: set[str] = set()
        self._cancelled: dict[str, list[WorkKey]] = {}
        self._num_videos, self._num_questions = len(tasks), count_questions(tasks)
        self._tally = Tally()

    @property
    def is_finished(self) -> bool:
        """Whether every video has ended."""
        return not self._dispatcher.waiting and not self._flow.videos

    @property
    def progress(self) -> Progress:
        """Counts so far."""
        return measure_progress(
            self._tally,
            self._flow,
            num_videos=self._num_videos,
            num_questions=self._num_questions,
            roles=map(role_of, self._boxes),
        )

    @property
    def holdings(self) -> Holdings:
        """What all videos in flight hold together."""
        return self._flow.total

    @property
    def num_let_in(self) -> int:
        """Those that may read and score."""
        return self._flow.num_let_in

    def take_finished(self) -> list[VideoState]:
        """Videos that ended since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def take_cancelled(self) -> dict[str, tuple[WorkKey, ...]]:
        """Work in flight that nobody needs any more, by worker; each piece once.

        A worker may give it up (``Cancelled``) or finish it: either is accepted, and neither is missed.
        """
        cancelled, self._cancelled = self._cancelled, {}
        return {worker: tuple(keys) for worker, keys in cancelled.items()}

    def exchange(self, worker: str, completions: Sequence[Completion]) -> Batch:
        """Take in what a worker has done and give it what to do next; an empty batch means nothing is ready yet.

        A worker given up for lost may still ask (its last call outlives it): it is told that all is over.
        """
        if worker in self._lost:
            return Batch(is_finished=True)
        box = self._dispatcher.box_of(worker)
        changed: dict[int, VideoState] = {}
        for completion in completions:
            video = self._take_in(worker, completion)
            if video is not None and isinstance(completion.result, ScoreDone):
                changed[video.age] = video  # several groups of one video: what follows is worked out once
            elif video is not None:
                self._settle(video)
        for video in changed.values():
            if video.task.video_id in self._flow.videos:
                self._tell(video, video.share_out())
                self._settle(video)
        work = tuple(self._dispatcher.next_work(worker))
        retain, released = box.take_retain(), box.take_released()
        return Batch(work=work, retain=retain, released=released, is_finished=self.is_finished)

    @property
    def with_mail(self) -> AbstractSet[str]:
        """Workers for whom there is work that only they can do."""
        return self._dispatcher.with_mail

    def lose_worker(self, worker: str, failure: Failure | None = None) -> None:
        """A worker died for good (its successor has another name): what it worked on and held is made again.

        What it worked on is known only where it had one piece; of several, all are suspects, and handed out alone.

        Args:
            worker: who.
            failure: why, where it was killed on purpose; else class ``worker_lost``.
        """
        box = self._dispatcher.remove(worker)
        self._lost.add(worker)
        self._cancelled.pop(worker, None)
        if box is None:
            return
        role = role_of(worker)  # not the name, which a message would carry into rows
        lost = Failure(failure_class=FailureClass.WORKER_LOST, message=f"a {role} died while it worked on the video")
        pieces = [(self._flow.videos.get(key.video_id), key) for key in box.assigned]
        awaited = [(video, key) for video, key in pieces if video is not None and is_awaited(video, key)]
        blamed = awaited if len(pieces) == 1 else []
        for video, key in awaited:
            video.is_suspect |= not blamed
            put_back(video, key, lost=self._lost)
        hit = {video.task.video_id for video, _ in awaited}
        videos = list(self._flow.videos.values())
        hit |= {video.task.video_id for video in videos if lose_holdings(video, worker)}
        for video, _ in blamed:
            hit.discard(video.task.video_id)
        for video in videos:
            trim(video)
            if video.task.video_id in hit:
                excuse(video, lost)
        for video, key in blamed:
            most = self._config.execution.max_attempts
            punish(video, key, failure or lost, is_death=True, max_attempts=most, lost=self._lost)
        for video in videos:
            self._settle(video)

    def _take_in(self, worker: str, completion: Completion) -> VideoState | None:
        """Take in one result, and return its video; one that is not awaited from this worker is ignored."""
        box, key = self._boxes[worker], completion.key
        if key not in box.assigned:
            return None
        del box.assigned[key]
        video = self._flow.videos.get(key.video_id)
        if video is None:
            if isinstance(completion.result, ScoreDone):
                self._tally.num_groups_wasted += 1
                box.release(key.video_id)
            return None
        video.count_seconds(key, completion.seconds)
        if is_awaited(video, key):
            self._take_result(video, worker, completion)
        elif isinstance(completion.result, ScoreDone):
            self._drop_late(video, worker, key, completion.result)
        return video

    def _take_result(self, video: VideoState, worker: str, completion: Completion) -> None:
        key, result = completion.key, completion.result
        if isinstance(result, Failure):
            most = self._config.execution.max_attempts
            take_failure(video, key, result, worker=worker, max_attempts=most, lost=self._lost)
        elif isinstance(result, ProbeDone):
            video.start(result.plan, result.probe, result.check)
        elif isinstance(result, DecodeDone):
            try:
                video.take_decoded(key, result)
            except PipelineError as error:
                fail_open(video, error.to_failure())
        elif isinstance(result, ScoreDone):
            num_open = sum(question.phase is Phase.SCORING for question in video.questions)
            self._tell(video, video.take_scores(key, result))
            if num_open != sum(question.phase is Phase.SCORING for question in video.questions):
                trim(video)
        elif isinstance(result, GatherDone):
            video.final.take_gathered(key, worker, result.pieces)
        elif isinstance(result, AnswerDone):
            video.questions[key.index].answer, video.questions[key.index].phase = result.final, Phase.DONE
            video.final.forget(key.index)
        else:
            assert isinstance(result, Cancelled)
            put_back(video, key, lost=self._lost)

    def _tell(self, video: VideoState, limits: Mapping[int, Mapping[int, int]]) -> None:
        """Question -> group position -> candidates that may be kept."""
        for index, of_question in limits.items():
            candidates = video.task.video_id, video.attempt, index
            post_limits(self._boxes, candidates, of_question, holder=video.holder)

    def _drop_late(self, video: VideoState, worker: str, key: WorkKey, done: ScoreDone) -> None:
        """Candidates came to be that nobody awaits any more: they are dropped before the video ends."""
        video.num_groups_encoded += 1
        video.num_groups_prefilled += done.was_prefilled
        self._tally.num_groups_wasted += 1
        video.scorers.add(worker)  # it may have been given nothing since scoring started over
        for index in () if is_in_use(video, key, worker) else done.scores:
            self._boxes[worker].limits_of((key.video_id, key.attempt, index))[key.index] = 0

    def _settle(self, video: VideoState) -> None:
        """After anything that happened to a video: what follows from it, and where it is filed."""
        ask_next(video, lost=self._lost)
        for index in list(video.final.waiting):
            question = video.questions[index]
            assert question.bought is not None
            for holder, gather in video.final.start(index, question.bought, video.holder, video.key).items():
                question.phase = Phase.ANSWERING
                self._dispatcher.post(holder, gather)
        if video.is_over:
            trim(video)
        for worker, key in video.cancelled:
            if worker in self._boxes and key in self._boxes[worker].assigned:
                self._cancelled.setdefault(worker, []).append(key)
        video.cancelled.clear()
        for worker in video.abandoned:
            if worker in self._boxes:
                self._boxes[worker].release(video.task.video_id)
        video.abandoned.clear()
        if video.is_over:
            self._finish(video)
        else:
            self._flow.file(video)

    def _finish(self, video: VideoState) -> None:
        """Every question has its end: whoever holds something of the video may drop it."""
        self._flow.remove(video)
        self._tally.add(video)
        for worker in video.scorers:
            if worker in self._boxes:
                self._boxes[worker].release(video.task.video_id)
        self._finished.append(video)
