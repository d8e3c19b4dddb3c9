"""The odd videos kept beside the repository; skipped where they are absent. The suite makes its own of each kind."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.sources import ReadingConfig
from pipeline.video.decode import decode_stretch
from pipeline.video.decode_plan import cut_stretches
from pipeline.video.probe import probe_video
from pipeline.video.sources import local_video

ODD = Path(__file__).parents[3] / "../shared/videos/odd"
pytestmark = pytest.mark.skipif(not ODD.is_dir(), reason="the folder of odd sample videos is not present")
NUMBERED = {  # name: seconds, numbers that are shown, what is warned of
    "joined_10x6.ts": (60, range(1500), "start over 9 times"),
    "jump_10h.ts": (8, range(200), "jump by more than an hour"),
    "mpeg4_all_sync.mp4": (8, range(200), None),
    "hevc_all_sync.mp4": (8, range(200), None),
    "intra_refresh.mp4": (12, range(300), None),
    "palette.avi": (2.4, range(60), None),
    "starts_mid_gop.ts": (19.52, range(112, 600), "begins between keyframes"),
    "starts_mid_packet.ts": (8, range(200), "middle of a transport packet"),
    "bframes.avi": (8, range(200), None),
    "xvid_packed.avi": (8, range(198), None),
    "picture_track_first.mov": (8, range(200), "one picture only"),
}
SHOWN = {  # name: seconds, frames, width, height
    "mirrored.mp4": (2, 50, 160, 128),
    "flipped.mp4": (2, 50, 160, 128),
    "transposed.mp4": (2, 50, 128, 160),
    "pixel_aspect.mp4": (2, 50, 228, 128),
    "long_last_picture.webm": (610, 11, 160, 128),
    "one_frame.wmv": (0.04, 1, 160, 128),
    "field_coded.ts": (0.28, 10, 352, 288),
}


def read_bars(frame):
    """The number: 16 cells, row by row, five in a row of four."""
    height, width = frame.shape[:2]
    cells = [frame[(2 * (bit // 5) + 1) * height // 8, (2 * (bit % 5) + 1) * width // 10].mean() for bit in range(16)]
    return sum(1 << bit for bit, value in enumerate(cells) if value > 125)


def read(name):
    with local_video(str(ODD / name), reading=ReadingConfig()) as path:
        return probe_video(path)


@pytest.mark.parametrize("name", NUMBERED)
def test_every_frame_shows_its_number_and_in_stretches_the_same(name):
    seconds, numbers, warning = NUMBERED[name]
    probe = read(name)
    whole = decode_stretch(probe, np.arange(probe.num_frames))
    assert whole.bad_frames == ()
    shown = [read_bars(frame) for frame in whole.frames]
    assert [number - shown[0] for number in shown] == [number - numbers[0] for number in numbers]
    assert probe.duration_s == pytest.approx(seconds, abs=0.05)
    assert [warning in found for found in probe.warnings] == ([True] if warning else [])
    for stretch in cut_stretches(probe, np.arange(0, probe.num_frames, 7), num_stretches=4):
        part = decode_stretch(probe, stretch.frame_indices)
        np.testing.assert_array_equal(part.frames, whole.frames[stretch.frame_indices])


@pytest.mark.parametrize("name", SHOWN)
def test_length_and_size_are_those_that_are_shown(name):
    probe = read(name)
    assert (round(probe.duration_s, 2), probe.num_frames, probe.width, probe.height) == SHOWN[name]
    assert decode_stretch(probe, np.arange(probe.num_frames)).bad_frames == ()


def test_an_encrypted_file_is_refused_as_such():
    with pytest.raises(PipelineError, match="is encrypted") as caught:
        read("encrypted.mp4")
    assert caught.value.failure_class is FailureClass.UNSUPPORTED_MEDIA
