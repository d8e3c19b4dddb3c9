from dataclasses import replace

import numpy as np
import pytest

from pipeline.method.selectors.registry import get_selector
from pipeline.planning import stretches
from pipeline.planning.video_plan import plan_video
from pipeline.settings.config import ExecutionConfig, RunConfig, SamplingConfig
from tests.unit.engine.fakes import FRAME_BYTES, FakeLayout, make_probe


def plan(probe, *, method="adapttoken", num_decoders=1, frame_buffer_bytes=10**9, **sampling):
    config = RunConfig(
        method=method,
        sampling=SamplingConfig(frames_per_group=8, min_pixels=1, max_pixels=10_000, sample_fps=0.5, **sampling),
        execution=ExecutionConfig(num_decoders=num_decoders, frame_buffer_bytes=frame_buffer_bytes),
    )
    return plan_video(probe, layout=FakeLayout(), selector=get_selector(method), config=config)


@pytest.fixture
def probe():
    """Two frames per second, a keyframe every 5 frames (2.5 s); every 4th frame is on show at a grid time."""
    return make_probe(40, gop=5)


def test_exact_seeking_takes_the_frame_on_show_at_every_grid_time(probe):
    assert plan(probe, snap_tolerance_s=1.0).sample.frame_indices.tolist() == list(range(0, 40, 4))


def test_keyframe_seeking_takes_keyframes_within_reach_and_their_own_times(probe):
    planned = plan(probe, seek="keyframe", snap_tolerance_s=0.5)
    assert planned.sample.frame_indices.tolist() == [0, 5, 8, 12, 15, 20, 25, 28, 32, 35]
    assert planned.sample.times_s.tolist() == [0, 2.5, 4, 6, 7.5, 10, 12.5, 14, 16, 17.5]
    (only,) = planned.passes
    exact = plan(probe).passes[0]
    assert only.frame_indices.tolist() == planned.sample.frame_indices.tolist()
    assert (only.num_frames_to_decode, exact.num_frames_to_decode) == (1 + 1 + 4 + 3 + 1 + 1 + 4 + 3, 28)


def test_a_first_keyframe_that_an_edit_list_hides_is_no_place_to_snap_to(probe):
    hidden = replace(probe, keyframe_indices=np.array([0, 1, 10]), keyframe_pts=np.array([-3, 1, 10]))
    assert plan(hidden, seek="keyframe", snap_tolerance_s=0.5).sample.frame_indices[:2].tolist() == [1, 4]
    assert plan(probe, seek="keyframe", snap_tolerance_s=0.5).sample.frame_indices[0] == 0


def test_the_number_of_decoders_changes_the_stretches_and_no_frame(probe):
    one, three = plan(probe).passes[0], plan(probe, num_decoders=3).passes[0]
    assert (len(one.stretches), len(three.stretches)) == (1, 3)
    assert one.frame_indices.tolist() == three.frame_indices.tolist()


def test_a_stretch_of_a_large_video_holds_no_more_than_the_byte_bound(monkeypatch):
    long = make_probe(4_000, gop=20)
    assert [len(s.frame_indices) for s in plan(long).passes[0].stretches] == [1_000]
    monkeypatch.setattr(stretches, "STRETCH_BYTES", 400 * FRAME_BYTES)
    assert [len(s.frame_indices) for s in plan(long).passes[0].stretches] == [335, 330, 335]


@pytest.mark.parametrize(
    ("buffer_frames", "num_passes"),
    [(10, 1), (9, 2)],  # two groups of 6 and 4 frames: half of 9 holds neither, so each is a pass of its own
)
def test_passes_are_planned_from_the_frame_buffer(probe, buffer_frames, num_passes):
    planned = plan(probe, frame_buffer_bytes=buffer_frames * FRAME_BYTES)
    assert len(planned.passes) == num_passes
    assert sum(len(p.group_positions) for p in planned.passes) == len(planned.groups) == 2


def test_a_patch_is_known_by_the_mean_time_of_its_frames_or_where_the_family_writes_it_by_its_start(probe):
    class StartLayout(FakeLayout):
        writes_start_times = True

    thinned = RunConfig(sampling=SamplingConfig(max_frames=11))  # frames farther apart than they would be sampled
    selector = get_selector("adapttoken")
    mean, start = (
        plan_video(probe, layout=layout(), selector=selector, config=thinned) for layout in (FakeLayout, StartLayout)
    )
    times = mean.sample.times_s[[*range(11), 10]].reshape(6, 2)
    assert mean.patch_centers_s.tolist() == times.mean(axis=1).tolist()
    assert start.patch_centers_s.tolist() == times[:, 0].tolist() == start.patch_times_s.tolist()
    some = np.array([4, 1])
    assert start.centers_of(some).tolist() == times[some, 0].tolist()
    assert mean.centers_of(some).tolist() == times[some].mean(axis=1).tolist()
