"""Object stores and disks that hold less than was configured: what is in flight shrinks, and no question fails."""

import pytest

from pipeline.engine.frame_allowance import FrameAllowance
from pipeline.engine.messages.work import DecodeWork, GatherWork, ScoreWork
from pipeline.failures import Failure, FailureClass, StoreFullError
from tests.unit.engine.fakes import FRAME_BYTES, World, make_config, make_tasks, stable

FULL = StoreFullError("the store is full").to_failure()
GROUP_BYTES = 8 * FRAME_BYTES
VIDEO_BYTES = 100 * FRAME_BYTES


class FullWorld(World):
    """Frames of all videos share a store of ``store_bytes``; what exceeds it is refused, however often it is tried."""

    def __init__(self, *, store_bytes, num_videos=2, **options):
        self.store_bytes, self.num_refused, self.rooms = store_bytes, 0, []
        config = make_config(frame_buffer_bytes=100 * VIDEO_BYTES, videos_in_flight=2)
        super().__init__(config, make_tasks(num_videos), fail=self.refuse, **options)
        self._check_buffer = lambda: None  # more is reserved than there is: that is what this is about

    def refuse(self, worker, work):
        if not isinstance(work, DecodeWork) or self.state.holdings.frame_bytes <= self.store_bytes:
            return None
        self.num_refused += 1
        return FULL


def test_the_failure_of_a_full_store_says_so_and_survives_the_way_between_processes():
    import pickle

    again = pickle.loads(pickle.dumps(StoreFullError("full"))).to_failure()
    assert again == Failure(failure_class=FailureClass.WORKER_LOST, message="full", is_full=True)


@pytest.mark.parametrize("store_bytes", [2 * VIDEO_BYTES, VIDEO_BYTES, VIDEO_BYTES // 2, 2 * GROUP_BYTES])
def test_a_job_that_finds_the_store_full_reads_less_at_a_time_and_answers_the_same(store_bytes):
    full, roomy = FullWorld(store_bytes=store_bytes), FullWorld(store_bytes=10**9)
    rows, expected = full.run(), roomy.run()
    assert full.num_refused > 0 or store_bytes == 2 * VIDEO_BYTES
    assert roomy.num_refused == 0
    assert [(row.status, row.answer) for row in rows] == [(row.status, row.answer) for row in expected]
    assert {row.status for row in rows} == {"ok"}


def test_where_one_group_alone_finds_no_room_for_long_the_job_ends_and_nothing_has_failed():
    world = FullWorld(store_bytes=GROUP_BYTES // 2)
    while world.state.outage is None:
        assert world.now_s < 3_000.0
        for worker in sorted(world.doing):
            world.step(worker)
    assert world.now_s > world.config.reading.outage_s
    assert world.rows == []
    assert "one group's frames alone" in world.state.outage.message
    assert "the same command goes on" in world.state.outage.message


def test_room_that_comes_back_in_time_is_used():
    world = FullWorld(store_bytes=GROUP_BYTES // 2)
    while world.now_s < 300.0:
        for worker in sorted(world.doing):
            world.step(worker)
    world.store_bytes = 2 * GROUP_BYTES
    assert {row.status for row in world.run()} == {"ok"}
    assert world.state.outage is None


def test_tokens_that_find_no_room_wait_for_it_and_nothing_is_scored_again():
    """Each try takes a worker 20 s: with 50 of them the question failed."""
    refused = []

    def refuse(worker, work):
        if not isinstance(work, GatherWork) or len(refused) >= 60:
            return None
        refused.append(work)
        return FULL

    world, undisturbed = World(make_config(), make_tasks(2), fail=refuse), World(make_config(), make_tasks(2))
    rows = world.run()
    assert [stable(row) for row in rows] == [stable(row) for row in undisturbed.run()]
    assert len(refused) == 60
    assert num_scored(world) == num_scored(undisturbed)


def num_scored(world):
    return sum(isinstance(work, ScoreWork) for _, work in world.done)


def test_where_tokens_find_no_room_for_long_the_job_ends_and_nothing_has_failed():
    world = World(make_config(), make_tasks(1), fail=lambda _, work: FULL if isinstance(work, GatherWork) else None)
    while world.state.outage is None:
        assert world.now_s < 3_000.0
        for worker in sorted(world.doing):
            world.step(worker)
    assert world.now_s > world.config.reading.outage_s
    assert "bought for an answer has found no room" in world.state.outage.message
    assert world.rows == []


def test_several_workers_that_find_the_store_full_at_once_halve_the_room_once():
    room = FrameAllowance(num_bytes=64 * GROUP_BYTES, patience_s=600.0)
    for late_s in (0.0, 0.1, 5.0):
        room.note_full(FULL, held_bytes=16 * GROUP_BYTES, group_bytes=GROUP_BYTES, now_s=100.0 + late_s)
    assert room.num_bytes == 8 * GROUP_BYTES
