import pytest

from pipeline.lab.simulation.settings import SimulationSettings, StageTimes


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_gpus": 0}, "num_gpus must be at least 1, got 0"),
        ({"decode_cores_per_gpu": 0.0}, "decode_cores_per_gpu must be positive, got 0.0"),
        ({"num_gpus": 2, "num_answerers": 2}, r"num_answerers must be at least 0 and below num_gpus \(2\), got 2"),
        ({"mean_stop_groups": 1.0}, "mean_stop_groups must be at least 2, got 1.0"),
        ({"node_losses_per_hour": -1.0}, "node_losses_per_hour must be at least 0, got -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        SimulationSettings(**changed)


def test_stage_times_below_zero_are_refused():
    with pytest.raises(ValueError, match=r"times.gather_s must be at least 0, got -0.1"):
        StageTimes(gather_s=-0.1)


def test_default_times_are_sixty_percent_of_the_measured_matmul_rate():
    times = StageTimes()
    assert 64 * (times.encode_s + times.prefill_s) == pytest.approx((2.3 + 6.5) / 0.79 / 0.6)
