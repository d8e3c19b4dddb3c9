"""Queries and reports over results in an S3 store (moto server), without a word of the credentials."""

import json

import fsspec
import pytest

from jobs.query import main
from jobs.report import main as report_main
from pipeline.results.views import open_database
from tests.unit.report.report_rows import make_row, make_video
from tests.unit.results.answer_rows import commit
from tests.unit.results.query_output_rows import write_output

OUTPUT = "s3://queried/some run"


@pytest.fixture(scope="module")
def options(s3_endpoint):
    """Storage options of a bucket with results."""
    options = {"endpoint_url": s3_endpoint, "key": "k", "secret": "hidden-secret"}
    fsspec.filesystem("s3", **options).mkdir("queried")
    write_output(OUTPUT, storage_options=options)
    return options


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT question_id FROM answers ORDER BY 1", ["id-a", "id-b", "id-c", "id-d"]),
        ("SELECT visit FROM groups WHERE question_id = 'id-a' ORDER BY 1", ["1", "2"]),
        ("SELECT start_s FROM evidence ORDER BY 1", ["1.0", "1.5", "8.0"]),
        ("SELECT question_id FROM failures", ["id-c"]),
        ("SELECT run_id FROM runs ORDER BY 1", ["r1", "r2"]),
    ],
)
def test_every_view_is_read_from_s3(options, capfdbinary, sql, found):
    assert main([OUTPUT, "--storage-options", json.dumps(options), "--format", "csv", sql]) == 0
    said = capfdbinary.readouterr()
    assert said.out.decode().splitlines()[1:] == found
    assert b"hidden" not in said.out + said.err


def test_an_open_database_sees_commits_that_come_later(options):
    later = "s3://queried/later"
    write_output(later, storage_options=options)
    filesystem = fsspec.filesystem("s3", **options)
    _, *moved = filesystem.glob("queried/later/answers/part-*.parquet")
    contents = {path: filesystem.cat_file(path) for path in moved}
    filesystem.rm(moved)
    with open_database(later, storage_options=options, num_threads=1) as connection:
        before = connection.execute("SELECT count(*) FROM answers").fetchone()[0]
        for path, content in contents.items():
            filesystem.pipe_file(path, content)
        assert before < connection.execute("SELECT count(*) FROM answers").fetchone()[0] == 4


def test_a_report_of_results_on_s3_keeps_its_pictures_and_itself_there(options, tmp_path, capsys):
    output, video = "s3://queried/reported", tmp_path / "v.mp4"
    make_video(video)
    rows = [make_row("a", video)]
    commit(output, rows, storage_options=options)
    storage = ["--no-video-links", "--storage-options", json.dumps(options)]
    assert report_main([output, *storage]) == 0
    video.unlink()
    assert report_main([output, "--html", str(tmp_path / "again.html"), *storage]) == 0
    filesystem = fsspec.filesystem("s3", **options)
    filesystem.invalidate_cache()
    page = filesystem.cat_file("queried/reported/report/index.html").decode()
    assert page.count('"data:image/webp') == 3
    assert (tmp_path / "again.html").read_text() == page
    assert len(filesystem.ls("queried/reported/report/thumbnails")) == 1
    said = capsys.readouterr()
    assert "hidden-secret" not in said.out + said.err + page


def test_an_address_without_results_is_named(options, capsys):
    assert main(["s3://queried/nothing", "--storage-options", json.dumps(options), "SELECT 1"]) == 2
    assert "s3://queried/nothing/answers holds no results" in capsys.readouterr().err
