"""A GOP of any length is cut into stretches of a bounded size, each frame decoded once where one decoder reads all."""

import numpy as np
import pytest

from pipeline.video.backends import pyav_through
from pipeline.video.decode import decode_stretch
from pipeline.video.decode_plan import LONG_GOP_FRAMES, cut_stretches, plan_decode
from pipeline.video.probe import probe_video
from tests.unit.video.numbered_videos import read_number, write_numbered
from tests.unit.video.odd_videos import remux
from tests.unit.video.plan_fakes import interleaved, make_probe

NUM_FRAMES = 580
LONG = {"b_frames.mp4": {}, "mpeg4.mkv": {"codec": "mpeg4"}, "mpegts.ts": {}, "avi.avi": {}}


@pytest.fixture(scope="module", params=LONG)
def long_video(request, tmp_path_factory):
    options = {"x264": "keyint=10000:min-keyint=10000"}
    if LONG[request.param]:
        options = {"codec": "mpeg4", "options": {"g": "600", "bf": "2"}}
    path = tmp_path_factory.mktemp("long") / request.param
    return probe_video(write_numbered(path, num_frames=NUM_FRAMES, **options))


def test_one_keyframe_in_three_hours_makes_stretches_of_a_bounded_size():
    num_frames, frame_bytes = 3 * 3600 * 25, 480_000
    sample = np.arange(0, num_frames, 25)
    patches, groups = interleaved(len(sample), 100)
    plan = plan_decode(
        make_probe(num_frames, [0]),
        sample,
        patches,
        groups,
        frame_bytes=frame_bytes,
        frame_buffer_bytes=8 * 1024**3,
        num_stretches=4,
        growing=False,
    )
    (one,) = plan.passes
    assert sum(len(stretch.frame_indices) for stretch in one.stretches) == len(sample)
    assert max(len(stretch.frame_indices) for stretch in one.stretches) * frame_bytes <= 128 * 1024**2
    assert sum(stretch.num_frames_to_decode for stretch in one.stretches) == sample[-1] + 1
    assert {(stretch.start_gop, stretch.stop_gop) for stretch in one.stretches} == {(0, 1)}


def test_only_long_gops_are_cut():
    for length, num_stretches in ((LONG_GOP_FRAMES, 1), (LONG_GOP_FRAMES + 1, 4)):
        stretches = cut_stretches(make_probe(length, [0]), np.arange(0, length), num_stretches=1, max_frames=100)
        assert len(stretches) == num_stretches


def test_pieces_show_their_frames_in_any_order_and_in_order_each_is_decoded_once(long_video):
    assert len(long_video.keyframe_indices) == 1
    wanted = np.arange(3, NUM_FRAMES, 9)
    pieces = [stretch.frame_indices for stretch in cut_stretches(long_video, wanted, num_stretches=1, max_frames=10)]
    assert len(pieces) == 7
    in_order = [decode_stretch(long_video, piece, size=(48, 80)) for piece in pieces]
    assert [read_number(frame) for one in in_order for frame in one.frames] == wanted.tolist()
    assert sum(one.num_frames_decoded for one in in_order) <= NUM_FRAMES
    for at in (5, 2, 3, 6, 0):
        again = decode_stretch(long_video, pieces[at], size=(48, 80))
        np.testing.assert_array_equal(again.frames, in_order[at].frames)
    assert all(one.bad_frames == () for one in in_order)


def test_pieces_of_two_videos_by_turns_are_those_of_each(tmp_path):
    options = {"num_frames": 400, "x264": "keyint=1000:min-keyint=1000"}
    probes = [probe_video(write_numbered(tmp_path / f"{first}.mp4", first=first, **options)) for first in (0, 10_000)]
    for start in (0, 150, 300):
        for probe, first in zip(probes, (0, 10_000), strict=True):
            shown = decode_stretch(probe, np.arange(start, start + 20)).frames
            assert [read_number(frame) for frame in shown] == list(range(first + start, first + start + 20))


def test_a_lost_frame_shows_the_one_before_whoever_asks(tmp_path):
    whole = write_numbered(tmp_path / "whole.mp4", num_frames=400, b_frames=0, x264="keyint=1000:min-keyint=1000")

    def damage(number, data):
        return b"\xff" * len(data) if number == 350 else data

    probe = probe_video(remux(whole, tmp_path / "damaged.mp4", damage=damage))
    decode_stretch(probe, np.arange(100))
    later = decode_stretch(probe, np.array([349, 350]))  # goes on
    pyav_through._kept.pop().close()
    alone = decode_stretch(probe, np.array([350]))  # begins anew
    np.testing.assert_array_equal(alone.frames[0], later.frames[1])
    assert (later.bad_frames, alone.bad_frames) == ((1,), (0,))
    assert read_number(alone.frames[0]) == 349


def test_a_file_that_was_replaced_is_opened_again(tmp_path):
    options = {"num_frames": 400, "x264": "keyint=1000:min-keyint=1000"}
    path = tmp_path / "video.mp4"
    probe = probe_video(write_numbered(path, **options))
    decode_stretch(probe, np.arange(10))
    path.unlink()
    probe = probe_video(write_numbered(path, first=20_000, **options))
    assert read_number(decode_stretch(probe, np.arange(20, 21)).frames[0]) == 20_020
