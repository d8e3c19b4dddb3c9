import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.method.sampling import patch_frames, sample_frames, sample_keyframes


def regular_pts(num_frames, fps):
    return np.arange(num_frames) / fps


def frame_on_show(pts_s, time_s):
    """Linear search, independent of the implementation's bisection."""
    return max(index for index, pts in enumerate(pts_s) if pts <= time_s + 1e-6)


@pytest.mark.parametrize(
    ("pts_s", "duration_s", "sample_fps", "max_frames", "expected"),
    [
        (regular_pts(50, 25), 2.0, 2.0, 100, [0, 12, 25, 37]),
        (regular_pts(60, 30000 / 1001), 60 * 1001 / 30000, 2.0, 100, [0, 14, 29, 44, 59]),  # NTSC: 0.5 s shows frame 14
        (np.array([0.0, 1.0, 2.0]), 3.0, 2.0, 100, [0, 1, 2]),  # slower than the grid: each frame once
        (np.array([0.0, 0.1, 0.2, 5.0]), 6.0, 1.0, 100, [0, 2, 3]),  # variable rate: one frame on show for 4.8 s
        (np.array([0.0, 0.0, 0.5]), 1.0, 2.0, 100, [1, 2]),  # of equal times the later frame covers the earlier
        (np.array([0.0]), 0.04, 2.0, 100, [0]),
        (regular_pts(100, 10), 10.0, 10.0, 4, [0, 25, 50, 75]),  # thinned
        (regular_pts(100, 10), 10.0, 10.0, 3, [0, 33, 66]),
        (regular_pts(3, 10), 0.1 * 3, 10.0, 2, [0, 1]),  # 0.30000000000000004 s has three grid times, not four
        (np.arange(4) * 0.1, 0.4, 10.0, 100, [0, 1, 2, 3]),  # 0.30000000000000004 s is on show at 0.3
    ],
)
def test_the_frame_on_show_at_each_grid_time_is_taken_once(pts_s, duration_s, sample_fps, max_frames, expected):
    sample = sample_frames(pts_s, duration_s=duration_s, sample_fps=sample_fps, max_frames=max_frames)
    assert sample.frame_indices.tolist() == expected
    assert sample.frame_indices.dtype == np.int64
    assert sample.times_s.tolist() == pts_s[expected].tolist()
    assert sample.num_frames == len(expected)


def test_the_cap_of_ten_thousand_frames_is_reached_exactly_and_spread_evenly():
    sample = sample_frames(regular_pts(300_000, 30), duration_s=10_000.0, sample_fps=2.0, max_frames=10_000)
    assert sample.num_frames == 10_000
    np.testing.assert_allclose(np.diff(sample.times_s), 1.0, atol=1e-9)


@settings(deadline=None, max_examples=150)
@given(
    gaps_ms=st.lists(st.integers(1, 2_000), min_size=0, max_size=40),
    last_ms=st.integers(1, 1_000),
    sample_fps=st.sampled_from([0.5, 1.0, 2.0, 3.0, 29.97]),
)
def test_under_the_cap_the_frames_equal_a_linear_search_over_the_grid(gaps_ms, last_ms, sample_fps):
    pts_s = np.cumsum([0, *gaps_ms]) / 1_000
    duration_s = pts_s[-1] + last_ms / 1_000
    expected, index = set(), 0
    while index == 0 or index / sample_fps < duration_s - 1e-6:
        expected.add(frame_on_show(pts_s, index / sample_fps))
        index += 1
    sample = sample_frames(pts_s, duration_s=duration_s, sample_fps=sample_fps, max_frames=10_000)
    assert sample.frame_indices.tolist() == sorted(expected)


@settings(deadline=None)
@given(num_times=st.integers(1, 500), max_frames=st.integers(1, 500))
def test_a_thinned_grid_keeps_its_first_time_fills_the_cap_and_has_steps_that_differ_by_one(num_times, max_frames):
    sample = sample_frames(regular_pts(num_times, 1), duration_s=num_times, sample_fps=1.0, max_frames=max_frames)
    assert sample.num_frames == min(num_times, max_frames)
    assert sample.frame_indices[0] == 0
    steps = np.diff([*sample.frame_indices, num_times])
    assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pts_s": np.array([])}, r"pts_s must hold one time per frame, got shape \(0,\)"),
        ({"pts_s": np.array([1.0, 2.0])}, "pts_s must start at 0, got 1.0"),
        ({"pts_s": np.array([0.0, 2.0, 1.0])}, "pts_s must ascend, got 1.0 after 2.0"),
        ({"pts_s": np.array([0.0, np.nan])}, "pts_s must be finite, got nan"),
        ({"duration_s": 0.0}, "duration_s must be positive and finite, got 0.0"),
        ({"duration_s": float("inf")}, "duration_s must be positive and finite, got inf"),
        ({"sample_fps": -2.0}, "sample_fps must be positive and finite, got -2.0"),
        ({"max_frames": 0}, "max_frames must be at least 1, got 0"),
    ],
)
def test_a_bad_stream_or_setting_is_named(changes, message):
    arguments = {"pts_s": np.array([0.0, 1.0]), "duration_s": 2.0, "sample_fps": 2.0, "max_frames": 10} | changes
    with pytest.raises(ValueError, match=message):
        sample_frames(arguments.pop("pts_s"), **arguments)


