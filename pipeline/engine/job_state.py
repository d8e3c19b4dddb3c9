"""The job as a pure state machine: completions in, work out. ``actors.coordinator`` executes it; there is no clock.

Order of preference: finish what is begun (gathers, final passes), then groups of the oldest video. A failed piece of
work that another attempt may mend sends its whole video back to the start; nothing is kept that cannot be redone.
"""

from collections import deque
from collections.abc import Sequence

from pipeline.config import RunConfig
from pipeline.engine.mailbox import Mailbox
from pipeline.engine.progress import Progress
from pipeline.engine.question_state import Phase
from pipeline.engine.video_state import VideoState
from pipeline.engine.work import (
    AnswerWork,
    Batch,
    Completion,
    DecodeDone,
    GatherDone,
    ProbeDone,
    ProbeWork,
    ScoreDone,
    VideoTask,
    Work,
)
from pipeline.failures import Failure, FailureClass, PipelineError
from pipeline.selectors.registry import get_selector

DECODER, SCORER = "decoder", "scorer"
_MOST_ATTEMPTS = 50  # of one video that others' dying workers keep sending back; its own failures count to max_attempts


class JobState:
    """All decisions of a run. Workers are known by name; the part before ``-`` is their role."""

    def __init__(self, tasks: Sequence[VideoTask], *, config: RunConfig) -> None:
        self._config, self._selector = config, get_selector(config.method)
        self._waiting = deque(tasks)
        self._attempts = {task.video_id: 0 for task in tasks}
        self._strikes = {task.video_id: 0 for task in tasks}  # attempts that ended through the video's own work
        self._active: dict[int, VideoState] = {}  # oldest first
        self._finished: list[VideoState] = []
        self._answers: deque[AnswerWork] = deque()
        self._boxes: dict[str, Mailbox] = {}
        self._lost: set[str] = set()
        self._num_videos, self._num_questions = len(tasks), sum(len(task.questions) for task in tasks)
        self._videos_done = self._questions_done = self._groups_scored = self._groups_planned = 0

    @property
    def is_finished(self) -> bool:
        """Whether every video has ended."""
        return not self._waiting and not self._active

    @property
    def progress(self) -> Progress:
        """Counts so far."""
        return Progress(
            num_videos=self._num_videos,
            num_videos_done=self._videos_done,
            num_questions=self._num_questions,
            num_questions_done=self._questions_done + sum(video.num_questions_over for video in self._active.values()),
            num_groups_scored=self._groups_scored,
            num_groups_planned=self._groups_planned,
        )

    def take_finished(self) -> list[VideoState]:
        """Videos that ended since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def exchange(self, worker: str, completions: Sequence[Completion]) -> Batch:
        """Take in what a worker has done and give it what to do next; an empty batch means nothing is ready yet.

        A worker given up for lost may still ask (its last call outlives it): it is told that all is over.
        """
        if worker in self._lost:
            return Batch(is_finished=True)
        box = self._boxes.setdefault(worker, Mailbox())
        for completion in completions:
            self.complete(worker, completion)
        self._admit()
        box.assigned = tuple(self._next_decode() if worker.startswith(DECODER) else self._next_for_scorer(box))
        return Batch(
            work=box.assigned,
            retain=box.take_retain(),
            released=box.take_released(),
            is_finished=self.is_finished,
        )

    def lose_worker(self, worker: str, failure: Failure | None = None) -> None:
        """A worker died for good (its successor has another name): videos it worked on or held parts of start over.

        Only those it worked on have had one of their ``max_attempts``: a video that kills workers fails alone.

        Args:
            worker: its name.
            failure: why, where it was killed on purpose; else class ``worker_lost``.
        """
        self._lost.add(worker)
        role = worker.partition("-")[0]  # not the name, which a message would carry into rows
        lost = Failure(failure_class=FailureClass.WORKER_LOST, message=f"a {role} died while it worked on the video")
        at_work = {(work.key.video_id, work.key.attempt) for work in self._boxes.pop(worker, Mailbox()).assigned}
        for video in list(self._active.values()):
            frames_lost = worker.startswith(DECODER) and bool(video.bundles)
            if (video.task.video_id, video.attempt) in at_work:
                self._fail_video(video, failure or lost)
            elif frames_lost or worker in video.holder.values():
                self._fail_video(video, lost, is_blamed=False)

    def complete(self, worker: str, completion: Completion) -> None:
        """Take in one result; results of an abandoned attempt are ignored."""
        video = self._active.get(completion.key.video_id)
        if video is None or video.attempt != completion.key.attempt:
            return
        result, index = completion.result, completion.key.index
        if completion.key.stage in ("answer", "gather"):
            video.questions[index].seconds += completion.seconds
        else:
            video.seconds += completion.seconds
        if isinstance(result, Failure):
            self._take_failure(video, completion, result)
        elif isinstance(result, ProbeDone):
            video.start(result.plan)
            self._groups_planned += len(result.plan.groups)
        elif isinstance(result, DecodeDone):
            self._take_decoded(video, int(completion.key.stage.removeprefix("decode-")), result)
        elif isinstance(result, ScoreDone):
            self._take_scores(video, index, result, worker=worker)
        elif isinstance(result, GatherDone):
            answer = video.take_gathered(index, result.pieces)
            if answer is not None:
                self._answers.append(answer)
        else:
            video.questions[index].answer, video.questions[index].phase = result, Phase.DONE
            self._finish_if_over(video)

    def _admit(self) -> None:
        """Begin waiting videos, and decode passes as far as their frames can be reserved."""
        while self._waiting and len(self._active) < self._config.execution.videos_in_flight:
            task = self._waiting.popleft()
            self._attempts[task.video_id] += 1
            self._active[task.video_id] = VideoState(
                task=task, attempt=self._attempts[task.video_id], config=self._config, selector=self._selector
            )
        room = self._config.execution.frame_buffer_bytes - sum(v.buffered_bytes for v in self._active.values())
        for video in self._active.values():
            needed = video.next_pass_bytes() if video.plan is not None else None
            if needed is None:
                continue
            if needed > room:
                break  # the oldest video goes first, or a large one would starve
            video.start_pass()
            room -= needed

    def _next_decode(self) -> list[Work]:
        for video in self._active.values():
            if not video.is_probed:
                video.is_probed = True
                return [ProbeWork(key=video.key("probe"), uri=video.task.uri, fingerprint=video.task.fingerprint)]
            if video.undecoded and video.needs_scores:
                return [video.undecoded.pop(0)]
        return []

    def _next_for_scorer(self, box: Mailbox) -> list[Work]:
        gathers = box.take_gathers()
        if gathers:
            return list(gathers)
        if self._answers:
            return [self._answers.popleft()]
        for video in self._active.values():
            score = video.next_score()
            if score is not None:
                return [score]
        return []

    def _take_scores(self, video: VideoState, position: int, done: ScoreDone, *, worker: str) -> None:
        self._groups_scored += 1
        for retention in video.take_scores(position, done, worker=worker):
            self._boxes[video.holder[retention.position]].retain.append(retention)
        for holder, gather in video.start_answers():
            self._boxes[holder].gathers.append(gather)
        self._finish_if_over(video)

    def _take_decoded(self, video: VideoState, pass_index: int, done: DecodeDone) -> None:
        video.take_decoded(pass_index, done)
        assert video.plan is not None
        if self._selector.can_stop or not video.is_decoded:  # who can stop is judged by the frames that count for it
            return
        try:
            video.check_frames(len(video.plan.groups))
        except PipelineError as error:
            self._fail_video(video, error.to_failure())

    def _take_failure(self, video: VideoState, completion: Completion, failure: Failure) -> None:
        is_blamed = failure.failure_class is not FailureClass.WORKER_LOST  # else what it needed went with a worker
        if completion.key.stage == "answer" and not self._can_retry(video, failure, is_blamed=is_blamed):
            video.questions[completion.key.index].fail(failure)  # this question only
            self._finish_if_over(video)
        else:
            self._fail_video(video, failure, is_blamed=is_blamed)

    def _can_retry(self, video: VideoState, failure: Failure, *, is_blamed: bool) -> bool:
        strikes = self._strikes[video.task.video_id] + is_blamed
        in_time = strikes < self._config.execution.max_attempts and video.attempt < _MOST_ATTEMPTS
        return failure.is_retryable and in_time

    def _fail_video(self, video: VideoState, failure: Failure, *, is_blamed: bool = True) -> None:
        """Start the video over if that can help, else fail what is not yet answered."""
        if self._can_retry(video, failure, is_blamed=is_blamed):
            self._forget(video)
            self._strikes[video.task.video_id] += is_blamed
            self._groups_planned -= len(video.plan.groups) if video.plan else 0
            self._groups_scored -= video.num_groups_encoded
            self._waiting.appendleft(video.task)
            return
        if not video.questions:
            video.start_empty()
        for question in video.questions:
            if not question.is_over:
                question.fail(failure)
        self._finish_if_over(video)

    def _finish_if_over(self, video: VideoState) -> None:
        if video.is_over:
            self._forget(video)
            self._videos_done += 1
            self._questions_done += len(video.questions)
            self._finished.append(video)

    def _forget(self, video: VideoState) -> None:
        """Drop queued work and candidates of an attempt that has ended."""
        video_id = video.task.video_id
        del self._active[video_id]
        video.bundles.clear()
        self._answers = deque(work for work in self._answers if work.key.video_id != video_id)
        for worker, box in self._boxes.items():
            if worker.startswith(SCORER):
                box.release(video_id)
