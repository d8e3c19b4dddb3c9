"""Who gets what: the next work of one worker that asks. Which video is begun, read and scored first is decided here."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from pipeline.engine.flow import Flow
from pipeline.engine.mailbox import Mailbox
from pipeline.engine.messages.keys import Role, Stage, WorkKey, role_of
from pipeline.engine.messages.work import Ahead, GatherWork, ScoreWork, Work
from pipeline.engine.one_video.planned import Planned
from pipeline.engine.one_video.video_state import VideoState
from pipeline.engine.outage import VIDEOS_IN_A_ROW, Outage
from pipeline.engine.policy import IDLE_WINDOW, groups_to_hand, speculation_window, wants_more_videos
from pipeline.method.selectors.base import Selector
from pipeline.planning.task_queue import TaskQueue
from pipeline.planning.tasks import VideoTask
from pipeline.settings.config import RunConfig


class Dispatcher:
    """Knows the videos that wait, those in flight, and which workers there are."""

    def __init__(self, tasks: Sequence[VideoTask], *, config: RunConfig, selector: Selector) -> None:
        self._config, self._selector = config, selector
        self.waiting = TaskQueue(tasks)
        self.flow = Flow(config.execution, outage_s=config.reading.outage_s)
        self.boxes: dict[str, Mailbox] = {}
        self._num_workers: Counter[Role] = Counter()
        self._num_begun = 0
        self.now_s = 0.0
        self.outage = Outage(patience_s=config.reading.outage_s)
        self.resting: dict[int, float] = {}  # videos that failed lately -> when they are due again
        self.with_mail: set[str] = set()  # workers that have gathers waiting
        self._decoding: dict[int, str] = {}  # videos of which no group is scored -> scorer that decodes already

    def box_of(self, worker: str) -> Mailbox:
        """A worker's mail; who asks for the first time is known from then on."""
        if worker not in self.boxes:
            self.boxes[worker] = Mailbox()
            self._num_workers[role_of(worker)] += 1
        return self.boxes[worker]

    def remove(self, worker: str) -> Mailbox | None:
        """A worker is gone; returns its mail."""
        box = self.boxes.pop(worker, None)
        self._decoding = {video_id: other for video_id, other in self._decoding.items() if other != worker}
        self.with_mail.discard(worker)
        self._num_workers[role_of(worker)] -= box is not None
        return box

    def tell_time(self, now_s: float) -> bool:
        """Returns whether a video is due again that has rested."""
        self.now_s = max(self.now_s, now_s)
        due = [video_id for video_id, until_s in self.resting.items() if until_s <= self.now_s]
        for video_id in due:
            del self.resting[video_id]
        return bool(due)

    def note_rest(self, video: VideoState) -> None:
        """After a failure: its video may have to wait."""
        until_s = max(video.faults.reading_rest.until_s, video.faults.model_rest.until_s)
        if until_s > self.now_s:
            self.resting[video.task.video_id] = until_s

    def post(self, worker: str, gather: GatherWork) -> None:
        """Only this worker can do it: it holds the tokens."""
        self.boxes[worker].gathers.append(gather)
        self.with_mail.add(worker)

    def next_work(self, worker: str) -> list[Work]:
        """What a worker does next, in order; it counts as assigned."""
        box, role = self.boxes[worker], role_of(worker)
        if role is Role.DECODER:
            work = [] if box.assigned else self._next_to_read(worker)
        elif role is Role.ANSWERER:
            work = [] if box.assigned else self._next_answer(worker)
        else:
            work = self._next_for_scorer(worker, box)
        if not box.gathers:
            self.with_mail.discard(worker)
        box.assigned.update(dict.fromkeys(piece.key for piece in work))
        return work

    def _next_to_read(self, worker: str) -> list[Work]:
        self._begin_videos()
        self.flow.start_readings()
        work = self._read(worker)
        if not work and self.flow.start_reading_ahead(None if not self.waiting else self._window()):
            work = self._read(worker)
        return work

    def _begin_videos(self) -> None:
        """Begin waiting videos as far as workers would starve otherwise; during an outage only as a try."""
        while self.waiting and (self.outage.may_try(self.now_s) if self.outage.is_on else self._wants_more()):
            self._num_begun += 1
            task = self.waiting.popleft()
            self.flow.file(VideoState(task=task, config=self._config, selector=self._selector, age=self._num_begun))

    def _wants_more(self) -> bool:
        execution, total = self._config.execution, self.flow.total
        num_resting = min(len(self.resting), VIDEOS_IN_A_ROW)  # others can be read meanwhile, or tell an outage
        return wants_more_videos(
            num_scoring=max(0, total.num_scoring - num_resting),
            videos_in_flight=execution.videos_in_flight,
            is_short_of_room=self.flow.is_short_of_room,
            num_unprobed=max(0, total.num_unprobed - num_resting),
            mean_groups=self.flow.mean_groups,
            num_queued=total.num_queued,
            num_decoders=self._num_workers[Role.DECODER],
            num_ready=total.num_certain,
            num_in_hand=self._num_workers[Role.SCORER] * execution.groups_per_call,
        )

    def _read(self, worker: str) -> list[Work]:
        for video in self.flow.videos_to_read():
            if not self._may_take(worker, video) or video.faults.reading_rest.until_s > self.now_s:
                continue
            planned = video.planned
            work = video.start_probe() if planned is None else planned.frames.hand_out(worker, video.make_key)
            self.flow.file(video)
            return [work] if work is not None else self._read(worker)
        return []

    def _next_for_scorer(self, worker: str, box: Mailbox) -> list[Work]:
        gathers = self._take_gathers(box)
        if gathers:
            return gathers
        stages = [key.stage for key in box.assigned]
        if Stage.ANSWER not in stages and self._may_answer():
            answers = self._next_answer(worker)
            if answers:
                return answers
        execution = self._config.execution
        num_ready = self.flow.total.num_ready if self._selector.can_stop else self.flow.total.num_certain
        room = execution.groups_per_call - stages.count(Stage.SCORE)
        most = groups_to_hand(num_ready=num_ready, num_scorers=self._num_workers[Role.SCORER], room=room)
        window, work = self._window(), list[ScoreWork]()
        while len(work) < most:
            found = self._find_to_score(worker, window)
            if found is None and not work and not box.assigned and self._selector.can_stop and window < IDLE_WINDOW:
                found, most = self._find_to_score(worker, IDLE_WINDOW), 1
            if found is None:
                break
            video, planned, end = found
            if video.faults.is_suspect and (work or box.assigned):
                break
            most = 1 if video.faults.is_suspect else most
            while len(work) < most and (position := self.flow.first_group(planned, video.age, end)) is not None:
                work.append(planned.next_score(position, worker=worker, make_key=video.make_key))
            self.flow.file(video)
        return list(work)

    def _find_to_score(self, worker: str, window: int) -> tuple[VideoState, Planned, int] | None:
        """The oldest video with a group for this scorer; where scorers decode, first one that no other has decoded."""
        wishes = (self._is_its_own, self._is_untouched) if self._config.sampling.decoder == "nvdec" else ()
        for is_wished in (*wishes, _is_any):
            found = self.flow.next_to_score(window, partial(self._may_score, worker, is_wished))
            if found is not None:
                return found
        return None

    def _may_score(self, worker: str, is_wished: Callable[[str, VideoState], bool], video: VideoState) -> bool:
        return is_wished(worker, video) and self._may_ask_model(worker, video)

    def _is_its_own(self, worker: str, video: VideoState) -> bool:
        is_others = self._decoding.get(video.task.video_id, worker) != worker
        return video.planned is not None and video.planned.round.scorers <= {worker} and not is_others

    def next_to_decode(self, worker: str) -> tuple[Ahead, ...]:
        """Where scorers decode, what this one can begin with while it scores: one video that is nobody's."""
        videos = self.flow.videos
        self._decoding = {
            i: other for i, other in self._decoding.items() if i in videos and self._is_untouched(other, videos[i])
        }
        if worker in self._decoding.values():
            return ()
        found = self.flow.next_to_score(
            0,
            lambda video: (
                self._may_ask_model(worker, video)
                and self._is_untouched(worker, video)
                and video.task.video_id not in self._decoding
                and not video.faults.is_suspect
            ),
        )
        if found is None:
            return ()
        video, planned, end = found
        position = self.flow.first_group(planned, video.age, end)
        assert position is not None
        self._decoding[video.task.video_id] = worker
        return (Ahead(video.task.video_id, position, planned.frames.refs_of(position)),)

    def _is_untouched(self, worker: str, video: VideoState) -> bool:
        return video.planned is not None and not video.planned.round.scorers

    def _take_gathers(self, box: Mailbox) -> list[Work]:
        """All that are still awaited; those of a suspect video one by one."""
        gathers = [work for work in box.take_gathers() if self._is_current(work.key)]
        if any(self.flow.videos[work.key.video_id].faults.is_suspect for work in gathers):
            box.gathers, gathers = gathers, []
            if not box.assigned:
                gathers = [box.gathers.pop(0)]
        return list(gathers)

    def _may_answer(self) -> bool:
        """Scorers run final passes where no answerer is, or where those fall behind."""
        return self.flow.num_to_answer > self._num_workers[Role.ANSWERER]

    def _is_current(self, key: WorkKey) -> bool:
        video = self.flow.videos.get(key.video_id)
        return video is not None and video.is_awaited(key)

    def _window(self) -> int:
        """Groups beyond those that a video needs in any case."""
        if not self._selector.can_stop:
            return 0
        num_waiting = 0 if self.flow.is_short_of_room else len(self.waiting)
        return speculation_window(
            num_videos=self.flow.total.num_scoring + num_waiting,
            num_scorers=self._num_workers[Role.SCORER],
            groups_in_hand=self._config.execution.groups_per_call,
        )

    def _next_answer(self, worker: str) -> list[Work]:
        for video, planned in self.flow.videos_to_answer():
            if self._may_ask_model(worker, video):
                work = planned.next_answer(video.make_key)
                self.flow.file(video)
                return [work]
        return []

    def _may_ask_model(self, worker: str, video: VideoState) -> bool:
        return self._may_take(worker, video) and video.faults.model_rest.until_s <= self.now_s

    def _may_take(self, worker: str, video: VideoState) -> bool:
        """Another worker tries again what failed, as long as there is another."""
        if worker not in video.faults.excluded:
            return True
        role = role_of(worker)
        num_excluded = sum(role_of(other) == role and other in self.boxes for other in video.faults.excluded)
        return num_excluded >= self._num_workers[role]


def _is_any(worker: str, video: VideoState) -> bool:
    return True
