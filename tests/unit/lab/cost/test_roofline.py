import pytest

from pipeline.lab.cost.roofline import GpuRates, KernelKind, Launch, add_up, by_kind

PLAIN = GpuRates(
    bytes_per_s=100.0,
    memory_share=0.5,
    flops_per_s=1_000.0,
    matrix_share=0.5,
    single_flops_per_s=100.0,
    attention_share=0.25,
    num_processors=2,
    tile=4,
    depth=8,
    kernel_s=0.1,
    host_s=0.25,
)


def launch(kind=KernelKind.ELEMENTWISE, num_bytes=0, **facts):
    return Launch(stage="encode", name="one", kind=kind, num_bytes=num_bytes, **facts)


@pytest.mark.parametrize(
    ("one", "seconds"),
    [
        (launch(num_bytes=100), 2.0),  # 100 bytes at half of 100 per second
        (launch(num_bytes=1), 0.1),  # the least that a kernel takes
        (
            launch(KernelKind.ATTENTION, 10, flops=500),
            2.0,
        ),  # arithmetic is longer than memory: a quarter of 1,000 per second
        (launch(KernelKind.ATTENTION, 200, flops=500), 4.0),  # memory is longer
        (launch(KernelKind.MATRIX_SINGLE, flops=500), 10.0),
        (launch(KernelKind.MATRIX, flops=500), 1.0),  # without a shape: as a large product
        (
            launch(KernelKind.MATRIX, flops=500, shape=(1, 8, 8, 8)),
            2.0,
        ),  # two full waves; depth 8 of 8 + 8 halves the rate
    ],
)
def test_a_kernel_takes_the_longest_of_memory_arithmetic_and_the_least(one, seconds):
    assert PLAIN.kernel_seconds(one) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("shape", "fill"),
    [
        ((1, 8, 8, 8_000), 1.0),  # 4 tiles, 2 waves
        ((1, 8, 12, 8_000), 1.0),  # 6 tiles, 3 waves
        ((1, 4, 12, 8_000), 0.75),  # 3 tiles: the second wave is half empty
        ((3, 4, 4, 8_000), 0.75),  # three products of a tile each
        ((1, 1, 1, 8_000), 1.0),  # less than a wave is cut along its depth
        ((1, 8, 8, 8), 0.5),
    ],
)
def test_a_product_fills_the_machine_as_its_waves_and_depth_allow(shape, fill):
    assert PLAIN.fill(shape) == pytest.approx(fill, rel=2e-3)


def test_a_stage_takes_no_less_than_the_host_needs_and_a_replayed_kernel_costs_the_host_nothing():
    few = [launch(num_bytes=1)] * 4
    assert PLAIN.stage_seconds(few) == pytest.approx(1.0)
    replayed = [few[0], *[launch(num_bytes=1, is_replayed=True)] * 3]
    assert PLAIN.stage_seconds(replayed) == pytest.approx(0.4)
    assert add_up(replayed, PLAIN).launches == 1


def test_costs_add_up_by_kind_with_the_longest_first():
    listed = [launch(num_bytes=100), launch(KernelKind.MATRIX, 10, flops=2_000), launch(num_bytes=50)]
    total, kinds = add_up(listed, PLAIN, peak_bytes=7), by_kind(listed, PLAIN)
    assert (total.launches, total.num_bytes, total.flops, total.peak_bytes) == (3, 160, 2_000, 7)
    assert total.seconds == pytest.approx(7.0)
    assert list(kinds) == [KernelKind.MATRIX, KernelKind.ELEMENTWISE]
    assert kinds[KernelKind.ELEMENTWISE].seconds == pytest.approx(3.0)


def test_the_floor_of_an_h200_is_counted_at_four_fifths_of_its_data_sheet():
    assert GpuRates().matrix_flops_per_s == pytest.approx(791.2e12)
