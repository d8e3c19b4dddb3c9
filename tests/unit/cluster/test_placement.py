"""Who reserves what, as tables and properties: everything fits, decoders are near, what cannot be is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.placement import ClusterSize, NodeSize, PlacementError, plan_workers
from pipeline.settings.config import ExecutionConfig


def cluster(*nodes, **grown):
    return ClusterSize(nodes=tuple(NodeSize(num_cpus=cpus, num_gpus=gpus) for cpus, gpus in nodes), **grown)


def execution(scorers=1, decoders=1, gpus=0.0, least=1):
    return ExecutionConfig(num_scorers=scorers, num_decoders=decoders, gpus_per_scorer=gpus, min_scorers=least)


@pytest.mark.parametrize(
    ("nodes", "wanted", "share", "near", "far", "ready"),
    [
        ([(16, 0)], execution(), 1.0, (1,), 0, 1),
        ([(2, 0)], execution(), 1.0, (1,), 0, 1),
        ([(1, 0)], execution(), 0.5, (1,), 0, 1),
        ([(1, 0)], execution(decoders=2), 0.3333, (2,), 0, 1),  # rounded down, so that all of them fit
        ([(4, 0)], execution(4, 1), 1.0, (0, 0, 0, 0), 1, 3),  # the fourth waits for a CPU
        ([(4, 0)], execution(4, 2, least=4), 0.6666, (0, 0, 0, 0), 2, 4),  # all four must run
        ([(2, 0)], execution(4, 2), 1.0, (1, 1, 0, 0), 0, 1),
        ([(2, 0)] * 4, execution(1, 4), 1.0, (1,), 3, 1),  # three decoders on other nodes
        ([(8, 2)], execution(2, 4, gpus=1), 1.0, (2, 2), 0, 2),
        ([(8, 8)], execution(8, 4, gpus=1), 0.6666, (0,) * 8, 4, 8),  # no GPU is idle for want of a CPU
        ([(8, 2), (8, 2)], execution(4, 8, gpus=1), 1.0, (2,) * 4, 0, 4),
        ([(8, 2), (64, 0)], execution(2, 20, gpus=1), 1.0, (3, 3), 14, 2),  # the rest on the node without GPUs
        ([(8, 4), (8, 4)], execution(2, 2, gpus=4), 1.0, (1, 1), 0, 2),  # whole GPUs of one node
        ([(8, 6), (8, 2)], execution(2, 2, gpus=4), 1.0, (1, 1), 0, 1),  # 8 GPUs, but only one node holds 4
        ([(8, 1)], execution(2, 2, gpus=0.5), 1.0, (1, 1), 0, 2),
        ([(8, 1)], execution(3, 1, gpus=0.4), 1.0, (1, 0, 0), 0, 2),  # 0.4 + 0.4, never a part of two GPUs
    ],
)
def test_scorers_and_decoders_are_placed(nodes, wanted, share, near, far, ready):
    placement = plan_workers(cluster(*nodes), wanted)
    assert placement.num_cpus == pytest.approx(share, abs=1e-9)
    assert (placement.near_decoders, placement.num_far_decoders, placement.num_ready) == (near, far, ready)
    assert placement.gpus_per_model == wanted.gpus_per_scorer


@pytest.mark.parametrize(
    ("nodes", "wanted", "answerers", "reserved"),
    [
        ([(2, 0)], execution(2, 2), 1, 1),  # else the second scorer takes its CPU, and waits for a decoder for ever
        ([(4, 0)], execution(4, 1), 0, 1),
        ([(4, 0)], execution(4, 2, least=4), 0, 0),  # nobody is left who could take it
        ([(2, 0)], execution(4, 2), 0, 0),  # it has its place beside the scorer
        ([], execution(2, 2), 1, 0),  # nothing is there yet
    ],
)
def test_a_decoder_has_its_place_before_a_scorer_that_can_wait(nodes, wanted, answerers, reserved):
    placement = plan_workers(cluster(*nodes, max_cpus=8.0), wanted, num_answerers=answerers)
    assert placement.num_reserved_decoders == reserved


def test_answerers_take_the_place_of_scorers_that_can_wait():
    placement = plan_workers(cluster((8, 4)), execution(4, 2, gpus=1), num_answerers=1)
    assert (placement.num_answerers, placement.num_ready, len(placement.near_decoders)) == (1, 4, 4)


@pytest.mark.parametrize(
    ("size", "wanted", "answerers", "match"),
    [
        (cluster((0, 4)), execution(), 0, "at least one CPU, it reports 0"),
        (cluster(), execution(), 0, "at least one CPU"),
        (cluster((8, 1)), execution(2, gpus=1, least=2), 0, r"2 model processes .* need 2 GPUs, the cluster has 1; "),
        (cluster((8, 1)), execution(1, gpus=1), 1, r"\(execution.min_scorers 1, answerers 1\) with 1 GPUs each need 2"),
        (cluster((8, 2), (8, 2)), execution(1, gpus=4), 0, "has 4, which are 2, 2 by node, and the GPUs of one scorer"),
        (cluster((8, 0), max_gpus=2.0), execution(3, gpus=1, least=3), 0, "has 0 and can grow to 2; lower"),
    ],
)
def test_what_cannot_be_placed_is_refused_with_what_is_missing(size, wanted, answerers, match):
    with pytest.raises(PlacementError, match=match):
        plan_workers(size, wanted, num_answerers=answerers)


@pytest.mark.parametrize("nodes", [[], [(4, 0)]])
def test_a_cluster_that_can_grow_is_waited_for(nodes):
    placement = plan_workers(cluster(*nodes, max_cpus=64.0, max_gpus=8.0), execution(8, 4, gpus=1, least=8))
    assert (placement.num_cpus, placement.num_ready, placement.num_far_decoders) == (1.0, 0, 4)


NODES = st.lists(st.tuples(st.integers(1, 64), st.integers(0, 8)), min_size=1, max_size=6)


@settings(deadline=None)
@given(nodes=NODES, scorers=st.integers(1, 300), decoders=st.integers(1, 300), gpus=st.sampled_from([0, 0.3, 1, 2]))
def test_whatever_is_ready_fits_however_it_is_packed(nodes, scorers, decoders, gpus):
    seats = sum(gpu // gpus if gpus >= 1 else gpu * int(1 / gpus) for _, gpu in nodes) if gpus else 1
    if not seats:
        return
    wanted = execution(scorers, decoders, gpus=gpus)
    placement = plan_workers(cluster(*nodes), wanted)
    assert 0 < placement.num_cpus <= 1
    assert sum(placement.near_decoders) + placement.num_far_decoders == decoders
    assert 1 <= placement.num_ready <= scorers
    cell = placement.num_cpus * (1 + max(placement.near_decoders))
    room = 0
    for cpus, num_gpus in nodes:  # equal cells: wherever they go, they fill every node's room
        by_cpu = int(cpus / cell + 1e-6)
        by_gpu = num_gpus // gpus if gpus >= 1 else num_gpus * int(1 / gpus) if gpus else by_cpu
        room += min(by_cpu, by_gpu)
    assert placement.num_ready <= room
    total = sum(cpus for cpus, _ in nodes)
    assert placement.num_cpus * (placement.num_ready + 1) <= total + 1e-6, "and a decoder"


@pytest.mark.parametrize(("num_workers", "num_cpus"), [(250, 1), (1_000, 4)])
def test_very_many_workers_never_ask_for_more_cpus_than_there_are(num_workers, num_cpus):
    placement = plan_workers(cluster((num_cpus, 0)), execution(num_workers, least=num_workers))
    assert placement.num_cpus * (num_workers + 1) <= num_cpus
    assert placement.num_ready == num_workers
