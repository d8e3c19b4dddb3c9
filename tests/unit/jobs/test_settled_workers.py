"""A job on machines with GPUs: what it takes stands in its settings before any worker starts, and in the log."""

import logging
from types import SimpleNamespace

import pytest
import torch

from cluster.placement import ClusterSize, NodeSize, PlacementError
from jobs.wiring.executors import MOST_ON_CPU, refuse_slow, settle_config
from jobs.wiring.logs import LOG
from pipeline.settings.config import LEAST_FRAME_BUFFER_BYTES, ExecutionConfig, RunConfig, SamplingConfig

FOUR_GPUS = ClusterSize(nodes=(NodeSize(num_cpus=16, num_gpus=4),))


@pytest.fixture(autouse=True)
def torch_with_cuda(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(LOG, "propagate", True)


def test_a_run_takes_the_gpus_and_says_so(caplog):
    with caplog.at_level(logging.INFO, logger=LOG.name):
        execution = settle_config(RunConfig(), FOUR_GPUS).execution
    assert (execution.num_scorers, execution.gpus_per_scorer) == (4, 1.0)
    assert "4 GPUs; 4 scorers with 1 GPU each" in caplog.text


def test_one_process_takes_one_of_them():
    execution = settle_config(RunConfig(), FOUR_GPUS, most_scorers=1).execution
    assert (execution.num_scorers, execution.gpus_per_scorer) == (1, 1.0)


def test_the_cpu_is_asked_for_with_0():
    config = RunConfig(execution=ExecutionConfig(gpus_per_scorer=0.0))
    assert settle_config(config, FOUR_GPUS).execution.gpus_per_scorer == 0


@pytest.mark.parametrize(
    ("gpus", "is_told_cpu", "num_parameters", "is_refused"),
    [
        (0.0, False, 8 * MOST_ON_CPU, True),
        (0.0, True, 8 * MOST_ON_CPU, False),
        (1.0, False, 8 * MOST_ON_CPU, False),
        (0.0, False, MOST_ON_CPU, False),
        (0.0, False, 0, False),  # nobody has counted
    ],
)
def test_no_large_model_runs_on_the_cpu_unless_somebody_says_so(gpus, is_told_cpu, num_parameters, is_refused):
    config = RunConfig(execution=ExecutionConfig(gpus_per_scorer=gpus))
    job = SimpleNamespace(config=config, is_told_cpu=is_told_cpu, num_parameters=num_parameters)
    if not is_refused:
        refuse_slow(job)
        return
    with pytest.raises(PlacementError, match=r"8\.0 billion parameters.*--set gpus_per_scorer=0") as raised:
        refuse_slow(job)
    assert "\n" not in str(raised.value)


def test_frames_that_stay_on_a_gpu_do_not_take_the_room_of_the_object_stores():
    stores = ClusterSize(nodes=(NodeSize(num_cpus=64, num_gpus=4, store_bytes=600 * 1024**3),))
    on_device = RunConfig(sampling=SamplingConfig(decoder="nvdec"))
    assert settle_config(on_device, stores).execution.frame_buffer_bytes == LEAST_FRAME_BUFFER_BYTES
    assert settle_config(RunConfig(), stores).execution.frame_buffer_bytes == 300 * 1024**3
