"""The job as a pure state machine: completions in, work out. ``actors.coordinator`` executes it; there is no clock here.

Order of preference: finish what is begun (gathers, final passes), then groups of the oldest video. A failed piece of
work that another attempt may mend sends its whole video back to the start; nothing is kept that cannot be redone.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config import RunConfig
from pipeline.engine.question_state import Phase
from pipeline.engine.video_plan import plan_video
from pipeline.engine.video_state import VideoState, add_seconds
from pipeline.engine.work import (
    AnswerDone,
    AnswerWork,
    Batch,
    Completion,
    DecodeDone,
    GatherDone,
    GatherWork,
    ProbeDone,
    ProbeWork,
    Retention,
    ScoreDone,
    VideoTask,
    Work,
)
from pipeline.failures import Failure, FailureClass, PipelineError
from pipeline.models.interface import ModelLayout
from pipeline.selectors.registry import get_selector
from pipeline.video.decode import check_bad_share

DECODER, SCORER = "decoder", "scorer"


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Counts for a progress display."""

    num_videos: int
    num_videos_done: int
    num_questions: int
    num_questions_done: int
    num_groups_scored: int
    num_groups_planned: int


class JobState:
    """All decisions of a run. Workers are known by name; the part before ``-`` is their role."""

    def __init__(self, tasks: Sequence[VideoTask], *, config: RunConfig, layout: ModelLayout) -> None:
        self._config, self._layout, self._selector = config, layout, get_selector(config.method)
        self._waiting = deque(tasks)
        self._attempts = {task.video_id: 0 for task in tasks}
        self._active: dict[int, VideoState] = {}  # oldest first
        self._finished: list[VideoState] = []
        self._gathers: dict[str, deque[GatherWork]] = {}
        self._answers: deque[AnswerWork] = deque()
        self._retain: dict[str, list[Retention]] = {}
        self._released: dict[str, list[int]] = {}
        self._known_scorers: set[str] = set()
        self._assigned: dict[str, list[Work]] = {}
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
            num_questions_done=self._questions_done,
            num_groups_scored=self._groups_scored,
            num_groups_planned=self._groups_planned,
        )

    def take_finished(self) -> list[VideoState]:
        """Videos that ended since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def exchange(self, worker: str, completions: Sequence[Completion]) -> Batch:
        """Take in what a worker has done and give it what to do next; an empty batch means nothing is ready yet."""
        if worker.startswith(SCORER):
            self._known_scorers.add(worker)
        for completion in completions:
            self.complete(worker, completion)
        self._admit()
        work = self._next_decode() if worker.startswith(DECODER) else self._next_for_scorer(worker)
        self._assigned[worker] = list(work)
        return Batch(
            work=tuple(work),
            retain=tuple(self._retain.pop(worker, ())),
            released=tuple(self._released.pop(worker, ())),
            is_finished=self.is_finished,
        )

    def lose_worker(self, worker: str) -> None:
        """A worker died: its videos, whose candidates or frames went with it, start over."""
        failure = Failure(failure_class=FailureClass.WORKER_LOST, message=f"{worker} died while it worked on the video")
        hit = {work.key.video_id for work in self._assigned.pop(worker, [])}
        hit |= {video.task.video_id for video in self._active.values() if worker in video.holder.values()}
        if worker.startswith(DECODER):  # frames it made may be gone
            hit |= {video.task.video_id for video in self._active.values() if video.bundles}
        self._known_scorers.discard(worker)
        for video_id in sorted(hit):
            if video_id in self._active:
                self._fail_video(self._active[video_id], failure)

    def complete(self, worker: str, completion: Completion) -> None:
        """Take in one result; results of an abandoned attempt are ignored."""
        video = self._active.get(completion.key.video_id)
        if video is None or video.attempt != completion.key.attempt:
            return
        result, index = completion.result, completion.key.index
        if completion.key.stage in ("answer", "gather"):
            question = video.questions[index]
            question.seconds = add_seconds(question.seconds, completion.seconds)
        else:
            video.seconds = add_seconds(video.seconds, completion.seconds)
        if isinstance(result, Failure):
            self._take_failure(video, completion, result)
        elif isinstance(result, ProbeDone):
            self._take_probe(video, result)
        elif isinstance(result, DecodeDone):
            self._take_decoded(video, int(completion.key.stage.removeprefix("decode-")), result)
        elif isinstance(result, ScoreDone):
            self._groups_scored += 1
            for retention in video.take_scores(index, result, worker=worker):
                self._retain.setdefault(video.holder[retention.position], []).append(retention)
            for holder, gather in video.start_answers():
                self._gathers.setdefault(holder, deque()).append(gather)
        elif isinstance(result, GatherDone):
            answer = video.take_gathered(index, result.pieces)
            if answer is not None:
                self._answers.append(answer)
        else:
            self._take_answer(video, index, result)

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
                return [ProbeWork(key=video.key("probe"), uri=video.task.uri)]
            if video.undecoded and video.needs_scores:
                return [video.undecoded.pop(0)]
        return []

    def _next_for_scorer(self, worker: str) -> list[Work]:
        gathers = self._gathers.pop(worker, deque())
        if gathers:
            return list(gathers)
        if self._answers:
            return [self._answers.popleft()]
        for video in self._active.values():
            score = video.next_score()
            if score is not None:
                return [score]
        return []

    def _take_probe(self, video: VideoState, done: ProbeDone) -> None:
        try:
            plan = plan_video(done.probe, layout=self._layout, selector=self._selector, config=self._config)
        except PipelineError as error:
            self._fail_video(video, error.to_failure())
            return
        video.start(plan)
        video.num_bad_frames += done.probe.num_missing_frames
        self._groups_planned += len(plan.groups)

    def _take_decoded(self, video: VideoState, pass_index: int, done: DecodeDone) -> None:
        video.take_decoded(pass_index, done)
        assert video.plan is not None
        try:
            check_bad_share(
                video.plan.probe,
                num_bad=video.num_bad_frames,
                num_wanted=video.plan.sample.num_frames,
                max_bad_frames_share=self._config.sampling.max_bad_frames_share,
            )
        except PipelineError as error:
            self._fail_video(video, error.to_failure())

    def _take_answer(self, video: VideoState, index: int, done: AnswerDone) -> None:
        question = video.questions[index]
        question.answer, question.phase = done, Phase.DONE
        self._questions_done += 1
        self._finish_if_over(video)

    def _take_failure(self, video: VideoState, completion: Completion, failure: Failure) -> None:
        is_final = not failure.is_retryable or video.attempt >= self._config.execution.max_attempts
        if completion.key.stage == "answer" and is_final:  # one question only
            question = video.questions[completion.key.index]
            question.failure, question.phase = failure, Phase.FAILED
            self._questions_done += 1
            self._finish_if_over(video)
        else:
            self._fail_video(video, failure)

    def _fail_video(self, video: VideoState, failure: Failure) -> None:
        """Start the video over if that can help, else fail what is not yet answered."""
        self._forget(video)
        if failure.is_retryable and video.attempt < self._config.execution.max_attempts:
            self._questions_done -= sum(question.is_over for question in video.questions)
            self._waiting.appendleft(video.task)
            return
        if not video.questions:
            video.start_empty()
        for question in video.questions:
            if not question.is_over:
                question.failure, question.phase = failure, Phase.FAILED
                self._questions_done += 1
        self._videos_done += 1
        self._finished.append(video)

    def _finish_if_over(self, video: VideoState) -> None:
        if video.is_over:
            self._forget(video)
            self._videos_done += 1
            self._finished.append(video)

    def _forget(self, video: VideoState) -> None:
        """Drop queued work and candidates of an attempt that has ended."""
        video_id = video.task.video_id
        del self._active[video_id]
        video.bundles.clear()
        self._answers = deque(work for work in self._answers if work.key.video_id != video_id)
        for worker in self._known_scorers:
            self._released.setdefault(worker, []).append(video_id)
            gathers = self._gathers.get(worker, deque())
            self._gathers[worker] = deque(work for work in gathers if work.key.video_id != video_id)
            kept = [r for r in self._retain.get(worker, []) if r.video_id != video_id]
            self._retain[worker] = kept

