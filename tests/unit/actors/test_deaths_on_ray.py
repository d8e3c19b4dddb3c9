"""What Ray says of a process that is gone is a death, whatever made Ray end it; only what code has raised is a bug."""

from types import SimpleNamespace

import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    LocalRayletDiedError,
    NodeDiedError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayTaskError,
    WorkerCrashedError,
)

from actors import ray_executor, shard, store, worker_pool
from actors.builders import Job
from actors.coordinator_service import JobStatus
from actors.shard import Shard, is_bug
from actors.store import RayStore
from actors.worker_pool import ActorOptions, WorkerPool
from pipeline.engine.one_video import tries
from pipeline.engine.progress import Progress
from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.config import ExecutionConfig, RunConfig

GONE = [
    OutOfMemoryError("the node ran low on memory"),
    ActorDiedError(),
    ActorUnavailableError("out of reach", None),
    WorkerCrashedError(),
    NodeDiedError("the node died"),
    LocalRayletDiedError(),
    GetTimeoutError("no answer"),
]
PROGRESS = Progress(
    num_videos=1, num_videos_done=0, num_questions=1, num_questions_done=0, num_groups_scored=0, num_groups_planned=0
)


def raised_by_code(cause):
    return RayTaskError("f", "Traceback", cause).as_instanceof_cause()


@pytest.fixture
def serve(monkeypatch):
    """``run_on_ray`` without Ray: the first coordinators end as told, the next one finishes; returns how many ran."""
    pool = SimpleNamespace(**dict.fromkeys(("start", "stop", "renew_patience"), lambda: None))
    pool.serve = pool.tick = pool.cancel = lambda given: None
    pool.count_serving = dict
    metrics = SimpleNamespace(note=lambda progress: None, observe_seconds=lambda pieces: None)
    monkeypatch.setattr(ray_executor, "WorkerPool", lambda job, options, on_ready: pool)
    monkeypatch.setattr(ray_executor, "RunMetrics", lambda run_id: metrics)
    monkeypatch.setattr(ray_executor.ray, "wait", lambda calls, num_returns, timeout: (calls, []))
    monkeypatch.setattr(tries, "FIRST_REST_S", 0.0)

    def run(*ends):
        left, started = list(ends), []

        class LocalShard(Shard):
            def start(self):
                started.append(self.index)

            def stop(self):
                pass

            def ask(self):
                return "question"

            def hear(self):
                if left:
                    raise left.pop(0)
                self.progress, self.is_finished = PROGRESS, True
                return JobStatus(outcomes=(), progress=PROGRESS, is_finished=True, overdue=(), cancelled={})

        monkeypatch.setattr(ray_executor, "Shard", LocalShard)
        config = RunConfig(execution=ExecutionConfig(max_attempts=3))
        task = SimpleNamespace(video_id=0, questions=())
        job = Job(
            tasks=(task,),
            num_videos=1,
            config=config,
            layout=None,
            tokenizer=None,
            stamp=SimpleNamespace(run_id="r"),
            load_model=None,
        )
        list(ray_executor.run_on_ray(job, SimpleNamespace(coordinator={})))
        return len(started)

    return run


@pytest.mark.parametrize("error", GONE, ids=lambda error: type(error).__name__)
def test_a_coordinator_that_is_gone_is_replaced_whatever_took_it(error, serve):
    assert serve(error) == 2


