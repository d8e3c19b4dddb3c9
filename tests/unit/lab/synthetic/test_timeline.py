import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.demo.scenes import COLORS, SHAPES
from pipeline.lab.synthetic.timeline import (
    FEWEST_APPEARANCES,
    MIN_GAP_FRAMES,
    MOST_APPEARANCES,
    TimelineSpec,
    draw_timeline,
)


@st.composite
def planned(draw):
    shortest = draw(st.integers(4, 20))
    share = draw(st.floats(0.005, 0.03))
    spec = TimelineSpec(
        needle_frames=(shortest, shortest + draw(st.integers(0, 60))),
        event_share=(share, share * draw(st.floats(1.0, 1.3))),
        distractor_density=draw(st.floats(0.0, 0.12)),
    )
    num_frames = draw(st.integers(16 * shortest, 12_000))
    try:
        spec.check_room(num_frames)
    except ValueError:
        num_frames = 12_000
    return spec, num_frames, draw_timeline(np.random.default_rng(draw(st.integers(0, 10**6))), spec, num_frames)


@settings(deadline=None, max_examples=150)
@given(planned())
def test_every_shape_keeps_to_its_role(case):
    spec, num_frames, plan = case
    asked = {*plan.needles, *plan.pairs, *plan.series, *plan.absent}
    assert [len(role) for role in (plan.needles, plan.pairs, plan.series, plan.absent, asked)] == [2, 2, 2, 1, 7]
    (distractor,) = set(SHAPES) - asked
    assert {event.shape for event in plan.events} <= {*plan.needles, *plan.pairs, *plan.series, distractor}
    needle_range, event_range = spec.needle_range(num_frames), spec.event_range(num_frames)
    for event in plan.events:
        low, high = event_range if event.shape in plan.series else needle_range
        assert low <= event.end_frame - event.start_frame <= high
        assert event.color in COLORS
    assert [len(plan.of_shape(shape)) for shape in (*plan.needles, *plan.pairs)] == [1, 1, 2, 2]
    counts = [len(plan.of_shape(shape)) for shape in plan.series]
    assert all(FEWEST_APPEARANCES <= count <= MOST_APPEARANCES for count in counts)
    shown = sum(e.end_frame - e.start_frame for e in plan.of_shape(distractor))
    wanted = int(spec.distractor_density * num_frames)
    assert wanted <= shown < wanted + needle_range[1] or shown == wanted == 0


@settings(deadline=None, max_examples=150)
@given(planned())
def test_objects_never_touch_and_a_shape_changes_colour_every_time(case):
    _, num_frames, plan = case
    assert plan.events[0].start_frame >= 0
    assert plan.events[-1].end_frame <= num_frames
    for before, after in itertools.pairwise(plan.events):
        assert after.start_frame - before.end_frame >= MIN_GAP_FRAMES
    for shape in (*plan.pairs, *plan.series):
        for before, after in itertools.pairwise(plan.of_shape(shape)):
            assert before.color != after.color


def test_the_same_seed_plans_the_same_video_and_another_seed_another():
    plans = [draw_timeline(np.random.default_rng(seed), TimelineSpec(), 2_000) for seed in (1, 1, 2)]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]


def test_events_fall_anywhere_in_the_video():
    starts = [
        event.start_frame / 2_000
        for seed in range(200)
        for event in draw_timeline(np.random.default_rng(seed), TimelineSpec(), 2_000).events
    ]
    counts, _ = np.histogram(starts, bins=5, range=(0, 1))
    assert counts.min() > 0.9 * counts.mean()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"needle_frames": (5, 4)}, "needle_frames must be"),
        ({"event_share": (0.0, 0.1)}, "event_share must be"),
        ({"distractor_density": 0.6}, "distractor_density must be in"),
    ],
)
def test_impossible_durations_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TimelineSpec(**changes)


@pytest.mark.parametrize(
    ("spec", "num_frames", "message"),
    [
        (TimelineSpec(needle_frames=(40, 64)), 500, "at least 640 for needles of 40"),
        (TimelineSpec(event_share=(0.1, 0.1)), 1_000, "may need 1410 for its objects"),
    ],
)
def test_videos_too_short_for_their_objects_are_refused(spec, num_frames, message):
    with pytest.raises(ValueError, match=message):
        spec.check_room(num_frames)


@pytest.mark.parametrize("num_frames", [500, 1_000, 10_000])
def test_the_usual_durations_fit_every_usual_length(num_frames):
    TimelineSpec().check_room(num_frames)
