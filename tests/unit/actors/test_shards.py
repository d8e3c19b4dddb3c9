"""A job of several coordinators: what its parts plan, what the driver counts, and whom it ends."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from ray.exceptions import RayTaskError

from actors import ray_executor, worker_pool
from actors import shard as shard_module
from actors.builders import Job, build_decode_worker
from actors.coordinator_service import JobStatus
from actors.local_store import LocalStore
from actors.shard import Shard
from actors.worker_pool import ActorOptions, WorkerPool, _Stage, _Worker
from pipeline.engine.patience import Overdue
from pipeline.engine.progress import Progress
from pipeline.engine.sharding import shard_config
from pipeline.failures import FailureClass, PipelineError
from tests.unit.engine.fakes import FakeLayout, World, make_config, make_probe, make_tasks

FRAME_BYTES = 28 * 28 * 3
GROUP_FRAMES, NUM_FRAMES = 8, 100


def make_job(*, num_videos=2, num_shards=1, **execution) -> Job:
    tasks = tuple(make_tasks(num_videos))
    return Job(
        tasks=tasks,
        num_videos=num_videos,
        config=make_config(**execution),
        layout=FakeLayout(),
        tokenizer=None,
        stamp=SimpleNamespace(run_id="r"),
        load_model=None,
        num_shards=num_shards,
    )


def plan_of(job: Job, probe):
    worker = build_decode_worker(job, LocalStore(memory_bytes=2**20))
    try:
        return worker._decoder._plan(probe)
    finally:
        worker.close()


@pytest.mark.parametrize(
    "buffer_bytes",
    [
        pytest.param(NUM_FRAMES * FRAME_BYTES, id="the video fits the job's room, and no shard's"),
        pytest.param(int(1.5 * GROUP_FRAMES * FRAME_BYTES), id="one group fits the job's room, and no shard's"),
    ],
)
def test_a_shard_never_waits_for_more_room_than_it_has(buffer_bytes):
    job = make_job(num_shards=2, frame_buffer_bytes=buffer_bytes)
    world = World(shard_config(job.config, 2), make_tasks(2), plan=lambda probe: plan_of(job, probe))
    if buffer_bytes < 2 * GROUP_FRAMES * FRAME_BYTES:
        world._check_buffer = lambda: None  # one group may be larger than a shard's part
    assert {row.status for row in world.run()} == {"ok"}


def test_what_is_too_large_does_not_depend_on_the_number_of_shards():
    probe, fits = make_probe(NUM_FRAMES), GROUP_FRAMES * FRAME_BYTES
    for num_shards in (1, 2, 16):
        plan_of(make_job(num_shards=num_shards, frame_buffer_bytes=fits), probe)
        with pytest.raises(PipelineError) as refused:
            plan_of(make_job(num_shards=num_shards, frame_buffer_bytes=fits - 1), probe)
        assert refused.value.failure_class is FailureClass.TOO_LARGE


def test_a_video_is_cut_for_the_decoders_of_one_shard():
    """A piece is a reference in each group: 64 decoders in all would cost each of 8 coordinators what 64 cost one."""
    probe = make_probe(1_000)
    (whole,) = plan_of(make_job(num_videos=1_000, num_decoders=64, num_scorers=64), probe).passes
    job = make_job(num_videos=1_000, num_shards=8, num_decoders=512, num_scorers=512)
    (part,) = plan_of(job, probe).passes
    assert len(part.stretches) == len(whole.stretches)


PENDING, HEARD, BUG = "pending", "heard", "bug"


@pytest.fixture
def make_shard(monkeypatch):
    """A shard whose coordinator answers ``poll`` at once; what it is told ends as its method's name says."""
    status = JobStatus(
        outcomes=(),
        progress=Progress.of_nothing(num_videos=2, num_questions=4),
        is_finished=False,
        overdue=(),
        cancelled={},
    )

    def wait(refs, num_returns=1, timeout=None):
        assert timeout == 0, "the driver waits for nobody"
        ready = [ref for ref in refs if ref != PENDING]
        return ready, [ref for ref in refs if ref == PENDING]

    def get(ref, timeout=None):
        if isinstance(ref, list):
            return [get(one) for one in ref]
        assert ref != PENDING, "the driver waits for nobody"
        if ref == BUG:
            raise RayTaskError("expect", "Traceback", KeyError("a")).as_instanceof_cause()
        return ref

    monkeypatch.setattr(shard_module.ray, "wait", wait)
    monkeypatch.setattr(shard_module.ray, "get", get)

    def make(told):
        made = Shard(make_job(), {})
        call = SimpleNamespace(remote=lambda *given: told[0])
        made.coordinator = SimpleNamespace(
            poll=SimpleNamespace(remote=lambda: status), expect=call, lose_worker=call, told=told
        )
        return made

    return make


def test_the_driver_does_not_wait_until_a_coordinator_has_heard_what_it_was_told(make_shard):
    told = [PENDING]
    shard = make_shard(told)
    shard.ask()
    shard.expect(["scorer-0"])
    assert shard.hear() is not None
    shard.ask()
    assert shard.hear() is not None


def test_a_bug_in_what_a_coordinator_was_told_is_not_lost_though_others_are_pending(make_shard):
    told = [PENDING]
    shard = make_shard(told)
    shard.ask()
    shard.expect(["scorer-0"])
    told[0] = BUG
    shard.lose_worker("scorer-0", None)
    with pytest.raises(RayTaskError):
        shard.hear()


