import numpy as np
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.containers import Container
from pipeline.video.decode_plan import cut_stretches, frames_to_decode, is_read_through, plan_decode
from tests.unit.video.plan_fakes import interleaved, make_probe, plan


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


@pytest.mark.parametrize(
    ("max_frames", "expected"),
    [
        (20, [range(0, 4)]),  # everything fits
        (19, [range(0, 1), range(1, 2), range(2, 3), range(3, 4)]),  # 9 in half: not two of 6 and 4
        (12, [range(0, 1), range(1, 2), range(2, 3), range(3, 4)]),
        (10, [range(0, 1), range(1, 2), range(2, 3), range(3, 4)]),  # 6 is more than half: a pass of its own
        (6, [range(0, 1), range(1, 2), range(2, 3), range(3, 4)]),
    ],
)
def test_a_smaller_buffer_takes_the_fewest_passes_that_fit_half_of_it(max_frames, expected):
    # groups in visiting order have 6, 4, 6, 4 frames
    passes = plan(make_probe(100, [0]), np.arange(0, 100, 5), 4, max_frames=max_frames).passes
    assert [p.group_positions for p in passes] == expected


def test_several_groups_share_half_the_buffer():
    # ten groups of 4 frames; 30 fit the buffer, 15 half of it
    passes = plan(make_probe(100, [0]), np.arange(40), 10, max_frames=30).passes
    assert [p.group_positions for p in passes] == [range(0, 3), range(3, 6), range(6, 9), range(9, 10)]


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


@pytest.mark.parametrize(
    ("gop", "is_grown"),
    # 100 groups of 2 neighbouring frames; the passes are needed with 1, 0.92 and 0.6. GOP 1: 16 + 0.92 * 64 + 0.6 * 120
    # = 146.9 of 200 frames. GOP 20: the later passes read nearly every GOP to its end once more.
    [(1, True), (20, False)],
)
def test_growing_is_chosen_by_the_cost_that_is_expected_when_every_stop_is_as_likely(gop, is_grown):
    probe = make_probe(200, range(0, 200, gop))
    passes = plan(probe, np.arange(200), 100, growing=True).passes
    assert (len(passes) > 1) == is_grown


def test_growing_passes_keep_to_half_the_buffer():
    passes = plan(make_probe(400, range(400)), np.arange(400), 100, max_frames=80, growing=True).passes
    assert [p.group_positions for p in passes][:5] == [
        range(0, 8),
        range(8, 18),
        range(18, 28),
        range(28, 38),
        range(38, 40),
    ]
    assert max(p.num_frames for p in passes) == 40


@pytest.mark.parametrize(
    ("container", "after_index", "expected"),
    [
        (Container.ISO_BMFF, 19, True),  # the next frame
        (Container.ISO_BMFF, 11, True),  # 8 between
        (Container.ISO_BMFF, 10, False),
        (Container.ISO_BMFF, 20, False),  # behind
        (Container.MPEG_TS, 10, True),
        (Container.MPEG_TS, 20, False),
    ],
)
def test_a_later_gop_is_read_up_to_when_fewer_frames_lie_between_than_a_seek_costs(container, after_index, expected):
    probe = make_probe(30, [0, 20], container)
    assert is_read_through(probe, after_index=after_index, gop=1) is expected


def test_stretches_are_cut_at_keyframes_into_equal_costs():
    stretches = cut_stretches(make_probe(60, [0, 10, 20, 30]), np.array([9, 19, 29, 59]), num_stretches=2)
    assert [s.frame_indices.tolist() for s in stretches] == [[9, 19, 29], [59]]
    assert [(s.start_gop, s.stop_gop) for s in stretches] == [(0, 3), (3, 4)]
    assert [s.num_frames_to_decode for s in stretches] == [30, 30]


def test_a_stretch_holds_no_more_frames_than_allowed_unless_one_gop_does():
    wanted = np.array([0, 1, 2, 10, 11, 20, 30, 31, 32, 33, 34, 40])
    stretches = cut_stretches(make_probe(60, range(0, 60, 10)), wanted, num_stretches=1, max_frames=4)
    assert [s.frame_indices.tolist() for s in stretches] == [[0, 1, 2], [10, 11, 20], [30, 31, 32, 33, 34], [40]]
    assert [(s.start_gop, s.stop_gop) for s in stretches] == [(0, 1), (1, 3), (3, 4), (4, 5)]
    assert [s.num_frames_to_decode for s in stretches] == [3, 3, 5, 1]


@pytest.mark.parametrize(
    ("num_stretches", "max_frames", "sizes"),
    [
        (2, 40, [40, 40]),
        (2, 30, [30, 20, 30]),  # not 30 and 10, 30 and 10
        (3, 20, [20, 20, 20, 20]),  # not 20 and 10, 20 and 10, 20: each rest would cost the coordinator as much
        (8, 30, [10] * 8),
        (1, 0, [10] * 8),  # a frame is larger than a piece may be
    ],
)
def test_the_byte_bound_makes_more_pieces_that_are_equal(num_stretches, max_frames, sizes):
    probe = make_probe(80, range(0, 80, 10))
    stretches = cut_stretches(probe, np.arange(80), num_stretches=num_stretches, max_frames=max_frames)
    assert [len(s.frame_indices) for s in stretches] == sizes
    assert [s.start_gop for s in stretches[1:]] == [s.stop_gop for s in stretches[:-1]]


@pytest.mark.parametrize(
    "broken",
    [{"frame_bytes": 0}, {"frame_buffer_bytes": 0}, {"num_stretches": 0}, {"stretch_bytes": 0}, {"groups": []}],
)
def test_values_below_one_are_refused(broken):
    patches, groups = interleaved(10, 2)
    values = {"groups": groups, "frame_bytes": 1, "frame_buffer_bytes": 100, "num_stretches": 1} | broken
    with pytest.raises(ValueError, match="at least one group and positive sizes"):
        plan_decode(make_probe(10, [0]), np.arange(10), patches, growing=False, **values)
