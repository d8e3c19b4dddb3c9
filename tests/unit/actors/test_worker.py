"""The actor boundary: every kind of trouble becomes a record of the right class, and signals pass."""

import pickle

import pytest
import torch

from actors.worker import DecodeWorker, run_guarded
from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.work import Batch, Completion, ProbeWork
from pipeline.failures import Failure, FailureClass, PipelineError

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