def test_progress_of_a_shard_that_has_not_answered_yet_is_what_it_has_to_do():
    shards = [Shard(make_job(num_videos=6).every(2, start=start), {}) for start in (0, 1)]
    whole = shards[0].progress + shards[1].progress
    assert (whole.num_videos, whole.num_questions, whole.num_videos_done) == (6, 12, 0)


def make_pool(shards, served):
    """Workers of a pool that serve shards; no process is behind them."""
    pool = WorkerPool(make_job(), ActorOptions(scorer=({},) * len(served)))
    for place, (name, shard) in zip(pool._places, served.items(), strict=False):
        stage = _Stage.READY if shard is None else _Stage.RUNNING
        actor = SimpleNamespace(cancelled=[])
        pool._workers[name] = _Worker(place=place, name=name, actor=actor, shard=shard, stage=stage)
    pool._shards = shards
    return pool


def test_a_worker_that_has_served_two_shards_counts_once():
    shards = [Shard(make_job(), {}, index=index) for index in (0, 1)]
    shards[0].is_finished = True
    shards[0].progress = replace(shards[0].progress, num_scorers=2)
    pool = make_pool(shards, {"scorer-0": shards[1], "scorer-1": shards[1], "scorer-2": None})
    whole = (shards[0].progress + replace(shards[1].progress, num_scorers=2)).served_by(pool.count_serving())
    assert (whole.num_scorers, whole.num_answerers, whole.num_decoders) == (2, 0, 0)


def test_a_shard_cannot_end_or_disturb_a_worker_that_has_gone_on_to_another():
    shards = [Shard(make_job(), {}, index=index) for index in (0, 1)]
    pool = make_pool(shards, {"scorer-0": shards[1]})
    killed, cancelled = [], []
    pool.kill = lambda name, failure: killed.append(name)
    pool.cancel = cancelled.append
    overdue = Overdue(worker="scorer-0", held=0, limit_s=30.0, is_setting=False)
    status = JobStatus(
        outcomes=(),
        progress=shards[0].progress,
        is_finished=False,
        overdue=(overdue,),
        cancelled={"scorer-0": ("key",)},
    )
    metrics = SimpleNamespace(observe_seconds=lambda pieces: None)
    list(ray_executor._take_in(shards[0], status, pool, metrics))
    assert (killed, cancelled) == ([], [{}])
    list(ray_executor._take_in(shards[1], status, pool, metrics))
    assert (killed, cancelled[1:]) == (["scorer-0"], [{"scorer-0": ("key",)}])


def test_workers_of_a_shard_that_has_ended_are_dealt_evenly_to_those_that_go_on():
    shards = [Shard(make_job(num_videos=4), {}, index=index) for index in range(3)]
    shards[0].is_finished = True
    told = {1: [], 2: []}
    for index, names in told.items():
        shards[index].coordinator, shards[index].expect = f"coordinator {index}", names.extend
    pool = make_pool(shards, {f"scorer-{number}": None for number in range(4)})
    pool._num_places["scorer"] = 12  # these four are at home in the first
    runs = []
    for worker in pool._workers.values():
        worker.actor = SimpleNamespace(run=SimpleNamespace(remote=lambda *given: runs.append(given)))
    pool._run_ready()
    assert sorted(map(len, told.values())) == [2, 2]
    assert sorted(runs) == sorted((name, f"coordinator {index}") for index, names in told.items() for name in names)
    assert pool.count_serving()["scorer"] == 4


def test_a_job_with_fewer_videos_than_coordinators_gets_one_for_each_video_and_none_for_no_video():
    asked = {"num_scorers": 8, "num_decoders": 8, "num_coordinators": 8}
    for num_videos, expected in ((0, [0]), (1, [1]), (3, [1, 1, 1]), (17, [3, 2, 2, 2, 2, 2, 2, 2])):
        shards = ray_executor._split(make_job(num_videos=num_videos, **asked), {})
        assert [shard.num_videos_left for shard in shards] == expected
        assert [shard.is_finished for shard in shards] == [not num for num in expected]


def test_a_coordinator_that_dies_after_its_last_video_is_followed_by_one_that_has_nothing_to_do():
    job = make_job(num_videos=3)
    left = job.without({0, 1, 2})
    world = World(job.config, left.tasks)
    assert (world.run(), world.state.is_finished, world.state.progress.num_videos) == ([], True, 0)


@pytest.mark.parametrize("is_finished", [False, True], ids=["its coordinator was replaced", "its shard has ended"])
def test_a_worker_that_is_stuck_in_work_nobody_waits_for_is_ended_at_last(is_finished, monkeypatch):
    now_s, killed = [0.0], []
    monkeypatch.setattr(worker_pool.time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(worker_pool.ray, "kill", killed.append)
    shard = Shard(make_job(), {})
    shard.coordinator = "first"
    pool = make_pool([shard], {"scorer-0": shard, "scorer-1": None})
    pool._num_at = lambda *given: 1  # there are enough
    stuck = pool._workers["scorer-0"]
    stuck.asks = "first"
    pool._check_deadlines()
    shard.is_finished, shard.coordinator = is_finished, "first" if is_finished else "second"
    for now_s[0] in (100_000.0, 100_000.0 + pool._execution.score_timeout_s):
        pool._check_deadlines()
    assert killed == []
    now_s[0] += 1
    pool._check_deadlines()
    assert killed == [stuck.actor]
