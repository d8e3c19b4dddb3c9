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

from actors import ray_executor, store
from actors.builders import Job
from actors.coordinator_service import JobStatus
from actors.shard import Shard, is_bug
from actors.store import RayStore
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
