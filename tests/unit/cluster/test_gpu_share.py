"""Which GPUs a run takes when its settings do not say: all, one scorer each; and what it says about it."""

import pytest

from cluster.gpu_share import settle_workers
from cluster.placement import ClusterSize, NodeSize, plan_workers
from pipeline.settings.config import ExecutionConfig


def cluster(*nodes, max_gpus=0.0):
    return ClusterSize(nodes=tuple(NodeSize(num_cpus=cpus, num_gpus=gpus) for cpus, gpus in nodes), max_gpus=max_gpus)


EIGHT = cluster((16, 4), (16, 4))


@pytest.mark.parametrize(
    ("machines", "asked", "scorers", "gpus"),
    [
        (EIGHT, {}, 8, 1.0),
        (cluster((16, 1)), {}, 1, 1.0),
        (cluster((16, 0)), {}, 1, 0.0),
        (EIGHT, {"gpus_per_scorer": 0.0}, 1, 0.0),
        (EIGHT, {"gpus_per_scorer": 0.0, "num_scorers": 3}, 3, 0.0),
        (EIGHT, {"num_scorers": 3}, 3, 1.0),
        (EIGHT, {"num_scorers": 12}, 12, 1.0),  # four of them wait until there is room
        (EIGHT, {"gpus_per_scorer": 2.0}, 4, 2.0),
        (cluster((16, 3), (16, 3)), {"gpus_per_scorer": 2.0}, 2, 2.0),  # those of one scorer lie on one node
        (EIGHT, {"gpus_per_scorer": 0.5}, 16, 0.5),
        (EIGHT, {"num_answerers": 2}, 6, 1.0),
        (cluster((16, 0)), {"min_scorers": 2}, 2, 0.0),
        (cluster((16, 0), max_gpus=8.0), {}, 8, 1.0),  # nodes that an autoscaler may add
        (cluster((2, 4)), {}, 4, 1.0),  # no GPU is idle for want of a CPU
    ],
)
def test_gpus_that_are_there_are_used_one_scorer_each_unless_the_settings_say_otherwise(machines, asked, scorers, gpus):
    settled = settle_workers(ExecutionConfig(**asked), machines).execution
    assert (settled.num_scorers, settled.gpus_per_scorer) == (scorers, gpus)
    assert settled.groups_per_call == (3 if gpus else 1)
    assert settle_workers(settled, machines).execution == settled


def test_each_scorer_reserves_a_gpu_of_its_own_by_default():
    placement = plan_workers(EIGHT, settle_workers(ExecutionConfig(num_decoders=8), EIGHT).execution)
    assert (placement.gpus_per_model, len(placement.near_decoders), placement.num_ready) == (1.0, 8, 8)


@pytest.mark.parametrize(
    ("machines", "asked", "can_use_gpus", "reason"),
    [
        (
            EIGHT,
            {},
            True,
            "8 GPUs; 8 scorers with 1 GPU each, 8 decoders (by what is there: execution.gpus_per_scorer, "
            "execution.num_scorers and execution.num_decoders unset)",
        ),
        (
            EIGHT,
            {"gpus_per_scorer": 0.0},
            True,
            "8 GPUs; 1 scorer on the CPU (as set by execution.gpus_per_scorer=0, by what is there: "
            "execution.num_scorers and execution.num_decoders unset)",
        ),
        (
            cluster((4, 2)),
            {"gpus_per_scorer": 2.0, "num_scorers": 1, "num_decoders": 3},
            True,
            "2 GPUs; 1 scorer with 2 GPUs, 3 decoders (as set by execution.gpus_per_scorer=2, execution.num_scorers=1 "
            "and execution.num_decoders=3)",
        ),
        (
            EIGHT,
            {},
            False,
            "8 GPUs; 1 scorer on the CPU (torch is built without them here; where workers have another one, set "
            "execution.gpus_per_scorer)",
        ),
    ],
)
def test_the_run_says_what_it_took_and_why(machines, asked, can_use_gpus, reason):
    assert settle_workers(ExecutionConfig(**asked), machines, can_use_gpus=can_use_gpus).reason == reason


@pytest.mark.parametrize(
    ("machines", "asked", "decoders"),
    [
        (cluster(*[(16, 1)] * 8), {}, 56),  # as the files of cluster/ have it
        (cluster((128, 8)), {}, 56),
        (cluster((128, 8)), {"gpus_per_scorer": 2.0}, 60),  # 32 CPUs each: 15
        (cluster((192, 1)), {}, 16),
        (cluster((4, 1)), {}, 1),
        (cluster((2, 4)), {}, 4),  # one each in any case
        (cluster((16, 1), (4, 1)), {}, 2),  # by the smaller share: all scorers have as many
        (ClusterSize(nodes=(NodeSize(num_cpus=4),), max_cpus=128, max_gpus=8), {}, 56),  # nodes that come
        (cluster((16, 0)), {}, 1),
        (cluster((16, 1)), {"gpus_per_scorer": 0.0}, 1),
        (cluster((16, 1)), {"num_decoders": 3}, 3),
    ],
)
def test_decoders_follow_from_the_cores_beside_each_gpu(machines, asked, decoders):
    settled = settle_workers(ExecutionConfig(**asked), machines).execution
    assert settled.num_decoders == decoders
    assert plan_workers(machines, settled).num_cpus <= 1
    if machines.nodes[0].num_gpus == 1 and machines.nodes[0].num_cpus == 16 and not asked:
        assert plan_workers(machines, settled).num_cpus == 1  # nobody shares a CPU
