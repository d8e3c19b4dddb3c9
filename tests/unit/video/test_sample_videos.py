"""Real videos kept beside the repository; skipped where they are absent."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.sources import ReadingConfig
from pipeline.video.decode import decode_stretch
from pipeline.video.probe import probe_video
from pipeline.video.sources import local_video

SAMPLE_VIDEOS = Path(__file__).parents[3] / "../shared/videos"
pytestmark = pytest.mark.skipif(not SAMPLE_VIDEOS.is_dir(), reason="the folder of sample videos is not present")
SIZE = (84, 112)


def probe_sample(name):
    with local_video(str(SAMPLE_VIDEOS / name), reading=ReadingConfig()) as path:
        return probe_video(path)


@pytest.mark.parametrize(
    ("name", "num_frames", "duration_s", "width", "height", "num_keyframes"),
    [
        ("nasa_13013.mp4", 390, 13.013, 480, 270, 2),  # several streams: the best one, not the first
        ("bikes.mp4", 250, 10.0, 640, 272, 6),
        ("bigbuckbunny.mp4", 132, 5.28, 1280, 720, 1),
        ("flipping_a_pancake.mkv", 310, 10.333, 426, 240, 3),
    ],
)
def test_good_videos_probe_and_decode(name, num_frames, duration_s, width, height, num_keyframes):
    probe = probe_sample(name)
    assert (probe.num_frames, probe.width, probe.height) == (num_frames, width, height)
    assert len(probe.keyframe_indices) == num_keyframes
    assert probe.duration_s == pytest.approx(duration_s, abs=0.001)
    wanted = np.arange(5, 100, 19)
    fast = decode_stretch(probe, wanted, size=SIZE)
    slow = decode_stretch(probe, wanted, size=SIZE, backend="pyav")
    assert fast.frames.shape == (5, *SIZE, 3)
    assert fast.bad_frames == slow.bad_frames == ()
    assert fast.frames.std() > 15  # a picture, not a grey field
    np.testing.assert_array_equal(fast.frames, slow.frames)


@pytest.mark.parametrize(
    ("name", "rotation", "size"),
    [
        ("video_0.mov", 0, (320, 568)),
        ("video_90.mov", 270, (568, 320)),
        ("video_180.mov", 180, (320, 568)),
        ("video_270.mov", 90, (568, 320)),
    ],
)
def test_both_decoders_show_rotated_videos_upright(name, rotation, size):
    pytest.importorskip("decord")
    probe = probe_sample(name)
    assert (probe.rotation, probe.height, probe.width) == (rotation, *size)
    by_decord = decode_stretch(probe, np.arange(3), backend="decord")
    by_pyav = decode_stretch(probe, np.arange(3), backend="pyav")
    assert by_decord.frames.shape == (3, *size, 3)
    np.testing.assert_array_equal(by_decord.frames, by_pyav.frames)


def test_a_video_with_one_damaged_frame_is_decoded_around_it():
    probe = probe_sample("corrupted.mp4")
    assert probe.num_frames == 50
    decoded = decode_stretch(probe, np.arange(50), size=SIZE)
    assert (decoded.decoder, decoded.bad_frames) == ("pyav", (30, 32))  # the second refers to the first
    np.testing.assert_array_equal(decoded.frames[30], decoded.frames[29])
    assert not np.array_equal(decoded.frames[31], decoded.frames[30])


def test_hevc_with_open_gops_goes_to_pyav_because_decord_would_return_other_frames():
    pytest.importorskip("decord")
    probe = probe_sample("h265_video.mp4")
    with pytest.raises(PipelineError, match="keyframes are not the probe's") as caught:
        decode_stretch(probe, np.array([3]), backend="decord")
    assert caught.value.failure_class is FailureClass.UNSUPPORTED_MEDIA
    assert decode_stretch(probe, np.array([3])).decoder == "pyav"


@pytest.mark.parametrize("name", ["av1_video.mkv", "h264_10bits.mp4", "h265_10bits.mp4", "unordered.mov"])
def test_codecs_and_orders_that_are_unusual_decode_without_a_loss(name):
    probe = probe_sample(name)
    wanted = np.arange(0, probe.num_frames, 3)
    decoded = decode_stretch(probe, wanted, size=SIZE)
    assert decoded.bad_frames == ()
    whole = decode_stretch(probe, np.arange(probe.num_frames), size=SIZE, backend="pyav")
    np.testing.assert_array_equal(decoded.frames, whole.frames[wanted])


def test_a_text_file_beside_the_videos_is_refused():
    with pytest.raises(PipelineError, match="a text file"):
        probe_sample("README.md")
