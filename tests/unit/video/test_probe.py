import av
import numpy as np
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.orientation import display_size
from pipeline.video.probe import probe_video

ALL = [
    "b_frames",
    "odd_size",
    "vfr",
    "late_start",
    "late_start_mkv",
    "mkv",
    "mpegts",
    "avi",
    "flv",
    "rotated",
    "open_gop",
    "ten_bit",
    "ffv1",
    "edit_list",
]


@pytest.mark.parametrize("name", ALL)
def test_the_probe_counts_and_times_exactly_the_frames_that_decoding_presents(videos, decode_sequentially, name):
    probe = probe_video(videos[name])
    pts, images = decode_sequentially(videos[name])
    assert probe.pts.tolist() == pts
    assert probe.pts_s[0] == 0.0
    np.testing.assert_allclose(probe.pts_s, (np.array(pts) - pts[0]) * float(probe.time_base), rtol=0, atol=1e-12)
    assert (probe.height, probe.width) == images.shape[1:3]


@pytest.mark.parametrize("name", ["b_frames", "late_start", "late_start_mkv", "mkv", "mpegts", "avi", "flv", "rotated"])
def test_a_constant_rate_video_of_48_frames_at_25_fps_lasts_1_92_seconds_from_zero(videos, name):
    probe = probe_video(videos[name])
    assert probe.duration_s == pytest.approx(1.92, abs=0.0015)
    assert probe.is_constant_rate
    np.testing.assert_allclose(probe.pts_s, np.arange(48) / 25, rtol=0, atol=0.0011)
    assert probe.keyframe_indices.tolist() == [0, 12, 24, 36]


def test_variable_frame_rate_keeps_its_times(videos, vfr_ticks):
    probe = probe_video(videos["vfr"])
    np.testing.assert_allclose(probe.pts_s, np.array(vfr_ticks) / 1000, rtol=0, atol=1e-4)
    assert not probe.is_constant_rate


def test_an_edit_list_hides_its_frames_and_time_starts_behind_it(videos):
    probe = probe_video(videos["edit_list"])
    # 18 frames hidden: 30 remain; the hidden keyframe at frame 12 still starts the first GOP, 6 frames before 0
    np.testing.assert_allclose(probe.pts_s, np.arange(30) / 25, rtol=0, atol=1e-9)
    assert probe.keyframe_indices.tolist() == [0, 6, 18]
    assert (probe.keyframe_pts[0] - probe.pts[0]) * float(probe.time_base) == pytest.approx(-6 / 25)


def test_rotation_turns_the_display_size(videos):
    probe = probe_video(videos["rotated"])
    assert (probe.rotation, probe.width, probe.height) == (90, 64, 96)
    assert probe_video(videos["b_frames"]).rotation == 0


@pytest.mark.parametrize(
    ("rotation", "expected"), [(0, (640, 360)), (90, (360, 640)), (180, (640, 360)), (270, (360, 640))]
)
def test_display_size(rotation, expected):
    assert display_size(640, 360, rotation) == expected


def test_codec_and_bit_depth_are_those_of_the_stream(videos):
    assert [(p.codec, p.bit_depth) for p in map(probe_video, (videos["ten_bit"], videos["b_frames"]))] == [
        ("h264", 10),
        ("h264", 8),
    ]


@pytest.mark.parametrize(
    ("name", "failure_class", "finding"),
    [
        ("audio_only", FailureClass.UNSUPPORTED_MEDIA, "no video stream"),
        ("no_index", FailureClass.CORRUPT_MEDIA, "cannot be read"),
        ("cut_off", FailureClass.CORRUPT_MEDIA, r"cut off: \d+ of 48 frames"),
    ],
)
def test_broken_files_are_refused_with_their_class(broken_files, name, failure_class, finding):
    with pytest.raises(PipelineError, match=finding) as caught:
        probe_video(broken_files[name])
    assert caught.value.failure_class is failure_class


def test_a_cut_off_file_is_accepted_when_the_allowed_share_covers_the_loss(broken_files):
    probe = probe_video(broken_files["cut_off"], max_missing_share=0.6)
    assert 0 < probe.num_missing_frames < 30
    assert probe.num_missing_frames + probe.num_frames == 48


def test_gop_of_names_the_last_keyframe_at_or_before_a_frame(videos):
    probe = probe_video(videos["b_frames"])
    assert probe.gop_of(np.array([0, 11, 12, 35, 47])).tolist() == [0, 0, 1, 2, 3]


def test_a_title_in_another_encoding_ends_no_reading(tmp_path):
    path = tmp_path / "latin.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "?" * 8
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height = 64, 48
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode())
    content = path.read_bytes()
    assert b"?" * 8 in content
    path.write_bytes(content.replace(b"?" * 8, b"\xe9" * 8))
    assert probe_video(str(path)).num_frames == 5