@pytest.mark.parametrize(
    ("num_frames", "frames_per_patch", "expected"),
    [
        (4, 2, [[0, 1], [2, 3]]),
        (3, 2, [[0, 1], [2, 2]]),
        (1, 2, [[0, 0]]),
        (3, 1, [[0], [1], [2]]),
        (4, 3, [[0, 1, 2], [3, 3, 3]]),
    ],
)
def test_the_last_frame_is_repeated_to_fill_the_last_patch(num_frames, frames_per_patch, expected):
    assert patch_frames(num_frames, frames_per_patch=frames_per_patch).tolist() == expected


def test_patching_no_frames_is_refused():
    with pytest.raises(ValueError, match="num_frames=0"):
        patch_frames(0, frames_per_patch=2)


@pytest.mark.parametrize(
    ("keyframes", "snap_tolerance_s", "expected"),
    [
        ([0, 6, 11], 0.25, [0, 6, 11, 15]),  # 0.6 and 1.1 s serve 0.5 and 1.0 s
        ([0, 6, 11], 0.05, [0, 5, 10, 15]),  # out of reach
        ([0, 6, 11], 0.1, [0, 6, 11, 15]),  # just within
        ([], 0.25, [0, 5, 10, 15]),
        ([4, 6], 0.25, [0, 4, 10, 15]),  # both 0.1 s from 0.5 s: the earlier
        ([3, 4, 6, 7], 0.25, [0, 4, 10, 15]),
        ([2], 0.25, [2, 5, 10, 15]),  # the first time may snap too
    ],
)
def test_a_grid_time_takes_the_nearest_keyframe_within_reach_else_its_frame_on_show(
    keyframes, snap_tolerance_s, expected
):
    pts_s = regular_pts(20, 10)
    sample = sample_keyframes(
        pts_s,
        np.array(keyframes, dtype=np.int64),
        duration_s=2.0,
        sample_fps=2.0,
        max_frames=100,
        snap_tolerance_s=snap_tolerance_s,
    )
    assert sample.frame_indices.tolist() == expected
    assert sample.times_s.tolist() == pts_s[expected].tolist()


def test_a_keyframe_halfway_between_two_grid_times_serves_the_earlier_only():
    sample = sample_keyframes(
        regular_pts(80, 40),  # 0.75 s is frame 30
        np.array([30]),
        duration_s=2.0,
        sample_fps=2.0,
        max_frames=100,
        snap_tolerance_s=0.25,
    )
    assert sample.times_s.tolist() == [0.0, 0.75, 1.0, 1.5]


def snap_by_brute_force(pts_ms, keyframes, grid_ms, tolerance_ms):
    """All pairs in exact integers: who is nearest to whom, the earlier of equals."""
    chosen = set()
    for time_ms in grid_ms:
        exact = max(index for index, pts in enumerate(pts_ms) if pts <= time_ms)
        near = [k for k in keyframes if abs(pts_ms[k] - time_ms) <= tolerance_ms]
        nearest = min(near, key=lambda k: (abs(pts_ms[k] - time_ms), k), default=None)
        is_served = nearest is not None and time_ms == min(grid_ms, key=lambda t: (abs(pts_ms[nearest] - t), t))
        chosen.add(nearest if is_served else exact)
    return sorted(chosen)


