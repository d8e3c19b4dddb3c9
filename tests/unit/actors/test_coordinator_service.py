"""Waiting for work, without Ray: calls wake when something has changed, and hanging readers are named."""

import asyncio

import pytest

from actors import coordinator_service
from actors.coordinator_service import CoordinatorService
from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.messages.work import Batch, Cancelled, Completion, ProbeWork
from pipeline.engine.progress import Progress

DONE = Completion(
    key=WorkKey(video_id=0, attempt=1, stage=Stage.SCORE), result=Cancelled(), seconds=StageSeconds(score_s=0.5)
)
WORK = Batch(work=(ProbeWork(key=WorkKey(video_id=0, attempt=1, stage=Stage.PROBE), uri="v", fingerprint="f"),))


PATIENCE_S = {"decoder": 60.0, "scorer": 60.0}


class State:
    """Hands a scorer its work only after a decoder has reported."""

    def __init__(self):
        self.has_report, self.lost, self.num_calls = False, [], 0

    def exchange(self, worker, completions):
        self.num_calls += 1
        self.has_report |= bool(completions)
        return WORK if self.has_report or worker == "decoder-9" else Batch()

    @property
    def with_mail(self):
        return set()

    def tell_time(self, now_s):
        return False

    @property
    def outage(self):
        return None

    def lose_worker(self, worker, failure):
        self.lost.append((worker, failure))
        self.has_report = True

    def take_finished(self):
        return []

    def take_cancelled(self):
        return {"scorer-0": (WORK.work[0].key,)}

    @property
    def progress(self):
        return Progress(
            num_videos=1,
            num_videos_done=0,
            num_questions=1,
            num_questions_done=0,
            num_groups_scored=0,
            num_groups_planned=0,
        )

    @property
    def is_finished(self):
        return False


