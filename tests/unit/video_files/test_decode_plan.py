from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.containers import Container
from pipeline.video.decode_plan import cut_stretches, frames_to_decode, plan_decode
from pipeline.video.probe import VideoProbe


def make_probe(num_frames, keyframe_indices) -> VideoProbe:
    pts = np.arange(num_frames, dtype=np.int64)
    keyframes = np.array(keyframe_indices, dtype=np.int64)
    return VideoProbe(
        path="/v.mp4",
        container=Container.ISO_BMFF,
        codec="h264",
        bit_depth=8,
        duration_s=num_frames / 25,
        time_base=Fraction(1, 25),
        pts=pts,
        pts_s=pts / 25,
        keyframe_indices=keyframes,
        keyframe_pts=pts[keyframes],
        keyframe_dts=pts[keyframes],
        width=8,
        height=8,
        rotation=0,
        is_constant_rate=True,
    )


def interleaved(num_samples, num_groups):
    """Sampled frame positions per two-frame patch, and the groups g, g+G, ... in bit-reversed visiting order."""
    patches = np.arange(num_samples + num_samples % 2).clip(max=num_samples - 1).reshape(-1, 2)
    order = sorted(range(min(num_groups, len(patches))), key=lambda group: f"{group:010b}"[::-1])
    return patches, [np.arange(group, len(patches), num_groups) for group in order]


def plan(probe, sample, num_groups, *, max_frames=10**6, num_stretches=1, growing=False):
    patches, groups = interleaved(len(sample), num_groups)
    return plan_decode(
        probe,
        sample,
        patches,
        groups,
        frame_bytes=10,
        frame_buffer_bytes=10 * max_frames,
        num_stretches=num_stretches,
        growing=growing,
    )


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [([0], 1), ([9], 10), ([10], 1), ([3, 9, 12], 13), ([29], 10), ([0, 10, 20], 3), (list(range(30)), 30)],
)
def test_a_gop_costs_the_frames_from_its_keyframe_to_the_last_wanted_one(wanted, expected):
    assert frames_to_decode(make_probe(30, [0, 10, 20]), np.array(wanted)) == expected


def test_everything_that_fits_the_buffer_is_one_pass():
    only = plan(make_probe(100, [0, 50]), np.arange(0, 100, 5), 4, max_frames=20).passes
    assert [p.group_positions for p in only] == [range(4)]
    assert only[0].frame_indices.tolist() == list(range(0, 100, 5))
    assert only[0].num_frames == 20
    assert only[0].num_frames_to_decode == 46 + 46


def test_a_smaller_buffer_takes_the_fewest_passes_in_visiting_order():
    # groups 0, 2, 1, 3 have 6, 4, 6, 4 frames; 11 fit: 6 4 | 6 4
    passes = plan(make_probe(100, [0]), np.arange(0, 100, 5), 4, max_frames=11).passes
    assert [p.group_positions for p in passes] == [range(0, 2), range(2, 4)]
    assert [p.num_frames for p in passes] == [10, 10]


def test_a_group_larger_than_the_buffer_is_refused_with_bytes_and_option():
    with pytest.raises(PipelineError, match=r"60 bytes.*execution\.frame_buffer_bytes allows 50") as caught:
        plan(make_probe(100, [0]), np.arange(0, 100, 5), 4, max_frames=5)
    assert caught.value.failure_class is FailureClass.TOO_LARGE


def test_growing_passes_take_8_then_32_groups_then_the_rest_when_gops_are_short():
    passes = plan(make_probe(400, range(400)), np.arange(400), 100, growing=True).passes
    assert [p.group_positions for p in passes] == [range(0, 8), range(8, 40), range(40, 100)]


def test_growing_passes_end_with_the_groups():
    passes = plan(make_probe(400, range(400)), np.arange(400), 20, growing=True).passes
    assert [p.group_positions for p in passes] == [range(0, 8), range(8, 20)]


def test_growing_becomes_one_pass_when_long_gops_make_the_first_pass_as_dear_as_all():
    passes = plan(make_probe(400, [0, 200]), np.arange(400), 100, growing=True).passes
    assert [p.group_positions for p in passes] == [range(100)]


def test_growing_passes_keep_to_the_buffer():
    passes = plan(make_probe(400, range(400)), np.arange(400), 100, max_frames=40, growing=True).passes
    assert [p.group_positions for p in passes][:5] == [
        range(0, 8),
        range(8, 18),
        range(18, 28),
        range(28, 38),
        range(38, 40),
    ]
    assert max(p.num_frames for p in passes) == 40


