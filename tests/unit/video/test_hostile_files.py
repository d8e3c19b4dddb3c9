"""Hostile and broken files through the real reading path: each ends as it must and reaches nothing but itself."""

import os
import time
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.sources import ReadingConfig
from pipeline.video.containers import identify_container
from pipeline.video.decode import check_bad_share, decode_stretch
from pipeline.video.isolated import IsolatedReader
from pipeline.video.probe import probe_video
from pipeline.video.sources import local_video
from pipeline.video.timeline.packets import demux_stream
from tests.unit.video.hostile_files import make_hostile_files
from tests.unit.video.hostile_mp4 import OK, WARNED
from tests.unit.video.tripwires import SECRET_MARK, tripwires

DEADLINE_S = 10.0
READING = ReadingConfig(decode_timeout_s=DEADLINE_S, decode_memory_bytes=512 * 1024**2)
MAX_BAD_SHARE = 0.05
NO_FRAMES = np.zeros((0, 1, 1, 3), dtype=np.uint8)
pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")


@pytest.fixture(scope="module")
def wires(tmp_path_factory):
    with tripwires(tmp_path_factory.mktemp("secret")) as armed:
        yield armed


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, wires):
    folder = tmp_path_factory.mktemp("h")
    return make_hostile_files(folder, server_url=wires.server_url, secret_path=wires.secret_path)


def read(uri, probe_one, decode_some):
    """(outcome, message, frames) of 24 frames of one video, as a job reads it."""
    try:
        with local_video(uri, reading=READING) as path:
            probe = probe_one(path)
            wanted = np.unique(np.linspace(0, probe.num_frames - 1, 24).astype(np.int64))
            decoded = decode_some(probe, wanted)
        num_bad = len(decoded.bad_frames)
        check_bad_share(probe, num_bad=num_bad, num_wanted=len(wanted), max_bad_frames_share=MAX_BAD_SHARE)
    except PipelineError as error:
        return str(error.failure_class), error.message, NO_FRAMES
    return WARNED if num_bad + probe.num_missing_frames + len(probe.warnings) else OK, "", decoded.frames


def check_wires(wires, message, frames):
    assert wires.requests == []
    assert not wires.secret_was_read()
    assert SECRET_MARK.decode() not in message
    assert not wires.shows_secret(frames)


def test_every_hostile_file_ends_within_its_deadline_as_it_must(hostile, wires):
    reader = IsolatedReader(READING, max_bad_frames_share=MAX_BAD_SHARE)
    surprises = {}
    try:
        for file in hostile:
            started = time.monotonic()
            outcome, message, frames = read(file.uri, reader.probe, lambda p, w: reader.decode(p, w, size=(56, 84)))
            assert time.monotonic() - started < DEADLINE_S + 2, file
            check_wires(wires, message, frames)
            if outcome not in file.expected:
                surprises[file.name] = (outcome, sorted(file.expected), file.why, message)
    finally:
        reader.close()
    assert surprises == {}


def test_no_redirection_is_followed_even_where_the_reading_process_has_a_network(hostile, wires):
    """Here, in this process, nothing but the demuxer's own restraint stands between a file and the server."""
    names = [file.name for file in hostile if "_to_se" in file.name or file.name.startswith(("scheme", "protocol"))]
    assert len(names) > 60
    for file in hostile:
        if file.name in names:
            outcome, message, frames = read(file.uri, probe_video, lambda p, w: decode_stretch(p, w, size=(56, 84)))
            assert outcome in file.expected, file
            check_wires(wires, message, frames)


