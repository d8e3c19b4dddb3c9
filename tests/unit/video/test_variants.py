"""Container x codec x fault: every frame shows the number that it must, alone as in the whole."""

from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.failures import PipelineError
from pipeline.video.probe import probe_video
from tests.unit.video.numbered_videos import cut_before_packet, join, numbers_of, write_numbered

_X265 = "keyint=12:min-keyint=12:scenecut=0:bframes=2:pools=1:log-level=none"
CODECS = {
    "h264": {},
    "h264_open": {"x264": "open-gop=1"},
    "h264_refresh": {"b_frames": 0, "x264": "intra-refresh=1"},
    "h264_interlaced": {"x264": "tff=1", "height": 128},
    "hevc": {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": _X265}},
    "mpeg4": {"codec": "mpeg4"},
    "mpeg2": {"codec": "mpeg2video"},
    "vp8": {"codec": "libvpx", "b_frames": 0},
    "vp9": {"codec": "libvpx-vp9"},
    "wmv2": {"codec": "wmv2", "b_frames": 0},
    "mjpeg": {"codec": "mjpeg", "b_frames": 0},
}
_COMMON = ("h264", "h264_open", "h264_refresh", "h264_interlaced", "hevc", "mpeg4", "mpeg2")
CONTAINERS = {
    "mp4": (*_COMMON, "vp9", "mjpeg"),
    "mov": ("h264", "h264_interlaced", "hevc", "mpeg4", "mpeg2", "mjpeg"),
    "mkv": (*_COMMON, "vp8", "vp9", "mjpeg"),
    "ts": (*_COMMON,),
    "avi": ("h264", "h264_open", "h264_refresh", "mpeg4", "mpeg2", "wmv2", "mjpeg"),
    "flv": ("h264", "h264_open", "h264_refresh"),
    "webm": ("vp8", "vp9"),
    "asf": ("h264", "mpeg4", "wmv2"),
    "mpg": ("mpeg2",),
}
NUM_FRAMES = 36
EXACT = [(container, codec) for container, codecs in CONTAINERS.items() for codec in codecs]


def make(path, codec, **options):
    return write_numbered(path, **{"num_frames": NUM_FRAMES, **CODECS[codec], **options})


def whole(folder, container, codec):
    return make(folder / f"whole.{container}", codec), [range(NUM_FRAMES)]


def rebuild(source, target, *, drop=(), without_keyframes=False, shift=None):
    """Copy the coded frames, some left out, without a word about keyframes, or from a frame on at another time."""
    with av.open(source) as read, av.open(str(target), "w") as out:
        stream = read.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in read.demux(stream) if packet.size):
            if number in drop:
                continue
            later = 0 if shift is None or number < shift[0] else int(shift[1] / stream.time_base)
            packet.pts, packet.stream = packet.pts + later, copy
            packet.dts = None if packet.dts is None else packet.dts + later
            packet.is_keyframe = True if without_keyframes else packet.is_keyframe
            out.mux(packet)
    return str(target)


def all_keyframes(folder, container, codec):
    """Every frame is said to be a keyframe."""
    plain = make(folder / f"plain.{container}", codec)
    return rebuild(plain, folder / f"claims.{container}", without_keyframes=True), [range(NUM_FRAMES)]


def begins_late(folder, container, codec):
    """The first five stored frames are missing."""
    plain = make(folder / f"plain.{container}", codec)
    return rebuild(plain, folder / f"late.{container}", drop=range(5)), [range(at, NUM_FRAMES) for at in range(9, 26)]


def joined(folder, container, codec):
    """Two clips that each begin at zero."""
    clips = [make(folder / f"clip{at}.{container}", codec, first=at * NUM_FRAMES) for at in (0, 1)]
    return join(folder / f"joined.{container}", *clips), [range(2 * NUM_FRAMES)]


def joined_late(folder, container, codec):
    """The second clip begins between keyframes."""
    clips = [make(folder / f"clip{at}.{container}", codec, first=at * NUM_FRAMES) for at in (0, 1)]
    late = cut_before_packet(clips[1], folder / f"late.{container}", 5)
    ends = [range(NUM_FRAMES + at, 2 * NUM_FRAMES) for at in range(9, 26)]
    return join(folder / f"joined.{container}", clips[0], late), [[*range(NUM_FRAMES), *end] for end in ends]


def jumps(folder, container, codec):
    """Ten hours pass between the 24th frame and the next."""
    plain = make(folder / f"plain.{container}", codec)
    return rebuild(plain, folder / f"jump.{container}", shift=(24, 36_000)), [range(NUM_FRAMES)]


def broken_packet(folder, container, codec):
    """The first transport packet lacks its first half."""
    path = Path(make(folder / f"plain.{container}", codec))
    path.write_bytes(path.read_bytes()[94:])
    return str(path), [range(NUM_FRAMES)]


STREAMED = ("ts", "mpg")
_NOT_REFRESHED = [(container, codec) for container, codec in EXACT if codec != "h264_refresh"]
FAULTS = {
    whole: EXACT,
    all_keyframes: [pair for pair in _NOT_REFRESHED if pair[0] in ("mp4", "mov", "mkv", "avi", "flv")],
    begins_late: [pair for pair in _NOT_REFRESHED if pair[0] in ("mkv", "ts", "flv") and pair[1] != "mjpeg"],
    joined: [pair for pair in EXACT if pair[0] in STREAMED],
    joined_late: [pair for pair in _NOT_REFRESHED if pair[0] == "ts"],
    jumps: [pair for pair in _NOT_REFRESHED if pair[0] == "ts"],
    broken_packet: [pair for pair in EXACT if pair[0] == "ts"],
}
VARIANTS = [(fault, *pair) for fault, pairs in FAULTS.items() for pair in pairs]


@pytest.mark.parametrize(
    ("fault", "container", "codec"), VARIANTS, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_no_variant_shows_a_wrong_frame(tmp_path, fault, container, codec):
    path, allowed = fault(tmp_path, container, codec)
    try:
        probe = probe_video(path)
    except PipelineError as error:
        pytest.fail(f"refused: {error.message}")
    found = numbers_of(probe)
    assert found in [list(numbers) for numbers in allowed]
    assert np.all(np.diff(probe.pts_s) > 0)
    assert probe.duration_s == pytest.approx(len(found) / 25, abs=0.25)
    assert bool(probe.warnings) == (fault in (begins_late, joined, joined_late, jumps, broken_packet))


def test_there_are_many_variants():
    assert len(VARIANTS) >= 100
