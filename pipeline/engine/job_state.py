"""The job as a pure state machine: completions in, work out. There is no clock: callers tell the time.

Order of preference: finish what is begun (gathers, final passes), then groups of the oldest video. Every piece of work
has a key of its own and is awaited from one worker: whatever else comes in, late, twice or from a worker given up for
lost, changes nothing. What is lost with a worker is done again; how far to run ahead is in ``policy``, what a failure
means in ``one_video.faults``. Neither changes a row.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from pipeline.engine.dispatch import Dispatcher
from pipeline.engine.flow import Holdings
from pipeline.engine.mailbox import post_limits
from pipeline.engine.messages.keys import WorkKey, role_of
from pipeline.engine.messages.work import (
    AnswerDone,
    Batch,
    Cancelled,
    Completion,
    DecodeDone,
    GatherDone,
    ProbeDone,
    Result,
    ScoreDone,
    ScoreWork,
)
from pipeline.engine.one_video.phases import At
from pipeline.engine.one_video.planned import Limits, Planned
from pipeline.engine.one_video.video_state import VideoState
from pipeline.engine.progress import Progress, Tally, measure_progress
from pipeline.failures import Failure, FailureClass, PipelineError
from pipeline.method.selectors.registry import get_selector
from pipeline.planning.task_queue import count_questions
from pipeline.planning.tasks import VideoTask
from pipeline.settings.config import RunConfig


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
    def num_admitted(self) -> int:
        """Those that may read and score."""
        return self._flow.num_admitted

    def tell_time(self, now_s: float) -> bool:
        """What follows happens at this time of any clock that does not go back.

        Returns:
            Whether there may be work again because of it: a video that failed has rested long enough.
        """
        return self._dispatcher.tell_time(now_s)

    @property
    def wakes_at_s(self) -> float | None:
        """When the next video that rests is due; None where none does."""
        return min(self._dispatcher.resting.values(), default=None)

    @property
    def outage(self) -> Failure | None:
        """Why the job cannot go on: no room for frames; the storage away for too long, and all that is left waits."""
        storage, now_s = self._dispatcher.outage, self._dispatcher.now_s
        return self._flow.allowance.outage or storage.judge(set(self._flow.videos), now_s=now_s)

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
                self._share_out(video)
                self._settle(video)
        work = tuple(self._dispatcher.next_work(worker))
        retain, released = box.take_retain(), box.take_released()
        decodes = self._config.sampling.decoder == "nvdec" and any(isinstance(one, ScoreWork) for one in work)
        ahead = self._dispatcher.next_to_decode(worker) if decodes else ()
        return Batch(work=work, ahead=ahead, retain=retain, released=released, is_finished=self.is_finished)

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
        awaited = [(video, key) for video, key in pieces if video is not None and video.is_awaited(key)]
        blamed = awaited if len(pieces) == 1 else []
        for video, key in awaited:
            video.faults.is_suspect |= not blamed
            video.put_back(key, lost=self._lost)
        hit = {video.task.video_id for video, _ in awaited}
        videos = list(self._flow.videos.values())
        hit |= {v.task.video_id for v in videos if v.planned is not None and v.planned.lose_worker(worker)}
        for video, _ in blamed:
            hit.discard(video.task.video_id)
        for video in videos:
            video.trim()
            if video.task.video_id in hit:
                video.excuse(lost)
        for video, key in blamed:
            video.blame(key, failure or lost, is_death=True, lost=self._lost)
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
        if not video.is_awaited(key):
            if isinstance(completion.result, ScoreDone):
                self._drop_late(video, worker, key, completion.result)
        elif isinstance(completion.result, Failure):
            self._take_failure(video, key, completion.result, worker=worker)
        elif isinstance(completion.result, ProbeDone):
            self._dispatcher.outage.note_reading(key.video_id, is_probe=True)
            video.take_plan(key, completion.result)
        elif isinstance(completion.result, Cancelled):
            video.put_back(key, lost=self._lost)
        else:
            assert video.planned is not None, "only a planned video awaits anything else"
            self._take_result(video, video.planned, worker, key, completion.result)
        return video

    def _take_failure(self, video: VideoState, key: WorkKey, failure: Failure, *, worker: str) -> None:
        now_s, has_others = self._dispatcher.now_s, bool(self._dispatcher.waiting)
        before = video.planned
        may_be_outage = video.is_of_reading(key, failure) and failure.found is None
        is_outage = may_be_outage and self._dispatcher.outage.note_failure(
            key.video_id, failure, now_s=now_s, has_others=has_others
        )
        if failure.is_full and key.stage.is_reading:
            self._shrink(video, key, failure)
        else:
            if failure.is_full:
                self._flow.allowance.note_stuck(failure, "what was bought for an answer has", now_s=now_s)
            video.take_failure(key, failure, worker=worker, lost=self._lost, at=At(now_s=now_s, is_outage=is_outage))
        self._dispatcher.note_rest(video)
        if before is not None and video.planned is None:  # it starts over
            self._tell_leftovers(video, before)

    def _shrink(self, video: VideoState, key: WorkKey, failure: Failure) -> None:
        """What frames may take was too much."""
        now_s, plan, held_bytes = self._dispatcher.now_s, video.plan, self._flow.total.frame_bytes
        group_bytes = 0 if plan is None else max(map(plan.group_bytes, range(len(plan.groups))))
        room = self._flow.allowance
        room.note_full(failure, held_bytes=held_bytes, group_bytes=group_bytes, now_s=now_s)
        is_too_much = plan is not None and max(held_bytes, plan.most_reading_bytes) > room.num_bytes
        video.take_full(key, room_bytes=room.num_bytes if is_too_much else None, now_s=now_s, lost=self._lost)

    def _take_result(self, video: VideoState, planned: Planned, worker: str, key: WorkKey, result: Result) -> None:
        if isinstance(result, DecodeDone):
            self._dispatcher.outage.note_reading(key.video_id, is_probe=False)
            self._flow.allowance.note_stored()
            video.take_decoded(planned, key, result)
        elif isinstance(result, ScoreDone):
            if result.read is not None:
                self._dispatcher.outage.note_reading(key.video_id, is_probe=False)
            self._tell(video, planned, video.take_scores(planned, key, result))
        elif isinstance(result, GatherDone):
            self._flow.allowance.note_stored()
            planned.final.take_gathered(key, worker, result.pieces)
        else:
            assert isinstance(result, AnswerDone)
            try:
                planned.take_answer(key.index, result.final)
            except PipelineError as error:  # of a selector that is not this project's: its question fails, not the job
                self._take_failure(video, key, error.to_failure(), worker=worker)

    def _share_out(self, video: VideoState) -> None:
        if video.planned is not None:
            self._tell(video, video.planned, video.planned.share_out())

    def _tell(self, video: VideoState, planned: Planned, limits: Limits) -> None:
        """Have holders drop the candidates that nobody needs any more."""
        for index, of_question in limits.items():
            candidates = video.task.video_id, planned.round.attempt, index
            post_limits(self._boxes, candidates, of_question, holder=planned.round.holder)

    def _drop_late(self, video: VideoState, worker: str, key: WorkKey, done: ScoreDone) -> None:
        """Candidates came to be that nobody awaits any more: they are dropped before the video ends."""
        video.spent.count_group(was_prefilled=done.was_prefilled)
        self._tally.num_groups_wasted += 1
        planned = video.planned
        if planned is None:  # it starts over, so that nobody can hold anything else of it
            self._boxes[worker].release(key.video_id)
            return
        planned.round.scorers.add(worker)  # it may have been given nothing since scoring started over
        for index in () if planned.round.is_in_use(key, worker) else done.scores:
            self._boxes[worker].limits_of((key.video_id, key.attempt, index))[key.index] = 0

    def _settle(self, video: VideoState) -> None:
        """After anything that happened to a video: what follows from it, and where it is filed."""
        video.isolate_next(lost=self._lost)
        if video.planned is not None:
            self._settle_planned(video, video.planned)
        if video.is_over:
            self._finish(video)
        else:
            self._flow.file(video)

    def _settle_planned(self, video: VideoState, planned: Planned) -> None:
        for holder, gather in planned.start_gathers(video.make_key):
            self._dispatcher.post(holder, gather)
        if video.is_over:
            planned.trim()
        self._tell_leftovers(video, planned)

    def _tell_leftovers(self, video: VideoState, planned: Planned) -> None:
        """Have workers give up what is in flight for nobody, and drop what they hold of an earlier round."""
        for worker, key in planned.leftovers.cancelled:
            if worker in self._boxes and key in self._boxes[worker].assigned:
                self._cancelled.setdefault(worker, []).append(key)
        planned.leftovers.cancelled.clear()
        self._release(video, planned.leftovers.abandoned)
        planned.leftovers.abandoned.clear()

    def _release(self, video: VideoState, workers: AbstractSet[str]) -> None:
        for worker in workers:
            if worker in self._boxes:
                self._boxes[worker].release(video.task.video_id)

    def _finish(self, video: VideoState) -> None:
        """Every question has its end: whoever holds something of the video may drop it."""
        self._flow.remove(video)
        self._dispatcher.resting.pop(video.task.video_id, None)
        self._dispatcher.outage.forget(video.task.video_id)
        self._tally.add(video)
        if video.planned is not None:
            self._release(video, video.planned.round.scorers)
        self._finished.append(video)
