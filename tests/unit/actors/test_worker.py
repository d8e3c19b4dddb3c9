"""The actor boundary: every kind of trouble becomes a record of the right class, and signals pass."""

import pickle

import pytest
import torch

from actors import pull_loop
from actors.pull_loop import Scorer
from actors.worker import DecodeWorker, ModelWorker, run_guarded
from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.work import Batch, Completion, GatherWork, ProbeWork, Retention
from pipeline.failures import DeviceLostError, Failure, FailureClass, PipelineError

WORK = ProbeWork(key=WorkKey(video_id=1, attempt=2, stage=Stage.PROBE), uri="v", fingerprint="f")


def raising(error):
    def run(work):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "failure_class", "message"),
    [
        (PipelineError(FailureClass.TRANSFER, "half a file"), "transfer", "half a file"),
        (PipelineError(FailureClass.CORRUPT_MEDIA, "bad"), "corrupt_media", "bad"),
        (MemoryError("host"), "out_of_memory", "probe: host"),
        (torch.OutOfMemoryError("device"), "out_of_memory", "probe: device"),
        (RuntimeError("kernel"), "internal", "probe: RuntimeError: kernel (run, line"),
        (KeyError("x"), "internal", "probe: KeyError: 'x' (run, line"),
        (AssertionError("invariant"), "internal", "probe: AssertionError: invariant (run, line"),
    ],
)
def test_an_error_becomes_a_failure_of_its_class(error, failure_class, message):
    completion = run_guarded(WORK, raising(error))
    assert completion.key == WORK.key
    assert isinstance(completion.result, Failure)
    assert completion.result.failure_class == failure_class
    assert completion.result.message.startswith(message)
    assert pickle.loads(pickle.dumps(completion)) == completion


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_signals_are_not_failures_of_the_work(signal):
    with pytest.raises(signal):
        run_guarded(WORK, raising(signal()))


def test_one_failure_does_not_keep_a_worker_from_the_rest_of_its_batch():
    class Decoder:
        def probe(self, work):
            if work.uri == "bad":
                raise ValueError("poison")
            return Completion(key=work.key, result=work.uri)

        def abort(self):
            raise AssertionError("nothing was cancelled")

    worker = DecodeWorker(Decoder)
    works = tuple(ProbeWork(key=WORK.key, uri=uri, fingerprint="f") for uri in ("bad", "good"))
    bad, good = worker.run_batch(Batch(work=works))
    assert (bad.result.failure_class, good.result) == ("internal", "good")


ILLEGAL = RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be …")
LOST = [
    ILLEGAL,
    torch.AcceleratorError("device-side assert triggered"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
]


def wrapping(error):
    def run(work):
        try:
            raise error
        except RuntimeError as cause:
            raise PipelineError(FailureClass.MODEL, "cannot be loaded") from cause

    return run


@pytest.mark.parametrize("error", LOST)
@pytest.mark.parametrize("how", [raising, wrapping])
def test_a_broken_cuda_context_is_no_failure_of_the_work_but_the_end_of_its_process(error, how):
    with pytest.raises(DeviceLostError, match="a worker lost its GPU") as caught:
        run_guarded(WORK, how(error))
    assert caught.value.failure_class is FailureClass.WORKER_LOST
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message
    assert "\n" not in caught.value.message


class BrokenScorer:
    can_queue = True

    def gather(self, work):
        raise ILLEGAL

    def retain(self, retention):
        raise ILLEGAL

    def expect(self, works, ahead):
        assert (works, ahead) == ([], ())

    def close(self):
        pass


GATHER = Batch(work=(GatherWork(key=WORK.key, bought={0: 1}),))
RETAIN = Batch(retain=(Retention(video_id=1, attempt=1, question=0, limits={0: 1}),))


@pytest.mark.parametrize("batch", [GATHER, RETAIN], ids=["work", "dropping"])
def test_a_worker_whose_gpu_is_lost_leaves_its_loop_and_says_why(monkeypatch, batch):
    class Exchange:
        def remote(self, name, completions):
            assert completions == []
            return batch

    class Coordinator:
        exchange = Exchange()

    monkeypatch.setattr(pull_loop.ray, "get", lambda reply: reply)
    loop = Scorer(lambda: ModelWorker(lambda: (BrokenScorer(), None), ways={"fusion": "off"}))
    assert loop.load() == {"fusion": "off"}
    failure = loop.run("scorer-0", Coordinator())
    assert failure.failure_class is FailureClass.WORKER_LOST
    assert "an illegal memory access was encountered" in failure.message