def test_stretches_are_cut_at_keyframes_into_equal_costs():
    stretches = cut_stretches(make_probe(60, [0, 10, 20, 30]), np.array([9, 19, 29, 59]), num_stretches=2)
    assert [s.frame_indices.tolist() for s in stretches] == [[9, 19, 29], [59]]
    assert [(s.start_gop, s.stop_gop) for s in stretches] == [(0, 3), (3, 4)]
    assert [s.num_frames_to_decode for s in stretches] == [30, 30]


@pytest.mark.parametrize(
    "broken", [{"frame_bytes": 0}, {"frame_buffer_bytes": 0}, {"num_stretches": 0}, {"groups": []}]
)
def test_values_below_one_are_refused(broken):
    patches, groups = interleaved(10, 2)
    values = {"groups": groups, "frame_bytes": 1, "frame_buffer_bytes": 100, "num_stretches": 1} | broken
    with pytest.raises(ValueError, match="at least one group and positive sizes"):
        plan_decode(make_probe(10, [0]), np.arange(10), patches, growing=False, **values)


@st.composite
def cases(draw):
    num_frames = draw(st.integers(1, 120))
    keyframes = sorted({0, *draw(st.lists(st.integers(0, num_frames - 1), max_size=8))})
    sample = np.array(sorted(draw(st.sets(st.integers(0, num_frames - 1), min_size=1))), dtype=np.int64)
    return make_probe(num_frames, keyframes), sample, draw(st.integers(1, 50)), draw(st.integers(1, 60))


@given(cases(), st.booleans(), st.integers(1, 6))
@settings(deadline=None, max_examples=150)
def test_any_plan_yields_every_group_once_within_the_buffer_and_never_splits_a_gop(case, growing, num_stretches):
    probe, sample, num_groups, max_frames = case
    patches, groups = interleaved(len(sample), num_groups)
    wanted = [set(sample[patches[group].ravel()].tolist()) for group in groups]
    if max(map(len, wanted)) > max_frames:
        with pytest.raises(PipelineError):
            plan(probe, sample, num_groups, max_frames=max_frames, growing=growing)
        return
    args = {"max_frames": max_frames, "growing": growing}
    passes = plan(probe, sample, num_groups, num_stretches=num_stretches, **args).passes
    assert [g for p in passes for g in p.group_positions] == list(range(len(groups)))
    uncut = plan(probe, sample, num_groups, num_stretches=1, **args).passes
    for one, same in zip(passes, uncut, strict=True):
        assert one.frame_indices.tolist() == sorted(set().union(*(wanted[g] for g in one.group_positions)))
        assert one.frame_indices.tolist() == same.frame_indices.tolist()
        assert one.num_frames <= max_frames
        assert len(one.stretches) <= num_stretches
        assert one.num_frames_to_decode == same.num_frames_to_decode == frames_to_decode(probe, one.frame_indices)
        gops = [set(probe.gop_of(s.frame_indices).tolist()) for s in one.stretches]
        assert sum(map(len, gops)) == len(set().union(*gops))
        assert all(min(g) == s.start_gop and max(g) + 1 == s.stop_gop for g, s in zip(gops, one.stretches, strict=True))


@given(cases())
@settings(deadline=None, max_examples=100)
def test_the_passes_are_the_fewest_that_fit(case):
    probe, sample, num_groups, max_frames = case
    patches, groups = interleaved(len(sample), num_groups)
    wanted = [set(sample[patches[group].ravel()].tolist()) for group in groups]
    if max(map(len, wanted)) > max_frames:
        return
    fewest = [0] + [len(groups) + 1] * len(groups)  # dynamic programme over all cuts
    for stop in range(1, len(groups) + 1):
        for start in range(stop):
            if len(set().union(*wanted[start:stop])) <= max_frames:
                fewest[stop] = min(fewest[stop], fewest[start] + 1)
    assert len(plan(probe, sample, num_groups, max_frames=max_frames).passes) == fewest[-1]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 5))
@settings(deadline=None)
def test_no_stretch_costs_more_than_its_fair_share_and_one_gop(gop_sizes, num_stretches):
    starts = np.cumsum([0, *gop_sizes[:-1]])
    probe = make_probe(sum(gop_sizes), starts)
    stretches = cut_stretches(probe, np.arange(sum(gop_sizes)), num_stretches=num_stretches)
    assert max(s.num_frames_to_decode for s in stretches) <= sum(gop_sizes) / num_stretches + max(gop_sizes)
