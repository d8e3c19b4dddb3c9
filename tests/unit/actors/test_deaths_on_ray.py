"""What Ray says of a process that is gone is a death, whatever made Ray end it; only what code has raised is a bug."""

from types import SimpleNamespace

import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    LocalRayletDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayTaskError,
    WorkerCrashedError,
)

from actors import ray_executor, store
from actors.store import RayStore
from actors.worker_pool import is_bug
from pipeline.engine.progress import Progress
from pipeline.failures import FailureClass, PipelineError

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
    pool = SimpleNamespace(start=lambda: None, stop=lambda: None)
    metrics = SimpleNamespace(note=lambda progress: None)
    monkeypatch.setattr(ray_executor, "WorkerPool", lambda job, options: pool)
    monkeypatch.setattr(ray_executor, "RunMetrics", lambda run_id: metrics)

    def run(*ends):
        left, num_served = list(ends), 0

        def serve_once(job, options, pool, metrics):
            nonlocal num_served
            num_served += 1
            yield PROGRESS
            if left:
                raise left.pop(0)

        monkeypatch.setattr(ray_executor, "_serve", serve_once)
        execution = SimpleNamespace(max_attempts=3)
        job = SimpleNamespace(config=SimpleNamespace(execution=execution), stamp=SimpleNamespace(run_id="r"))
        list(ray_executor.run_on_ray(job, None))
        return num_served

    return run


@pytest.mark.parametrize("error", GONE, ids=lambda error: type(error).__name__)
def test_a_coordinator_that_is_gone_is_replaced_whatever_took_it(error, serve):
    assert serve(error) == 2


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