def test_no_file_may_end_as_an_internal_error_or_by_its_deadline(hostile):
    names = {file.name for file in hostile}
    assert len(names) == len(hostile) >= 60
    allowed = {*map(str, FailureClass), OK, WARNED} - {"internal", "decode_timeout", "worker_lost"}
    assert {outcome for file in hostile for outcome in file.expected} <= allowed


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("png.mp4", "a PNG picture"),
        ("jpeg.mp4", "a JPEG picture"),
        ("zip.mp4", "a zip archive"),
        ("elf.mp4", "a program"),
        ("stream_h264.mp4", "a bare stream without a container"),
        ("html.mp4", "a text file"),
        ("hls_bom_to_secret.mp4", "an HLS playlist"),
        ("ffconcat_to_server.mp4", "an FFmpeg concat script"),
        ("dash_to_secret.mp4", "a DASH manifest"),
        ("sdp_to_server.mp4", "an SDP description"),
        ("noise.mp4", "an unknown format"),
    ],
)
def test_a_refusal_says_what_the_file_is_but_shows_nothing_of_it(hostile, name, finding):
    (file,) = (file for file in hostile if file.name == name)
    with pytest.raises(PipelineError, match=f"is {finding}.*, not a video file") as caught:
        identify_container(file.uri)
    assert Path(file.uri).read_bytes()[:8].hex(" ") not in caught.value.message


@pytest.mark.parametrize(
    ("name", "num_missing"),
    [("fast_cut_by_2_frames.mp4", 2), ("cut_97.mkv", 0), ("good_with_tail.mkv", 0), ("cut_50.ts", 0)],
)
def test_frames_that_a_cut_off_file_announces_are_counted(hostile, name, num_missing):
    (file,) = (file for file in hostile if file.name == name)
    assert probe_video(file.uri).num_missing_frames == num_missing


@pytest.mark.parametrize("name", ["cut_50.mkv", "cut_50.webm", "middle_zeros.mkv", "index_beyond.avi"])
def test_half_a_file_is_taken_for_a_whole_one_only_when_that_is_allowed(hostile, name):
    (file,) = (file for file in hostile if file.name == name)
    with pytest.raises(PipelineError, match="is cut off") as caught:
        probe_video(file.uri)
    assert caught.value.failure_class is FailureClass.CORRUPT_MEDIA
    probe = probe_video(file.uri, max_missing_share=0.99)
    assert probe.num_frames + probe.num_missing_frames == 48


def test_a_stream_that_begins_in_the_middle_of_a_file_ends_it_without_an_error():
    class Opened:
        def demux(self, stream):
            yield from (f"{stream} 1", f"{stream} 2")
            raise IndexError("list index out of range")  # as PyAV 18.1 does

    assert list(demux_stream(Opened(), "video")) == ["video 1", "video 2"]


def test_sound_that_outlasts_the_picture_is_no_missing_picture(tmp_path):
    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as out:
        picture, sound = out.add_stream("mpeg4", rate=25), out.add_stream("pcm_s16le", rate=16_000)
        picture.width, picture.height, picture.pix_fmt = 96, 64, "yuv420p"
        for _ in range(10):
            out.mux(picture.encode(av.VideoFrame(96, 64, "yuv420p")))
        out.mux(picture.encode())
        for number in range(40):  # 2.56 s
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.int16), format="s16", layout="mono")
            samples.sample_rate, samples.pts = 16_000, number * 1024
            out.mux(sound.encode(samples))
        out.mux(sound.encode())
    probe = probe_video(str(path))
    assert (probe.num_frames, probe.num_missing_frames) == (10, 0)


@pytest.mark.parametrize("target", ["secret", "server"])
def test_the_tripwires_work_because_ffmpeg_left_to_itself_does_follow(tmp_path, target):
    with tripwires(tmp_path) as wires:
        before = wires.secret_was_read(), list(wires.requests)
        playlist = tmp_path / "video.mp4"
        address = wires.secret_path if target == "secret" else f"{wires.server_url}/video.ts"
        playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.0,\n{address}\n#EXT-X-ENDLIST\n")
        options = {"allowed_extensions": "ALL", "protocol_whitelist": "file,http,tcp"}
        with av.open(str(playlist), format="hls", options=options) as opened:
            frame = next(opened.decode(video=0))
        assert before == (False, [])
        assert wires.shows_secret(frame.to_ndarray(format="rgb24")[None])
        if target == "server":
            assert wires.requests[0].startswith(b"GET /video.ts")
        elif "noatime" not in Path("/proc/mounts").read_text():
            assert wires.secret_was_read()
