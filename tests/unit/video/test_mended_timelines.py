"""Files whose times start over, jump, or begin too late: mended, with a warning, frame by frame."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.video.containers import Container, find_mpeg_ts
from pipeline.video.probe import probe_video
from pipeline.video.probe_codec import pack_probe, unpack_probe
from tests.unit.video.numbered_videos import cut_before_packet, join, numbers_of, write_numbered

CODECS = {
    "h264": {},
    "h264_no_b": {"b_frames": 0},
    "mpeg2": {"codec": "mpeg2video"},
    "hevc": {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "keyint=12:pools=1:log-level=none"}},
}
TEN_HOURS = 36_000 * 25


def clips(folder, suffix, sizes, **options):
    firsts = np.cumsum([0, *sizes])
    return [
        write_numbered(folder / f"clip{at}.{suffix}", first=int(first), num_frames=size, **options)
        for at, (first, size) in enumerate(zip(firsts, sizes, strict=False))
    ]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("suffix", ["ts", "mpg"])
def test_clips_that_each_start_over_are_laid_end_to_end(tmp_path, codec, suffix):
    if suffix == "mpg" and codec != "mpeg2":
        pytest.skip("FFmpeg writes only MPEG video to this container so that it can be read")
    path = join(tmp_path / f"joined.{suffix}", *clips(tmp_path, suffix, (30, 17, 25), **CODECS[codec]))
    probe = probe_video(path)
    assert numbers_of(probe) == list(range(72))
    slack_s = 0.001 if suffix == "ts" else 0.081  # there FFmpeg guesses the times of a clip's last frames
    np.testing.assert_allclose(probe.pts_s, np.arange(72) / 25, rtol=0, atol=slack_s)
    assert probe.duration_s == pytest.approx(72 / 25, abs=slack_s)
    assert probe.warnings == ("its times start over twice; the parts are laid end to end",)


def test_a_clip_that_begins_between_keyframes_joins_with_its_first_whole_picture(tmp_path):
    first, second = clips(tmp_path, "ts", (24, 36))
    path = join(tmp_path / "joined.ts", first, cut_before_packet(second, tmp_path / "late.ts", 5))
    probe = probe_video(path)
    assert numbers_of(probe) == [*range(24), *range(36, 60)]
    np.testing.assert_allclose(np.diff(probe.pts_s), 1 / 25, rtol=0, atol=0.001)


@pytest.mark.parametrize("suffix", ["ts", "flv"])
def test_a_jump_of_hours_is_closed(tmp_path, suffix):
    ticks = [*range(24), *range(TEN_HOURS, TEN_HOURS + 24)]
    path = write_numbered(tmp_path / f"jump.{suffix}", ticks=ticks, num_frames=48, b_frames=2 * (suffix == "ts"))
    probe = probe_video(path)
    assert probe.duration_s == pytest.approx(48 / 25, abs=0.05)
    assert probe.warnings == ("its times jump by more than an hour once; the gap is closed",)
    assert [number % 4096 for number in numbers_of(probe)] == list(range(48))


def test_a_pause_of_half_an_hour_is_time_that_passed(tmp_path):
    path = write_numbered(tmp_path / "pause.ts", ticks=[*range(24), *range(45_000, 45_024)], num_frames=48)
    probe = probe_video(path)
    assert (probe.duration_s, probe.warnings) == (pytest.approx(1800.96, abs=0.05), ())


@pytest.mark.parametrize("codec", CODECS)
def test_a_stream_that_begins_between_keyframes_starts_with_its_first_whole_picture(tmp_path, codec):
    whole = write_numbered(tmp_path / "whole.ts", **CODECS[codec])
    probe = probe_video(cut_before_packet(whole, tmp_path / "late.ts", 5))
    (warning,) = probe.warnings
    assert "begins between keyframes" in warning
    first = read_first = numbers_of(probe)[0]
    assert first in range(9, 15)
    assert numbers_of(probe) == list(range(read_first, 48))


@pytest.mark.parametrize("codec", ["h264", "mpeg2"])
def test_a_stream_that_begins_inside_a_packet_is_read_from_the_next_one_on(tmp_path, codec):
    whole = write_numbered(tmp_path / "whole.ts", **CODECS[codec])
    content = Path(whole).read_bytes()
    path = tmp_path / "late.ts"
    path.write_bytes(content[50:])
    probe = probe_video(str(path))
    assert (find_mpeg_ts(content[50:]), probe.container) == (138, Container.MPEG_TS)
    assert numbers_of(probe) == list(range(48))
    assert probe.warnings == ("it begins in the middle of a transport packet, and is read from the next one on",)


def test_mended_times_survive_being_packed(tmp_path):
    probe = probe_video(join(tmp_path / "joined.ts", *clips(tmp_path, "ts", (13, 14))))
    copy = unpack_probe(pack_probe(probe), path=probe.path)
    assert copy.warnings == probe.warnings
    assert numbers_of(copy) == list(range(27))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_picture_that_stays_for_hours_is_kept_and_told(tmp_path, suffix):
    ticks = [*range(24), *range(TEN_HOURS, TEN_HOURS + 24)]
    probe = probe_video(write_numbered(tmp_path / f"pause.{suffix}", ticks=ticks, num_frames=48, b_frames=0))
    assert probe.duration_s == pytest.approx(36_001, abs=0.2)
    (warning,) = probe.warnings
    assert warning.startswith("its picture stands still for 10.0 h at 1 s")


@pytest.mark.parametrize("sizes", [(30, 17), (10, 100), (17, 30, 25)])
def test_an_flv_behind_another_one_is_told(tmp_path, sizes):
    """FFmpeg ends with the first."""
    parts = clips(tmp_path, "flv", sizes)
    probe = probe_video(join(tmp_path / "joined.flv", *parts))
    assert numbers_of(probe) == list(range(sizes[0]))
    assert probe.warnings == (
        "another recording follows it in the same file and is not read; copy each into a file of its own",
    )
    assert probe_video(parts[0]).warnings == ()
