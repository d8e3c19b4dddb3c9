"""Waiting for work, without Ray: calls wake when something has changed, and hanging readers are named."""

import asyncio

import pytest

from actors import coordinator_service
from actors.coordinator_service import CoordinatorService
from pipeline.engine.progress import Progress
from pipeline.engine.work import Batch, ProbeWork, WorkKey

WORK = Batch(work=(ProbeWork(key=WorkKey(video_id=0, attempt=1, stage="probe"), uri="v", fingerprint="f"),))


class Coordinator:
    """Hands a scorer its work only after a decoder has reported."""

    def __init__(self):
        self.has_report, self.lost, self.num_calls = False, [], 0

    def exchange(self, worker, completions):
        self.num_calls += 1
        self.has_report |= bool(completions)
        return WORK if self.has_report or worker == "reader" else Batch()

    def lose_worker(self, worker, failure):
        self.lost.append((worker, failure))
        self.has_report = True

    def take_outcomes(self):
        return []

    def progress(self):
        return Progress(
            num_videos=1,
            num_videos_done=0,
            num_questions=1,
            num_questions_done=0,
            num_groups_scored=0,
            num_groups_planned=0,
        )

    def is_finished(self):
        return False


@pytest.mark.parametrize("wake", ["completion", "loss"])
def test_a_waiting_call_wakes_when_another_worker_reports_or_is_lost(wake):
    async def scenario():
        service = CoordinatorService(Coordinator, decode_timeout_s=60)
        waiting = [asyncio.create_task(service.exchange(f"scorer-{i}", [])) for i in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        if wake == "completion":
            await service.exchange("decoder-0", ["done"])
        else:
            await service.lose_worker("decoder-0", None)
        return await asyncio.wait_for(asyncio.gather(*waiting), 1.0)

    assert asyncio.run(scenario()) == [WORK] * 3


def test_a_call_without_work_returns_empty_after_the_long_poll(monkeypatch):
    monkeypatch.setattr(coordinator_service, "_LONG_POLL_S", 0.01)
    service = CoordinatorService(Coordinator, decode_timeout_s=60)
    assert asyncio.run(service.exchange("scorer-0", [])) == Batch()


@pytest.mark.parametrize(("timeout_s", "overdue"), [(1e-9, ("reader",)), (60.0, ())])
def test_a_worker_that_reads_for_too_long_is_overdue_until_it_reports(timeout_s, overdue):
    async def scenario():
        service = CoordinatorService(Coordinator, decode_timeout_s=timeout_s)
        await service.exchange("reader", [])
        await asyncio.sleep(0.001)
        first = (await service.poll()).overdue
        await service.lose_worker("reader", None)
        return first, (await service.poll()).overdue

    assert asyncio.run(scenario()) == (overdue, ())
