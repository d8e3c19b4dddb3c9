"""Which groups show an event, against counting frame by frame."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.analysis.needle_groups import events_seen


@given(
    data=st.data(),
    num_frames=st.integers(1, 60),
    frames_per_patch=st.sampled_from([1, 2]),
    events=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 12)), max_size=3),
)
@settings(deadline=None, max_examples=100)
def test_an_event_is_seen_by_the_groups_of_its_frames(asked, data, num_frames, frames_per_patch, events):
    num_patches = -(-num_frames // frames_per_patch)
    num_groups = data.draw(st.integers(1, min(num_patches, 7)))
    visited = data.draw(st.permutations(range(num_groups)))
    question = asked(
        ",".join(["A 0.1"] * num_groups),
        num_frames=num_frames,
        duration_s=num_frames / 2,
        group_index_G=np.array(visited),
        references=tuple((first / 2, (first + length) / 2) for first, length in events),
    )
    expected = []
    for group in visited:
        frames = [f for f in range(num_frames) if (f // frames_per_patch) % num_groups == group]
        expected.append(sum(any(first <= f < first + length for f in frames) for first, length in events))
    assert events_seen(question, frames_per_patch=frames_per_patch).tolist() == expected


def test_a_video_thinned_to_its_cap_is_read_by_time(asked):
    question = asked("A 0.1, A 0.1", num_frames=4, duration_s=40.0, references=((19.0, 21.0),))
    assert events_seen(question, frames_per_patch=1).tolist() == [1, 0]  # frames at 0, 10, 20, 30 s
