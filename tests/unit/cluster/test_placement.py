"""CPUs and GPUs per worker, as a table."""

import pytest

from cluster.placement import PlacementError, plan_placement


@pytest.mark.parametrize(
    ("num_cpus", "num_scorers", "num_decoders", "share"),
    [
        (16, 1, 1, 1.0),
        (2, 1, 1, 1.0),
        (2, 4, 1, 0.4),
        (1, 2, 1, 0.33),  # rounded down, so that all of them fit
        (4, 4, 2, 0.66),
        (64, 40, 24, 1.0),
    ],
)
def test_workers_get_one_cpu_each_or_equal_fractions_that_fit(num_cpus, num_scorers, num_decoders, share):
    placement = plan_placement(
        num_cpus=num_cpus, num_gpus=0, num_scorers=num_scorers, num_decoders=num_decoders, gpus_per_scorer=0
    )
    assert placement.scorer == placement.decoder == {"num_cpus": share}
    assert placement.coordinator == {"num_cpus": 0}
    assert share * (num_scorers + num_decoders) <= num_cpus


def test_only_scorers_ask_for_gpus():
    placement = plan_placement(num_cpus=8, num_gpus=1, num_scorers=2, num_decoders=2, gpus_per_scorer=0.5)
    assert placement.scorer == {"num_cpus": 1.0, "num_gpus": 0.5}
    assert "num_gpus" not in placement.decoder


@pytest.mark.parametrize(
    ("num_cpus", "num_gpus", "match"),
    [(0, 4, "at least one CPU, it reports 0"), (8, 1, r"2 scorers with 1 GPUs each need 2 GPUs, the cluster has 1; ")],
)
def test_a_cluster_that_is_too_small_is_named_with_the_way_out(num_cpus, num_gpus, match):
    with pytest.raises(PlacementError, match=match):
        plan_placement(num_cpus=num_cpus, num_gpus=num_gpus, num_scorers=2, num_decoders=1, gpus_per_scorer=1)


@pytest.mark.parametrize(("num_workers", "num_cpus"), [(250, 1), (1_000, 4)])
def test_very_many_workers_never_ask_for_more_cpus_than_there_are(num_workers, num_cpus):
    placement = plan_placement(
        num_cpus=num_cpus, num_gpus=0, num_scorers=num_workers, num_decoders=1, gpus_per_scorer=0
    )
    assert placement.scorer["num_cpus"] * (num_workers + 1) <= num_cpus
