"""Pictures of evidence: the right frame, kept beside the answers, and a reason where there is none."""

import io
import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.report.thumbnails import WIDTH, ThumbnailMaker
from pipeline.results.keys import video_fingerprint
from pipeline.settings.sources import ReadingConfig
from tests.unit.report.report_rows import brightness_of, make_video
from tests.unit.video.odd_videos import FPS


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("video") / "v.mp4")


def make(output, uri, fingerprint, starts_s):
    with closing(ThumbnailMaker(str(output), reading=ReadingConfig())) as maker:
        return maker.make(str(uri), fingerprint, starts_s)


def brightness(image):
    pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))
    assert pixels.shape == (round(WIDTH * 64 / 96), WIDTH, 3)
    return float(pixels.mean())


def test_a_picture_shows_the_frame_on_show_at_its_time(video, tmp_path):
    found = make(tmp_path, video, video_fingerprint(video), [0.0, 1.0, 2.45, 5.9])
    assert found.reason is None
    for start_s, image in found.images.items():
        assert brightness(image) == pytest.approx(brightness_of(int(start_s * FPS + 1e-6)), abs=3)


def test_a_second_report_needs_no_video_and_adds_only_what_is_new(video, tmp_path):
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(Path(video).read_bytes())
    fingerprint = video_fingerprint(str(copy))
    first = make(tmp_path / "out", copy, fingerprint, [1.0])
    second = make(tmp_path / "out", copy, fingerprint, [1.0, 3.0])
    copy.unlink()
    third = make(tmp_path / "out", copy, fingerprint, [3.0, 1.0])
    assert third.images == second.images == first.images | {3.0: second.images[3.0]}
    assert third.reason is None
    fourth = make(tmp_path / "out", copy, fingerprint, [1.0, 5.0])
    assert (set(fourth.images), "there is no video at" in fourth.reason) == ({1.0, 3.0}, True)


def test_a_video_that_was_changed_since_is_not_shown(video, tmp_path):
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(Path(video).read_bytes())
    fingerprint = video_fingerprint(str(copy))
    os.utime(copy, (1, 1))
    found = make(tmp_path, copy, fingerprint, [1.0])
    assert (found.images, found.reason) == ({}, f"{copy} was changed since it was answered")


def test_a_reason_carries_no_credentials(tmp_path):
    found = make(tmp_path, "https://user:secret@host/v.mp4?sig=hidden", "f", [1.0])
    assert found.images == {}
    assert "allow_http" in found.reason
    assert "secret" not in found.reason
    assert "hidden" not in found.reason


def test_a_broken_store_of_pictures_is_made_again(video, tmp_path):
    fingerprint = video_fingerprint(video)
    first = make(tmp_path, video, fingerprint, [1.0])
    (path,) = tmp_path.glob("report/thumbnails/*.parquet")
    path.write_bytes(b"PAR1 broken")
    assert make(tmp_path, video, fingerprint, [1.0]).images == first.images


def test_a_folder_that_cannot_be_written_still_has_a_report(video, tmp_path):
    (tmp_path / "report").write_text("a file where the folder would be")
    found = make(tmp_path, video, video_fingerprint(video), [1.0])
    assert list(found.images) == [1.0]


def test_a_video_that_was_never_identified_is_not_read(video, tmp_path):
    assert "could not be identified" in make(tmp_path, video, None, [1.0]).reason
