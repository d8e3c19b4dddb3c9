"""Files whose containers give pictures in another order than they are shown, or a time to what is no picture."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.probe import probe_video
from pipeline.video.timeline.h264_fields import FieldPairs
from tests.unit.video.mp4_boxes import rename_box, replace_payload
from tests.unit.video.numbered_videos import numbers_of, write_numbered

REORDERING = {
    "h264": {},
    "h264_pyramid": {"b_frames": 4, "x264": "b-pyramid=normal"},
    "mpeg4": {"codec": "mpeg4"},
    "mpeg2": {"codec": "mpeg2video"},
}


@pytest.mark.parametrize("codec", REORDERING)
def test_pictures_that_refer_to_later_ones_are_shown_in_order_from_an_avi(tmp_path, codec):
    probe = probe_video(write_numbered(tmp_path / "b.avi", **REORDERING[codec]))
    assert numbers_of(probe) == list(range(48))
    np.testing.assert_allclose(probe.pts_s, np.arange(48) / 25, rtol=0, atol=1e-9)
    assert probe.warnings == ()
    assert len(probe.keyframe_indices) >= 4


def test_an_avi_whose_pictures_come_in_order_keeps_its_own_times(tmp_path):
    probe = probe_video(write_numbered(tmp_path / "p.avi", b_frames=0))
    assert numbers_of(probe) == list(range(48))
    assert len(probe.packet_pts) == 0


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_gap_in_an_avi_lies_before_the_picture_that_ends_it(tmp_path, codec):
    ticks = [*range(20), *range(30, 40)]
    probe = probe_video(write_numbered(tmp_path / "g.avi", b_frames=0, codec=codec, ticks=ticks, num_frames=30))
    assert numbers_of(probe) == list(range(30))
    np.testing.assert_allclose(probe.pts_s * 25, ticks, rtol=0, atol=1e-9)
    assert probe.num_missing_frames == 0


@pytest.mark.parametrize("b_frames", [0, 2])
def test_pictures_without_a_time_lie_evenly_between_those_that_have_one(tmp_path, b_frames):
    path = write_numbered(tmp_path / "sparse.mpg", b_frames=b_frames, width=640, height=480)
    with av.open(path) as opened:
        assert sum(packet.pts is None for packet in opened.demux(video=0) if packet.size) > 10
    probe = probe_video(path)
    assert numbers_of(probe) == list(range(48))
    # of pictures out of order FFmpeg gives a time to a neighbour now and then
    np.testing.assert_allclose(probe.pts_s, np.arange(48) / 25, rtol=0, atol=0.09)


def test_times_in_the_order_of_decoding_are_put_in_the_order_of_display(tmp_path):
    path = tmp_path / "wrong.ts"
    with av.open(write_numbered(tmp_path / "right.ts")) as read, av.open(str(path), "w") as out:
        copy = out.add_stream_from_template(read.streams.video[0])
        for number, packet in enumerate(packet for packet in read.demux(video=0) if packet.size):
            packet.pts = packet.dts = number * 3600
            packet.stream = copy
            out.mux(packet)
    probe = probe_video(str(path))
    assert numbers_of(probe) == list(range(48))
    np.testing.assert_allclose(probe.pts_s, np.arange(48) / 25, rtol=0, atol=1e-6)


def test_pictures_that_are_never_shown_are_no_lost_frames(tmp_path):
    path = tmp_path / "hidden.mkv"
    with av.open(write_numbered(tmp_path / "plain.webm", codec="libvpx")) as read, av.open(str(path), "w") as out:
        copy = out.add_stream_from_template(read.streams.video[0])
        for packet in (packet for packet in read.demux(video=0) if packet.size):
            if packet.is_keyframe:
                hidden = av.Packet(bytes([bytes(packet)[0] & ~16]) + bytes(packet)[1:])
                hidden.pts, hidden.time_base = packet.pts - (20 if packet.pts else 0), packet.time_base
                hidden.dts, hidden.stream, hidden.is_keyframe = hidden.pts, copy, True
                if packet.pts:
                    out.mux(hidden)
            packet.stream = copy
            out.mux(packet)
    probe = probe_video(str(path))
    assert numbers_of(probe) == list(range(48))


@pytest.mark.parametrize(
    ("packets", "seconds"),
    [
        ([(0, 1, 0), (0, 1, 1), (1, 1, 0), (1, 1, 1)], [1, 3]),  # two frames of two fields each
        ([(0, 1, 1), (0, 1, 0)], [1]),  # bottom field first
        ([(0, 0, 0), (1, 0, 0)], []),  # frames
        ([(0, 1, 0), (1, 1, 0), (1, 1, 1)], [2]),  # one has lost its second field
        ([(2, 1, 0), (2, 1, 1), (2, 1, 0), (2, 1, 1)], [1, 3]),  # not referred to: the same number again
        ([(0, 1, 0), (1, 0, 0), (0, 1, 1)], []),
    ],
)
def test_a_second_field_belongs_to_the_frame_of_the_first(packets, seconds):
    sequence = bits("01000010" + "0" * 8 + "00011110" + "1" + "1" + "011" + "1" + "0" + "1" + "1" + "0")
    pairs = FieldPairs(b"\0\0\0\1\x67" + sequence)
    found = []
    for number, (frame_num, is_field, is_bottom) in enumerate(packets):
        field = f"{is_field}{is_bottom if is_field else ''}"
        if pairs.is_second(b"\0\0\0\1\x21" + bits(f"1{'1'}{'1'}{frame_num:04b}{field}1")):
            found.append(number)
    assert found == seconds


def bits(text):
    """Bits as bytes, ended as a payload is."""
    text += "1"
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8))


def test_frames_of_one_time_share_the_span_of_the_video(tmp_path):
    path = Path(write_numbered(tmp_path / "equal.mp4"))
    table, times = "moov/trak/mdia/minf/stbl", struct.pack(">IIII", 0, 1, 48, 0)
    plain = rename_box(rename_box(path.read_bytes(), f"{table}/ctts", b"free"), "moov/trak/edts", b"free")
    path.write_bytes(replace_payload(plain, f"{table}/stts", times))
    probe = probe_video(str(path))
    assert numbers_of(probe) == list(range(48))
    np.testing.assert_allclose(probe.pts_s, np.arange(48) / 25, rtol=0, atol=0.05)
    assert probe.warnings == ("47 of 48 frames have the time of another one; they are spread evenly",)


def test_times_that_run_backwards_fail_loudly(tmp_path):
    path = tmp_path / "backwards.mkv"
    with av.open(write_numbered(tmp_path / "plain.mkv", b_frames=0)) as read, av.open(str(path), "w") as out:
        copy = out.add_stream_from_template(read.streams.video[0])
        packets = [packet for packet in read.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            packet.pts, packet.dts, packet.stream = 5000 - 40 * number, 40 * number, copy
            out.mux(packet)
    with pytest.raises(PipelineError, match="times that run backwards") as caught:
        probe_video(str(path))
    assert caught.value.failure_class is FailureClass.CORRUPT_MEDIA


def test_frames_without_any_times_of_their_own_fail_loudly(tmp_path):
    path = write_numbered(tmp_path / "still.mkv", time_base=Fraction(1, 1000), ticks=[i // 4 for i in range(48)])
    with pytest.raises(PipelineError, match="of 48 frames the time of another one") as caught:
        probe_video(path)
    assert caught.value.failure_class is FailureClass.CORRUPT_MEDIA
