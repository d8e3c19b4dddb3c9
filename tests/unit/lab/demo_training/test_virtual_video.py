import numpy as np
import pytest

from pipeline.lab.demo_training.event_styles import draw_encore_style, draw_review_style
from pipeline.lab.demo_training.virtual_video import VirtualVideo, draw_group, events_by_group, is_latest, shows_focus
from pipeline.lab.synthetic.timeline import TimelineSpec, draw_timeline


@pytest.fixture(params=[1, 2, 3])
def video(request):
    plan = draw_timeline(np.random.default_rng(request.param), TimelineSpec(), 2_000)
    event_P = np.full(1_000, -1)
    for index, event in enumerate(plan.events):
        event_P[event.start_frame // 2 : -(-event.end_frame // 2)] = index
    return VirtualVideo(plan=plan, num_groups=32, event_P=event_P)


def seen_by(video, group, shape):
    """Numbers of the events of one shape on a group's patches, in order of time."""
    return [
        int(event)
        for event in video.event_P[group :: video.num_groups]
        if event >= 0 and video.plan.events[event].shape == shape
    ]


def test_groups_are_known_by_how_many_of_the_asked_events_they_show(video):
    for shape in (*video.plan.pairs, *video.plan.series, *video.plan.absent):
        wanted = [len(set(seen_by(video, group, shape))) for group in range(video.num_groups)]
        assert events_by_group(video, shows_focus(video, (shape,))).tolist() == wanted


def test_the_latest_patches_of_a_group_show_the_last_event_that_it_shows(video):
    patches = np.arange(7, 1_000, 3)
    for shape in video.plan.series:
        latest = is_latest(video, patches, shows_focus(video, (shape,))[patches])
        of_group: dict[int, int] = {}
        for patch in patches:
            event = int(video.event_P[patch])
            if event >= 0 and video.plan.events[event].shape == shape:
                of_group[patch % 32] = event
        wanted = [int(video.event_P[patch]) == of_group.get(patch % 32) for patch in patches]
        assert latest.tolist() == wanted
        assert 0 < sum(wanted) < len(wanted)


def test_half_of_the_groups_drawn_surely_show_something_of_what_is_asked(video):
    rng = np.random.default_rng(0)
    shape = min(video.plan.needles, key=lambda name: len(video.plan.of_shape(name)))
    shows = events_by_group(video, shows_focus(video, (shape,))) > 0
    drawn = [draw_group(rng, video, (shape,)) for _ in range(600)]
    assert np.mean(shows[drawn]) == pytest.approx(0.5 + 0.5 * shows.mean(), abs=0.07)
    assert len({draw_group(rng, video, video.plan.absent) for _ in range(400)}) == video.num_groups


def test_review_has_larger_passes_and_the_encore_the_budget_of_a_run():
    rng = np.random.default_rng(0)
    reviewed, encored = ([draw(rng) for _ in range(800)] for draw in (draw_review_style, draw_encore_style))
    small, large = (
        [style.num_tokens for style in styles if style.view == "final" and not style.is_tiny]
        for styles in (encored, reviewed)
    )
    assert max(large) > 100
    assert np.mean(np.array(small) == 16) == pytest.approx(0.5 + 0.5 * np.mean(np.array(large) == 16), abs=0.08)
    assert {style.late_share for style in encored} == {0.7}
    assert {style.late_share for style in reviewed} == {0.0}
