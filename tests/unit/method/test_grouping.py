import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.method.grouping import count_groups, plan_groups, visiting_order


@pytest.mark.parametrize(("num_frames", "expected"), [(1, 1), (64, 1), (65, 2), (1024, 16), (10_000, 157)])
def test_groups_are_counted_by_the_ceiling(num_frames, expected):
    assert count_groups(num_frames, frames_per_group=64) == expected


@pytest.mark.parametrize(
    ("num_patches", "num_groups", "grouping", "expected"),
    [
        (7, 3, "interleaved", [[0, 3, 6], [1, 4], [2, 5]]),
        (7, 3, "contiguous", [[0, 1, 2], [3, 4], [5, 6]]),
        (2, 5, "interleaved", [[0], [1]]),  # never an empty group
        (2, 5, "contiguous", [[0], [1]]),
        (4, 1, "interleaved", [[0, 1, 2, 3]]),
    ],
)
def test_patches_are_split_into_groups(num_patches, num_groups, grouping, expected):
    groups = plan_groups(num_patches, num_groups=num_groups, grouping=grouping)
    assert [group.tolist() for group in groups] == expected


@settings(deadline=None)
@given(
    num_patches=st.integers(1, 300),
    num_groups=st.integers(1, 50),
    grouping=st.sampled_from(["interleaved", "contiguous"]),
)
def test_every_patch_is_in_one_group_and_sizes_differ_by_one_at_most(num_patches, num_groups, grouping):
    groups = plan_groups(num_patches, num_groups=num_groups, grouping=grouping)
    assert sorted(np.concatenate(groups).tolist()) == list(range(num_patches))
    assert len(groups) == min(num_groups, num_patches)
    sizes = [len(group) for group in groups]
    assert max(sizes) - min(sizes) <= 1
    assert all((np.diff(group) > 0).all() for group in groups)


@pytest.mark.parametrize(
    ("num_groups", "expected"),
    [
        (1, [0]),
        (2, [0, 1]),
        (3, [0, 2, 1]),
        (6, [0, 4, 2, 1, 5, 3]),
        (8, [0, 4, 2, 6, 1, 5, 3, 7]),
    ],
)
def test_groups_are_visited_in_bit_reversed_order(num_groups, expected):
    assert visiting_order(num_groups).tolist() == expected


@settings(deadline=None)
@given(num_groups=st.integers(1, 300))
def test_the_visiting_order_is_the_permutation_that_sorts_by_reversed_binary_digits(num_groups):
    num_digits = max(1, (num_groups - 1).bit_length())
    expected = sorted(range(num_groups), key=lambda group: f"{group:0{num_digits}b}"[::-1])
    assert visiting_order(num_groups).tolist() == expected


@settings(deadline=None)
@given(num_bits=st.integers(1, 8), data=st.data())
def test_any_prefix_covers_the_groups_evenly(num_bits, data):
    num_groups = 2**num_bits
    length = data.draw(st.integers(1, num_groups))
    visited = np.sort(visiting_order(num_groups)[:length])
    gaps = np.diff([*visited, visited[0] + num_groups])
    assert gaps.max() <= 2 * gaps.min()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: count_groups(0, frames_per_group=64), "num_frames=0"),
        (lambda: plan_groups(0, num_groups=1, grouping="interleaved"), "num_patches=0"),
        (lambda: plan_groups(3, num_groups=0, grouping="interleaved"), "num_groups=0"),
        (lambda: plan_groups(3, num_groups=1, grouping="random"), "'interleaved' or 'contiguous', got 'random'"),
        (lambda: visiting_order(0), "num_groups must be at least 1, got 0"),
    ],
)
def test_a_bad_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
