"""Where decoding can start: what the container claims counts only where the picture, or a trial, agrees."""

import av
import numpy as np
import pytest

from pipeline.video.decode import decode_stretch
from pipeline.video.probe import probe_video
from pipeline.video.timeline.syntax import Start, read_picture
from tests.unit.video.numbered_videos import join, numbers_of, paint_number, rename_box, write_numbered

_X265 = "keyint=12:min-keyint=12:scenecut=0:pools=1:log-level=none"
INDEXED = {
    "h264": {},
    "h264_open": {"x264": "open-gop=1"},
    "mpeg4": {"codec": "mpeg4"},
    "mpeg2": {"codec": "mpeg2video"},
    "hevc": {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": _X265}},
    "vp9": {"codec": "libvpx-vp9"},
    "av1": {"codec": "libsvtav1", "b_frames": 0, "options": {"preset": "12"}},
    "mjpeg": {"codec": "mjpeg", "b_frames": 0},
}


@pytest.mark.parametrize("codec", INDEXED)
def test_without_a_list_of_keyframes_each_picture_says_what_it_is(tmp_path, codec):
    listed = write_numbered(tmp_path / "listed.mp4", **INDEXED[codec])
    expected = probe_video(listed)
    path = join(tmp_path / "unlisted.mp4", listed)
    if codec != "mjpeg":
        rename_box(path, b"stss", b"free")
    probe = probe_video(path)
    assert probe.keyframe_indices.tolist() == expected.keyframe_indices.tolist()
    assert numbers_of(probe) == list(range(48))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi", "flv"])
def test_a_picture_that_is_refreshed_bit_by_bit_is_decoded_from_where_it_is_whole(tmp_path, suffix):
    path = write_numbered(tmp_path / f"refresh.{suffix}", b_frames=0, x264="intra-refresh=1:keyint=10", num_frames=60)
    probe = probe_video(path)
    assert numbers_of(probe) == list(range(60))


CLAIMS = {
    "wmv2.asf": {"codec": "wmv2"},
    "wmv1.avi": {"codec": "wmv1"},
    "msmpeg4.avi": {"codec": "msmpeg4"},
    "flv1.flv": {"codec": "flv"},
    "h263.avi": {"codec": "h263", "width": 176, "height": 144},
    "theora.ogv": {"codec": "libtheora"},
    "ffv1.mkv": {"codec": "ffv1"},
    "huffyuv.avi": {"codec": "huffyuv", "pix_fmt": "yuv422p"},
    "qtrle.mov": {"codec": "qtrle", "pix_fmt": "rgb24"},
    "msvideo1.avi": {"codec": "msvideo1", "pix_fmt": "rgb555le"},
    "cinepak.avi": {"codec": "cinepak", "pix_fmt": "rgb24"},
    "svq1.mov": {"codec": "svq1", "pix_fmt": "yuv410p"},
    "zmbv.avi": {"codec": "zmbv", "pix_fmt": "bgr0"},
    "raw.avi": {"codec": "rawvideo", "pix_fmt": "bgr24"},
    "snow.avi": {"codec": "snow"},
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_codec_that_says_nothing_of_keyframes_is_tried(tmp_path, name):
    try:
        path = write_numbered(tmp_path / name, **{"b_frames": 0, **CLAIMS[name]})
    except av.codec.codec.UnknownCodecError as error:
        pytest.skip(f"PyAV cannot write it: {error}")
    probe = probe_video(path)
    assert numbers_of(probe) == list(range(48))


def write_palette(path, *, num_frames=40):
    """8-bit pictures; only the first packet of such a file carries its colours."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "pal8"
        palette = np.array([[255, shade, shade, shade] for shade in range(256)], dtype=np.uint8)
        for index in range(num_frames):
            shades = paint_number(index, width=160, height=96)[:, :, 0]
            frame = av.VideoFrame.from_ndarray((shades, palette), format="pal8")
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return str(path)


def test_a_palette_that_came_with_the_first_picture_makes_the_file_one_stretch(tmp_path):
    probe = probe_video(write_palette(tmp_path / "palette.avi"))
    assert numbers_of(probe) == list(range(40))
    assert probe.keyframe_indices.tolist() == [0]
    assert decode_stretch(probe, np.array([31])).frames.max() > 200


@pytest.mark.parametrize(
    ("codec", "data", "expected"),
    [
        ("h264", b"\0\0\1\x65\x88", Start.CLOSED),
        ("h264", b"\0\0\1\x41\x9a\x01", Start.NONE),
        ("h264", b"\0\0\1\x41\xb0\x01", Start.UNKNOWN),  # an I picture that nothing vouches for
        ("h264", b"\0\0\1\x06\x06\x01\xc4\x80\0\0\1\x41\xb0\x01", Start.OPEN),  # recovery point, at once
        ("h264", b"\0\0\1\x06\x06\x01\x24\x80\0\0\1\x41\x9a\x01", Start.NONE),  # some frames later
        ("h264", bytes(500), Start.UNKNOWN),
        ("hevc", b"\0\0\1\x26\x01\xaf", Start.CLOSED),
        ("hevc", b"\0\0\1\x2a\x01\xaf", Start.OPEN),
        ("hevc", b"\0\0\1\x02\x01\xd0", Start.NONE),
        ("mpeg4", b"\0\0\1\xb6\x10" + bytes(30), Start.OPEN),
        ("mpeg4", b"\0\0\1\xb6\x56" + bytes(30), Start.NONE),
        ("mpeg4", b"\0\0\1\xb6\x10", Start.NONE),  # too small for a picture
        ("mpeg2video", b"\0\0\1\xb8\0\0\0\x40\0\0\1\0\0\x08", Start.CLOSED),
        ("mpeg2video", b"\0\0\1\0\0\x08", Start.OPEN),
        ("mpeg2video", b"\0\0\1\0\0\x18", Start.NONE),
        ("vp8", b"\x10", Start.CLOSED),
        ("vp8", bytes(100), Start.UNKNOWN),  # nothing there
        ("vp8", b"\x11", Start.NONE),
        ("vp9", b"\x82\x49", Start.CLOSED),
        ("vp9", b"\x86\0", Start.NONE),
        ("prores", b"x", Start.CLOSED),
        ("wmv3", b"x", Start.UNKNOWN),
        ("h264", b"", Start.UNKNOWN),
        ("av1", b"\x0a\x01\0\x32\x01\x10", Start.CLOSED),
        ("av1", b"\x32\x01\x30", Start.NONE),
    ],
)
def test_what_a_picture_says_of_itself(codec, data, expected):
    assert read_picture(codec, data, None).start is expected
