"""Odd but good videos: whatever the container, codec and timing, frames and times equal a full sequential decode."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.backends.registry import AUTO_ORDER
from pipeline.video.decode import decode_stretch
from pipeline.video.probe import probe_video
from tests.unit.video.odd_videos import ODD_VIDEOS, NoEncoderError, decode_sequentially, make_odd_video

SAMPLE_VIDEOS = Path(__file__).parents[3] / "../shared/videos"
SAMPLES = sorted(
    path.name
    for path in SAMPLE_VIDEOS.glob("*")
    if path.is_file() and path.suffix != ".md" and path.name != "corrupted.mp4"
)
# There the reference places colors half a pixel aside; brightness is the same up to rounding.
OTHER_CONVERSION = {"ten_bit", "hevc_ten_bit", "h264_10bits.mp4", "h265_10bits.mp4"}
LEAST_PSNR_DB = 40.0
DECORD_REFUSES = {
    "open_gop": "keyframes are not the probe's",
    "hevc_open_gop": "keyframes are not the probe's",
    "mpeg4": "keyframes are not the probe's",
    "rotated_mkv": "rotation in mp4 and mov only",
    "ten_bit": "10-bit",
    "prores": "10-bit",
    "hevc_ten_bit": "10-bit",
    "av1": "decord failed",
    "av1_mp4": "decord failed",
    "mpeg2_ps": "decord presents frame 1 at 0",
    "avi": "decord presents frame 1 at 0",
    "mpeg2_ts": "wrong frames for MPEG-TS",
    "mpegts": "wrong frames for MPEG-TS",
    "edit_list": "decord counts 36 frames, the probe 30",
    "jump_cut": "decord counts 61 frames, the probe 38",
    "two_jump_cuts": "decord counts 97 frames, the probe 30",
    "shown_twice": "decord counts 50 frames, the probe 24",
    "second_half_first": "decord counts 61 frames, the probe 48",
}
BRIGHTNESS = np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def path_of(tmp_path_factory):
    """Name -> path of a video, made when it is first asked for."""
    folder, known = tmp_path_factory.mktemp("odd"), {}

    def find(name):
        if name in SAMPLES:
            return str(SAMPLE_VIDEOS / name)
        try:
            known[name] = known.get(name) or make_odd_video(name, folder)
        except NoEncoderError as error:
            pytest.skip(f"PyAV cannot write it: {error}")
        return known[name]

    return find


def psnr_db(left, right):
    error = np.mean((left.astype(np.float64) - right) ** 2)
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


@pytest.mark.parametrize("name", [*ODD_VIDEOS, *SAMPLES])
def test_random_frames_equal_a_sequential_decode_by_presentation_time(path_of, name):
    path = path_of(name)
    probe = probe_video(path)
    rng = np.random.default_rng(sum(name.encode()))
    wanted = np.sort(rng.choice(probe.num_frames, min(probe.num_frames, 9), replace=False))
    pts, reference = decode_sequentially(path, keep=set(wanted.tolist()).__contains__)
    assert probe.pts.tolist() == pts
    np.testing.assert_allclose(probe.pts_s, (np.array(pts) - pts[0]) * float(probe.time_base), rtol=0, atol=1e-9)
    for count in (len(wanted), 1):
        decoded = decode_stretch(probe, wanted[-count:])
        assert (decoded.decoder, decoded.bad_frames) == (AUTO_ORDER[0], ())
        if name in OTHER_CONVERSION:
            frames, expected = decoded.frames @ BRIGHTNESS, reference[-count:] @ BRIGHTNESS
            assert min(map(psnr_db, frames, expected)) >= LEAST_PSNR_DB
        else:
            np.testing.assert_array_equal(decoded.frames, reference[-count:])


@pytest.mark.parametrize("name", ODD_VIDEOS)
def test_decord_gives_the_same_frames_or_refuses(path_of, name):
    pytest.importorskip("decord")
    probe = probe_video(path_of(name))
    wanted = np.unique(np.linspace(0, probe.num_frames - 1, 12).astype(np.int64))
    expected = decode_stretch(probe, wanted, size=(48, 64), backend="pyav").frames
    if name in DECORD_REFUSES:
        with pytest.raises(PipelineError, match=DECORD_REFUSES[name]) as caught:
            decode_stretch(probe, wanted, backend="decord")
        assert caught.value.failure_class is FailureClass.UNSUPPORTED_MEDIA
    else:
        found = decode_stretch(probe, wanted, size=(48, 64), backend="decord")
        assert found.decoder == "decord"
        np.testing.assert_array_equal(found.frames, expected)