@pytest.mark.parametrize("wake", ["completion", "loss"])
def test_a_waiting_call_wakes_when_another_worker_reports_or_is_lost(wake):
    async def scenario():
        service = CoordinatorService(State, stamp=None, patience_s=PATIENCE_S)
        waiting = [asyncio.create_task(service.exchange(f"scorer-{i}", [])) for i in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        if wake == "completion":
            await service.exchange("decoder-0", [DONE])
        else:
            await service.lose_worker("decoder-0", None)
        return await asyncio.wait_for(asyncio.gather(*waiting), 1.0)

    assert asyncio.run(scenario()) == [WORK] * 3


def test_after_many_reports_a_role_is_asked_once_and_no_further_when_it_gets_nothing():
    class Busy(State):
        def exchange(self, worker, completions):
            super().exchange(worker, completions)
            return WORK if worker == "scorer-0" else Batch()

    async def scenario():
        service = CoordinatorService(Busy, stamp=None, patience_s=PATIENCE_S)
        waiting = [asyncio.create_task(service.exchange(f"decoder-{i}", [])) for i in range(50)]
        await asyncio.sleep(0)
        for _ in range(100):
            await service.exchange("scorer-0", [DONE])
        await asyncio.sleep(0.1)
        for task in waiting:
            task.cancel()
        return service._state.num_calls

    assert asyncio.run(scenario()) == 50 + 100 + 1


def test_who_alone_can_do_something_is_asked_though_others_of_its_role_get_nothing():
    class Mail(State):
        def exchange(self, worker, completions):
            self.has_report |= bool(completions)
            return WORK if worker == "decoder-0" or (self.has_report and worker == "scorer-2") else Batch()

        @property
        def with_mail(self):
            return {"scorer-2"} if self.has_report else set()

    async def scenario():
        service = CoordinatorService(Mail, stamp=None, patience_s=PATIENCE_S)
        waiting = [asyncio.create_task(service.exchange(f"scorer-{i}", [])) for i in range(4)]
        await asyncio.sleep(0)
        await service.exchange("decoder-0", [DONE])
        done, others = await asyncio.wait(waiting, timeout=0.1)
        for task in others:
            task.cancel()
        return [waiting.index(task) for task in done], [task.result() for task in done]

    assert asyncio.run(scenario()) == ([2], [WORK])


def test_a_call_without_work_returns_empty_after_the_long_poll(monkeypatch):
    monkeypatch.setattr(coordinator_service, "long_poll_s", lambda num_waiting: 0.01)
    service = CoordinatorService(State, stamp=None, patience_s=PATIENCE_S)
    assert asyncio.run(service.exchange("scorer-0", [])) == Batch()


def test_a_worker_that_holds_work_back_is_answered_at_once_and_may_be_overdue():
    class Once(State):
        def exchange(self, worker, completions):
            self.num_calls += 1
            return WORK if self.num_calls == 1 else Batch()

    async def scenario():
        service = CoordinatorService(Once, stamp=None, patience_s={"scorer": 1e-9})
        assert await service.exchange("scorer-0", []) == WORK
        assert await asyncio.wait_for(service.exchange("scorer-0", []), 0.5) == Batch()
        await asyncio.sleep(0.001)
        assert [overdue.worker for overdue in (await service.poll()).overdue] == ["scorer-0"]
        waiting = asyncio.create_task(service.exchange("scorer-0", [DONE]))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert (await service.poll()).overdue == ()
        waiting.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("worker", "timeout_s", "overdue"),
    [("decoder-1", 1e-9, ["decoder-1"]), ("decoder-1", 60.0, []), ("scorer-1", 1e-9, ["scorer-1"])],
)
def test_a_worker_that_takes_longer_than_its_role_may_is_overdue_until_it_is_lost(worker, timeout_s, overdue):
    async def scenario():
        patience_s = PATIENCE_S | {worker.partition("-")[0]: timeout_s}
        service = CoordinatorService(State, stamp=None, patience_s=patience_s)
        await service.exchange("decoder-0", [DONE])
        await service.lose_worker("decoder-0", None)
        await service.exchange(worker, [])
        await asyncio.sleep(0.001)
        first = [overdue.worker for overdue in (await service.poll()).overdue]
        await service.lose_worker(worker, None)
        return first, (await service.poll()).overdue

    assert asyncio.run(scenario()) == (overdue, ())


def test_a_worker_that_waits_for_work_is_never_overdue(monkeypatch):
    monkeypatch.setattr(coordinator_service, "long_poll_s", lambda num_waiting: 0.001)

    async def scenario():
        service = CoordinatorService(State, stamp=None, patience_s={"scorer": 1e-9})
        await service.exchange("scorer-0", [])
        return await service.poll()

    assert asyncio.run(scenario()).overdue == ()


def test_a_waiting_call_wakes_when_the_driver_asks_after_a_pause_has_passed():
    class Resting(State):
        is_due = False

        def tell_time(self, now_s):
            return self.is_due

        def exchange(self, worker, completions):
            return WORK if self.is_due else Batch()

    async def scenario():
        service = CoordinatorService(Resting, stamp=None, patience_s=PATIENCE_S)
        waiting = asyncio.create_task(service.exchange("decoder-0", []))
        await asyncio.sleep(0)
        service._state.is_due = True
        await service.poll()
        return await asyncio.wait_for(waiting, 1.0)

    assert asyncio.run(scenario()) == WORK


def test_the_driver_learns_what_nobody_needs_any_more():
    async def scenario():
        return await CoordinatorService(State, stamp=None, patience_s=PATIENCE_S).poll()

    assert asyncio.run(scenario()).cancelled == {"scorer-0": (WORK.work[0].key,)}


def test_the_driver_learns_once_what_each_piece_of_work_took():
    async def scenario():
        service = CoordinatorService(State, stamp=None, patience_s=PATIENCE_S)
        await service.exchange("decoder-0", [DONE, DONE])
        return [(await service.poll()).spent for _ in range(2)]

    assert asyncio.run(scenario()) == [(DONE.seconds, DONE.seconds), ()]
