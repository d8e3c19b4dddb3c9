"""Room for decoded frames follows the object stores that are there, and what is set stays."""

import pytest

from cluster.gpu_share import room_for_frames, settle_workers
from cluster.placement import ClusterSize, NodeSize
from pipeline.engine.sharding import shard_config
from pipeline.settings.config import ExecutionConfig, RunConfig

GIB = 1024**3
EIGHT_NODES = ClusterSize(nodes=(NodeSize(num_cpus=128, num_gpus=8, store_bytes=600 * GIB),) * 8)


@pytest.mark.parametrize(
    ("nodes", "gib"),
    [
        (EIGHT_NODES.nodes, 2_400),  # 37 GiB for each of 64 GPUs
        ((NodeSize(num_cpus=2, store_bytes=2 * GIB),), 8),  # a laptop: the rest lies on its disk
        ((NodeSize(num_cpus=2),), 8),  # before Ray has started
        ((*EIGHT_NODES.nodes, NodeSize(num_cpus=0, store_bytes=600 * GIB)), 2_400),  # a head that does no work
    ],
)
def test_half_of_the_object_stores_hold_frames(nodes, gib):
    assert room_for_frames(ClusterSize(nodes=nodes)) == gib * GIB


@pytest.mark.parametrize("can_use_gpus", [True, False])
def test_a_job_takes_it_unless_a_number_is_set(can_use_gpus):
    taken = settle_workers(ExecutionConfig(), EIGHT_NODES, can_use_gpus=can_use_gpus).execution
    assert taken.frame_buffer_bytes == taken.frame_room_bytes == 2_400 * GIB
    kept = settle_workers(ExecutionConfig(frame_buffer_bytes=GIB), EIGHT_NODES, can_use_gpus=can_use_gpus).execution
    assert kept.frame_buffer_bytes == GIB


def test_shards_share_it():
    config = RunConfig(execution=ExecutionConfig(num_scorers=64, frame_buffer_bytes=2_400 * GIB))
    assert shard_config(config, 2).execution.frame_room_bytes == 1_200 * GIB
    assert shard_config(RunConfig(), 2).execution.frame_room_bytes == 4 * GIB
