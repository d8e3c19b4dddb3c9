"""What a page may play, and what it never names."""

from pathlib import Path

import pytest

from jobs.report import main
from pipeline.report.video_links import LONGEST_S, LinkOptions, link_videos, media_sources
from pipeline.results.keys import video_fingerprint
from tests.unit.report.report_rows import make_row, make_video, write_run
from tests.unit.report.test_report_job import Page

KEYS = {"key": "AKIA", "secret": "very-secret", "client_kwargs": {"region_name": "eu-west-1"}}


def test_a_file_is_played_as_long_as_it_is_the_one_that_was_answered_about(tmp_path):
    path = make_video(tmp_path / "a ride#1.mp4")
    video = str(path), video_fingerprint(str(path))
    found = link_videos(
        [video, (str(path), "other"), (str(path), None), (str(tmp_path / "gone.mp4"), "f")], LinkOptions()
    )
    assert found == {video: f"file://{tmp_path}/a%20ride%231.mp4"}
    assert media_sources(found.values()) == {"file:"}
    assert link_videos([video], LinkOptions(are_files_linked=False)) == {}


def test_an_object_is_signed_only_when_that_is_asked_for():
    video = "s3://bucket/v000.mp4", "f"
    assert link_videos([video], LinkOptions(), storage_options=KEYS) == {}
    (address,) = link_videos([video], LinkOptions(signed_for_s=600), storage_options=KEYS).values()
    assert "bucket" in address
    assert "v000.mp4?" in address
    assert "X-Amz-Expires=600" in address
    assert "very-secret" not in address
    (source,) = media_sources([address])
    assert source.startswith("https://")
    assert "?" not in source


@pytest.mark.parametrize("seconds", [0, LONGEST_S + 1])
def test_addresses_last_a_second_to_a_week(seconds):
    with pytest.raises(ValueError, match=f"got {seconds}"):
        LinkOptions(signed_for_s=seconds)


def test_the_page_names_the_file_unless_told_not_to(tmp_path):
    video = Path(make_video(tmp_path / "ride.mp4"))
    write_run(tmp_path, [make_row("a", video)])
    page = tmp_path / "page.html"
    assert main([str(tmp_path), "--html", str(page)]) == 0
    assert Page(page.read_text()).data("detail-0")["video_url"] == video.as_uri()
    assert main([str(tmp_path), "--html", str(page), "--no-video-links"]) == 0
    assert Page(page.read_text()).data("detail-0")["video_url"] is None
    assert "media-src" not in page.read_text().partition("<style>")[0]