@settings(deadline=None, max_examples=150)
@given(
    gaps_ms=st.lists(st.integers(1, 400), min_size=0, max_size=40),
    last_ms=st.integers(1, 1_000),
    sample_fps=st.sampled_from([0.5, 1.0, 2.0, 4.0]),
    max_frames=st.integers(1, 30),
    tolerance_share=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    data=st.data(),
)
def test_snapping_equals_a_search_over_all_pairs(gaps_ms, last_ms, sample_fps, max_frames, tolerance_share, data):
    pts_ms = np.cumsum([0, *gaps_ms]).tolist()
    keyframes = sorted(data.draw(st.sets(st.integers(0, len(pts_ms) - 1)), label="keyframes"))
    duration_ms, step_ms = pts_ms[-1] + last_ms, int(1_000 / sample_fps)
    num_times = -(-duration_ms // step_ms)
    num_kept = min(num_times, max_frames)
    grid_ms = [index * num_times // num_kept * step_ms for index in range(num_kept)]
    sample = sample_keyframes(
        np.array(pts_ms) / 1_000,
        np.array(keyframes, dtype=np.int64),
        duration_s=duration_ms / 1_000,
        sample_fps=sample_fps,
        max_frames=max_frames,
        snap_tolerance_s=tolerance_share * 0.5 / sample_fps,
    )
    expected = snap_by_brute_force(pts_ms, keyframes, grid_ms, tolerance_share * 0.5 * step_ms)
    assert sample.frame_indices.tolist() == expected
    assert sample.times_s.tolist() == (np.array(pts_ms) / 1_000)[expected].tolist()
    assert sample.num_frames <= max_frames


@pytest.mark.parametrize("snap_tolerance_s", [-0.1, 0.26, float("nan")])
def test_a_reach_beyond_half_the_interval_is_refused(snap_tolerance_s):
    with pytest.raises(ValueError, match=r"between 0 and half the sampling interval \(0\.25 s\), got"):
        sample_keyframes(
            regular_pts(20, 10),
            np.array([0]),
            duration_s=2.0,
            sample_fps=2.0,
            max_frames=10,
            snap_tolerance_s=snap_tolerance_s,
        )


@settings(deadline=None, max_examples=150)
@given(
    gaps_ms=st.lists(st.integers(1, 2_000), min_size=0, max_size=40),
    last_ms=st.integers(1, 1_000),
    start_ms=st.integers(0, 40_000),
    length_ms=st.integers(1, 40_000),
    sample_fps=st.sampled_from([0.5, 1.0, 2.0, 29.97]),
)
def test_of_a_part_the_frames_equal_a_linear_search_over_a_grid_that_begins_with_it(
    gaps_ms, last_ms, start_ms, length_ms, sample_fps
):
    pts_s = np.cumsum([0, *gaps_ms]) / 1_000
    duration_s = pts_s[-1] + last_ms / 1_000
    start_s, end_s = start_ms / 1_000, (start_ms + length_ms) / 1_000
    sampled = {"duration_s": duration_s, "sample_fps": sample_fps, "max_frames": 10_000}
    if start_s > duration_s - 1e-6:
        with pytest.raises(ValueError, match="no part of the video lies in"):
            sample_frames(pts_s, start_s=start_s, end_s=end_s, **sampled)
        return
    sample = sample_frames(pts_s, start_s=start_s, end_s=end_s, **sampled)
    expected, index = set(), 0
    while index == 0 or start_s + index / sample_fps < min(end_s, duration_s) - 1.1e-6:
        expected.add(frame_on_show(pts_s, start_s + index / sample_fps))
        index += 1
    assert sample.frame_indices.tolist() == sorted(expected)
    assert (sample.times_s < end_s).all()
    assert (sample.times_s[1:] > start_s).all()


@settings(deadline=None, max_examples=100)
@given(
    gaps_ms=st.lists(st.integers(1, 2_000), min_size=1, max_size=40),
    beyond_s=st.sampled_from([None, 0.0, 0.5, 1e6]),
    is_exact=st.booleans(),
)
def test_the_part_that_is_the_whole_video_gives_the_bits_of_the_whole_video(gaps_ms, beyond_s, is_exact):
    pts_s = np.cumsum([0, *gaps_ms]) / 1_000
    sampled = {"duration_s": pts_s[-1] + 0.04, "sample_fps": 2.0, "max_frames": 9}
    part = {"start_s": 0.0, "end_s": None if beyond_s is None else pts_s[-1] + 0.04 + beyond_s}
    keyframes = np.arange(0, len(pts_s), 3)

    def take(**more):
        if is_exact:
            return sample_frames(pts_s, **sampled, **more)
        return sample_keyframes(pts_s, keyframes, snap_tolerance_s=0.25, **sampled, **more)

    assert take(**part).frame_indices.tobytes() == take().frame_indices.tobytes()
    assert take(**part).times_s.tobytes() == take().times_s.tobytes()


def test_a_keyframe_outside_the_part_is_no_place_to_snap_to():
    pts_s, keyframes = regular_pts(40, 10), np.array([0, 9, 19, 21])
    part = {"start_s": 1.0, "end_s": 2.0, "duration_s": 4.0, "sample_fps": 2.0, "max_frames": 99}
    near = sample_keyframes(pts_s, keyframes, snap_tolerance_s=0.25, **part)
    assert near.frame_indices.tolist() == [10, 15]  # not 9, and 19 serves no time of the grid
    wider = sample_keyframes(pts_s, keyframes, snap_tolerance_s=0.25, **part | {"sample_fps": 1.0, "end_s": 4.0})
    assert wider.frame_indices.tolist() == [10, 19, 30]
