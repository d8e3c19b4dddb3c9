"""What holds for every plan, whatever the video, the sample and the bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.failures import PipelineError
from pipeline.video.decode_plan import cut_stretches, frames_to_decode
from tests.unit.video.plan_fakes import interleaved, make_probe, plan


@st.composite
def cases(draw):
    num_frames = draw(st.integers(1, 120))
    keyframes = sorted({0, *draw(st.lists(st.integers(0, num_frames - 1), max_size=8))})
    sample = np.array(sorted(draw(st.sets(st.integers(0, num_frames - 1), min_size=1))), dtype=np.int64)
    return make_probe(num_frames, keyframes), sample, draw(st.integers(1, 50)), draw(st.integers(1, 60))


def wanted_per_group(sample, num_groups):
    patches, groups = interleaved(len(sample), num_groups)
    return [set(sample[patches[group].ravel()].tolist()) for group in groups]


@given(cases(), st.booleans(), st.integers(1, 6), st.integers(1, 40))
@settings(deadline=None, max_examples=100)
def test_any_plan_yields_every_group_once_within_its_bounds_and_never_splits_a_gop(
    case, growing, num_stretches, stretch_frames
):
    probe, sample, num_groups, max_frames = case
    wanted = wanted_per_group(sample, num_groups)
    args = {"max_frames": max_frames, "growing": growing}
    if max(map(len, wanted)) > max_frames:
        with pytest.raises(PipelineError):
            plan(probe, sample, num_groups, **args)
        return
    passes = plan(probe, sample, num_groups, num_stretches=num_stretches, stretch_frames=stretch_frames, **args).passes
    assert [g for p in passes for g in p.group_positions] == list(range(len(wanted)))
    bound = max_frames if len(set().union(*wanted)) <= max_frames else max_frames // 2
    uncut = plan(probe, sample, num_groups, num_stretches=1, **args).passes
    for one, same in zip(passes, uncut, strict=True):
        in_pass = sorted(set().union(*(wanted[g] for g in one.group_positions)))
        assert one.frame_indices.tolist() == same.frame_indices.tolist() == in_pass
        assert one.num_frames <= max_frames
        assert one.num_frames <= bound or len(one.group_positions) == 1
        assert one.num_frames_to_decode == same.num_frames_to_decode == frames_to_decode(probe, one.frame_indices)
        gops = [set(probe.gop_of(s.frame_indices).tolist()) for s in one.stretches]
        assert sum(map(len, gops)) == len(set().union(*gops))
        assert all(min(g) == s.start_gop and max(g) + 1 == s.stop_gop for g, s in zip(gops, one.stretches, strict=True))
        assert all(
            len(s.frame_indices) <= stretch_frames or len(g) == 1 for g, s in zip(gops, one.stretches, strict=True)
        )


@given(cases())
@settings(deadline=None, max_examples=60)
def test_frames_are_decoded_from_each_keyframe_to_the_last_wanted_frame_before_the_next(case):
    probe, sample, _, _ = case
    decoded = set()
    for frame in sample.tolist():
        keyframe = max(k for k in probe.keyframe_indices.tolist() if k <= frame)
        decoded.update(range(keyframe, frame + 1))
    assert frames_to_decode(probe, sample) == len(decoded)


@given(cases())
@settings(deadline=None, max_examples=60)
def test_the_passes_are_the_fewest_that_fit_half_the_buffer(case):
    probe, sample, num_groups, max_frames = case
    wanted = wanted_per_group(sample, num_groups)
    if max(map(len, wanted)) > max_frames:
        return
    bound = max_frames if len(set().union(*wanted)) <= max_frames else max_frames // 2
    fewest = [0] + [len(wanted) + 1] * len(wanted)  # dynamic programme over all cuts
    for stop in range(1, len(wanted) + 1):
        for start in range(stop):
            if stop - start == 1 or len(set().union(*wanted[start:stop])) <= bound:
                fewest[stop] = min(fewest[stop], fewest[start] + 1)
    assert len(plan(probe, sample, num_groups, max_frames=max_frames).passes) == fewest[-1]


@given(cases())
@settings(deadline=None, max_examples=60)
def test_growing_never_expects_to_cost_more_than_plain_passes(case):
    probe, sample, num_groups, max_frames = case
    wanted = wanted_per_group(sample, num_groups)
    if max(map(len, wanted)) > max_frames:
        return

    def expected_cost(passes):
        """Mean over all stops of what has been decoded by then; a pass is read when its first group is needed."""
        costs = [
            sum(p.num_frames_to_decode for p in passes if p.group_positions.start < stop)
            for stop in range(1, len(wanted) + 1)
        ]
        return sum(costs) / len(costs)

    grown = plan(probe, sample, num_groups, max_frames=max_frames, growing=True).passes
    plain = plan(probe, sample, num_groups, max_frames=max_frames).passes
    assert expected_cost(grown) <= expected_cost(plain) + 1e-9


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 5))
@settings(deadline=None)
def test_no_stretch_costs_more_than_its_fair_share_and_one_gop(gop_sizes, num_stretches):
    starts = np.cumsum([0, *gop_sizes[:-1]])
    probe = make_probe(sum(gop_sizes), starts)
    stretches = cut_stretches(probe, np.arange(sum(gop_sizes)), num_stretches=num_stretches)
    assert max(s.num_frames_to_decode for s in stretches) <= sum(gop_sizes) / num_stretches + max(gop_sizes)
