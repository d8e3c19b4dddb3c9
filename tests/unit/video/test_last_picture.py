"""How long a video lasts where its last picture, or its only one, stays."""

import struct
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.probe import probe_video
from tests.unit.video.hostile_containers import set_contents
from tests.unit.video.numbered_videos import numbers_of, write_numbered


def slides(path, **options):
    """Ten pictures, one a second."""
    ticks = [1000 * number for number in range(10)]
    return write_numbered(path, ticks=ticks, time_base=Fraction(1, 1000), num_frames=10, b_frames=0, **options)


def announce(path, seconds):
    """Let a Matroska file say how long it lasts."""
    content = set_contents(Path(path).read_bytes(), 0x4489, lambda _, old: struct.pack(">d", seconds * 1000))
    Path(path).write_bytes(content)
    return path


@pytest.mark.parametrize(("suffix", "codec"), [("webm", "libvpx-vp9"), ("mkv", "libx264"), ("mkv", "mpeg4")])
def test_a_last_picture_stays_as_long_as_a_whole_file_says(tmp_path, suffix, codec):
    probe = probe_video(announce(slides(tmp_path / f"slides.{suffix}", codec=codec), 610))
    assert (probe.num_frames, probe.num_missing_frames, probe.warnings) == (10, 0, ())
    assert probe.duration_s == pytest.approx(610, abs=0.001)
    assert numbers_of(probe) == list(range(10))


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_half_a_file_that_says_so_is_cut_off(tmp_path, cut):
    path = announce(slides(tmp_path / "slides.mkv"), 610)
    Path(path).write_bytes(Path(path).read_bytes()[:-cut])
    with pytest.raises(PipelineError, match="is cut off") as caught:
        probe_video(path)
    assert caught.value.failure_class is FailureClass.CORRUPT_MEDIA


@pytest.mark.parametrize(
    "name", ["one.asf", "one.wmv", "one.avi", "one.mkv", "one.mp4", "one.ts", "one.flv", "one.mpg"]
)
def test_a_video_of_one_picture_lasts_a_moment(tmp_path, name):
    codec = {"asf": "wmv2", "wmv": "wmv2"}.get(name[-3:], "libx264")
    probe = probe_video(write_numbered(tmp_path / name, first=5, num_frames=1, b_frames=0, codec=codec))
    assert numbers_of(probe) == [5]
    assert 0.001 <= probe.duration_s <= 1
