"""A job that needs GPUs starts on a cluster that has none yet, once the cluster has said how far it may grow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from ray._raylet import GcsClient
from ray.core.generated.autoscaler_pb2 import ClusterConfig

from cluster.placement import PlacementError
from cluster.session import cluster_size
from jobs.wiring.executors import place_workers

ANNOUNCE = Path(__file__).resolve().parents[2] / "cluster" / "announce_limits.sh"


@pytest.fixture
def announce():
    """Runs the script that the head of a growing cluster runs; afterwards the cluster is as before."""
    address = ray.get_runtime_context().gcs_address
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(*sizes):
        environment = os.environ | {"RAY_ADDRESS": address, "PATH": path}
        subprocess.run(
            ["bash", ANNOUNCE, *map(str, sizes)], env=environment, check=True, capture_output=True, timeout=120
        )

    yield run
    GcsClient(address=address).report_cluster_config(ClusterConfig().SerializeToString())


@pytest.mark.usefixtures("ray_cluster")
def test_a_cluster_that_may_grow_takes_a_job_that_it_cannot_hold_yet(make_job, announce):
    job = make_job("adapttoken", num_scorers=8, num_decoders=56, **{"execution.gpus_per_scorer": 1})
    with pytest.raises(PlacementError, match="need 1 GPUs, the cluster has 0; lower"):
        place_workers(job, cluster_size())
    announce(8, 16, 1)
    assert (cluster_size().max_cpus, cluster_size().max_gpus) == (128, 8)
    placement = place_workers(job, cluster_size())
    assert (len(placement.near_decoders), placement.gpus_per_model, placement.num_ready) == (8, 1, 0)
    assert sum(placement.near_decoders) + placement.num_far_decoders == 56