def test_a_coordinator_that_keeps_dying_ends_the_job_after_its_attempts(serve):
    assert serve(*GONE[:2]) == 3
    with pytest.raises(PipelineError, match="the coordinator keeps dying"):
        serve(*GONE[:3])


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so, for the pool and for shards."""
    told = SimpleNamespace(now_s=100.0)
    told.monotonic, told.sleep = lambda: told.now_s, lambda pause_s: None
    for module in (shard, worker_pool):
        monkeypatch.setattr(module, "time", told)
    return told


def job_of(**execution):
    config = RunConfig(execution=ExecutionConfig(**execution))
    stamp = SimpleNamespace(run_id="r")
    task = SimpleNamespace(video_id=0, questions=())
    return Job(tasks=(task,), num_videos=1, config=config, layout=None, tokenizer=None, stamp=stamp, load_model=None)


def test_who_was_ended_for_want_of_memory_is_replaced_after_a_rest_that_grows_and_others_at_once(clock, monkeypatch):
    spawned = []

    class Pool(WorkerPool):
        def _spawn(self, place):
            name = self._new_name(place.role)
            self._workers[name] = worker_pool._Worker(place=place, name=name, actor="actor")
            spawned.append(name)
            return name

    monkeypatch.setattr(worker_pool.ray, "kill", lambda actor: None)
    pool = Pool(job_of(max_attempts=6), ActorOptions())
    pool.start()

    def end_both(error):
        for worker in [*pool._workers.values()]:
            pool._replace(worker, error)
        spawned.clear()

    end_both(ActorDiedError())
    assert len(pool._workers) == 2
    for rest_s in (1.0, 2.0, 4.0, 8.0, 16.0):  # 31 s on 10 of 14 deaths, without a rest they are over in half a minute
        end_both(OutOfMemoryError("low on memory"))
        clock.now_s += rest_s - 0.1
        pool.tick(0.0)
        assert spawned == []
        clock.now_s += 0.2
        pool.tick(0.0)
        assert sorted(name.split("-")[0] for name in spawned) == ["decoder", "scorer"]
    pool.renew_patience()
    end_both(OutOfMemoryError("low on memory"))
    clock.now_s += 1.1
    pool.tick(0.0)
    assert len(spawned) == 2


def test_a_coordinator_that_was_ended_for_want_of_memory_is_replaced_after_a_rest(clock, monkeypatch):
    started = []

    class LocalShard(Shard):
        def start(self):
            started.append(clock.now_s)
            self.coordinator = "coordinator"

    monkeypatch.setattr(shard.ray, "kill", lambda actor: None)
    one = LocalShard(job_of(), {})
    one.start()
    one.replace(ActorDiedError())
    assert started == [100.0, 100.0]
    one.replace(OutOfMemoryError("low on memory"))
    assert not one.has_coordinator()
    one.lose_worker("scorer-0", None)  # nobody is there to be told
    clock.now_s = 101.1
    assert one.has_coordinator()
    assert started[2:] == [101.1]


def test_a_bug_of_the_coordinator_ends_the_job(serve):
    with pytest.raises(PipelineError, match="the coordinator came upon a bug") as caught:
        serve(raised_by_code(KeyError("a")))
    assert caught.value.failure_class is FailureClass.INTERNAL


@pytest.mark.parametrize("error", GONE, ids=lambda error: type(error).__name__)
def test_a_call_that_met_a_process_that_is_gone_is_no_bug(error):
    assert not is_bug(error)
    assert not is_bug(raised_by_code(error))


def test_what_code_has_raised_is_a_bug_also_where_it_was_raised_elsewhere():
    assert is_bug(raised_by_code(KeyError("a")))
    assert is_bug(raised_by_code(raised_by_code(KeyError("a"))))


@pytest.mark.parametrize("error", [OutOfMemoryError("low on memory"), LocalRayletDiedError(), ActorDiedError()])
def test_an_object_that_went_with_a_process_is_made_again(error, monkeypatch):
    def get(ref, timeout):
        raise error

    monkeypatch.setattr(store.ray, "get", get)
    with pytest.raises(PipelineError) as caught:
        RayStore().get(["ref"])
    assert caught.value.failure_class is FailureClass.WORKER_LOST


@pytest.mark.parametrize("full", [ObjectStoreFullError("full"), OutOfDiskError("full")])
def test_a_full_store_is_waited_for_and_what_stays_full_is_nobodys_fault(full, monkeypatch):
    clock, refusals = SimpleNamespace(now_s=0.0), [full] * 3

    def put(value):
        if refusals:
            raise refusals.pop()
        return f"ref of {value}"

    monkeypatch.setattr(store.ray, "put", put)
    monkeypatch.setattr(store.time, "monotonic", lambda: clock.now_s)
    monkeypatch.setattr(store.time, "sleep", lambda pause_s: setattr(clock, "now_s", clock.now_s + pause_s))
    assert RayStore().put("frames") == ["ref of frames"]
    refusals += [full] * 100
    with pytest.raises(PipelineError, match="full for 20 s; make room in Ray's temporary folder, or lower") as raised:
        RayStore().put("frames")
    assert raised.value.failure_class is FailureClass.WORKER_LOST
    assert clock.now_s < 30
