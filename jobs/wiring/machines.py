"""The machines that a run or its plan is about: this one, a cluster that is there, or one that is described."""

import argparse
import os

import torch

from cluster.placement import ClusterSize, NodeSize, PlacementError
from pipeline.failures import PipelineError


def this_machine() -> ClusterSize:
    """What a Ray started here will find; asking torch reserves nothing on a GPU."""
    return ClusterSize(nodes=(NodeSize(num_cpus=os.cpu_count() or 1, num_gpus=torch.cuda.device_count()),))


def joins_cluster(address: str | None) -> bool:
    """Whether there is a Ray already that a run will connect to."""
    return address is not None or "RAY_ADDRESS" in os.environ or "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def machines_to_plan_for(options: argparse.Namespace) -> tuple[ClusterSize, str]:
    """Those that a run of these options would get, and how to call them; a running Ray is asked, nothing is started.

    Raises:
        PlacementError: The Ray that is named cannot be asked.
    """
    if options.cluster_shape is not None:
        return options.cluster_shape, "the cluster of --cluster-shape"
    if options.executor == "ray" and joins_cluster(options.address):
        from cluster.session import look_at_cluster

        try:
            return look_at_cluster(options.address), "the running cluster"
        except PipelineError as error:
            raise PlacementError(error.message) from error
    return this_machine(), "this machine"
