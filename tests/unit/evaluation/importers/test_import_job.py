"""The import as a whole: manifests of every layout, missing videos, what is chosen, subtitles of real sampled times."""

import json
from fractions import Fraction

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs import import_benchmark
from pipeline.demo.archive import encode_h264
from pipeline.evaluation.importers.files import VIDEO_SUFFIXES, FileIndex
from pipeline.manifest.questions import BLANK_OPTION
from pipeline.manifest.reading import read_manifest
from tests.unit.evaluation.importers.small_benchmarks import LVBENCH_TYPES, WRITERS, Asked, write_rows

ASKED = [Asked(f"Question {index}?", ("red", "green", "blue", "cyan"), "ABCDAB"[index]) for index in range(6)]


@pytest.fixture
def run_import(tmp_path, capsys):
    def run(benchmark, annotations, videos, *options):
        output = tmp_path / "out" / "manifest.parquet"
        arguments = ["--annotations", str(annotations), "--videos", str(videos), "--output", str(output), *options]
        code = import_benchmark.main([benchmark, *arguments])
        printed = capsys.readouterr()
        report_path = output.with_name("manifest.import.json")
        report = json.loads(report_path.read_text()) if report_path.exists() else None
        rows = pq.read_table(output).to_pylist() if output.exists() else None
        return code, rows, report, printed.out + printed.err

    return run


@pytest.fixture(params=WRITERS, ids=lambda key: "-".join(key))
def imported(request, tmp_path, run_import):
    benchmark, layout = request.param
    annotations, videos = WRITERS[benchmark, layout](tmp_path / "data", ASKED, None)
    code, rows, report, printed = run_import(benchmark, annotations, videos)
    assert code == 0, printed
    return benchmark, layout, rows, report, tmp_path / "out" / "manifest.parquet"


EXPECTED = {  # letters with the planted wrong ones, by hand; None: secret
    "videomme": ["A", "B", "C", "D", "A", "C"],
    "longvideobench": ["B", "B", "C", "D", "A", None],
    "lvbench": ["A", "C", "C", "D", "A", "B"],
    "mlvu-dev": ["A", "B", "C", "A", "A"],
    "mlvu-test": ["A", "B", "D", "D", "A", "B"],
}


def test_every_layout_becomes_a_manifest_that_a_run_can_read(imported):
    benchmark, _, rows, _, path = imported
    assert [row["expected"] for row in rows] == EXPECTED[benchmark]
    assert [row["question"] for row in rows] == [f"Question {index}?" for index in range(len(rows))]
    assert {tuple(row["options"]) for row in rows} == {("red", "green", "blue", "cyan")}
    assert {row["benchmark"] for row in rows} == {benchmark}
    assert len({row["question_id"] for row in rows}) == len(rows)
    assert len({row["video"] for row in rows}) == 2
    manifest = read_manifest(str(path))
    assert (len(manifest.questions), len(manifest.rejected)) == (len(rows), 0)
    assert "expected" in manifest.pass_through.column_names


def test_every_layout_keeps_what_scores_need(imported):
    benchmark, _, rows, report, _ = imported
    if benchmark == "lvbench":
        assert [row["reference_start_s"] for row in rows] == [0.0, 6000.0, None, None, None, 0.0]
        assert [row["reference_end_s"] for row in rows] == [96.0, 6065.0, None, None, None, 96.0]
        assert tuple(row["question_types"] for row in rows) == LVBENCH_TYPES
        assert report["counts"] == {
            "the time reference is reversed or unreadable": 2,
            "the time reference is empty": 1,
        }
    if benchmark == "videomme":
        assert [row["duration_group"] for row in rows] == ["short"] * 3 + ["long"] * 3
        assert rows[3]["source_id"] == "002-1"
    if benchmark == "longvideobench":
        assert [row["duration_group"] for row in rows] == ["60"] * 3 + ["3600"] * 3
        assert report["counts"] == {"no ground truth": 1}
    if benchmark == "mlvu-dev":
        assert [row["task_type"] for row in rows] == ["plotQA"] * 3 + ["needle"] * 2


def test_mlvu_rows_left_out_are_listed_with_file_row_and_reason(tmp_path, run_import):
    annotations, videos = WRITERS["mlvu-dev", "json"](tmp_path / "data", ASKED, None)
    _, _, report, printed = run_import("mlvu-dev", annotations, videos)
    assert [(remark["where"], remark["reason"], remark["is_kept"]) for remark in report["remarks"]] == [
        ("2_needle.json row 3", "the right answer is not among the options", False),
        ("9_summary.json row 1", "a generation task without options", False),
    ]
    assert report["num_left_out"] == 2
    assert "1 left out: the right answer is not among the options" in printed
    assert "needle_4.mp4: something else" in printed


def test_a_missing_video_is_listed_and_fatal_unless_it_is_allowed(tmp_path, run_import):
    annotations, videos = WRITERS["videomme", "parquet"](tmp_path / "data", ASKED, None)
    (videos / "data" / "_vidB.MP4").unlink()
    code, rows, report, printed = run_import("videomme", annotations, videos)
    assert (code, rows) == (2, None)
    assert report["missing_videos"] == {"_vidB": "there is no video file"}
    assert "1 video cannot be used, no manifest written; --allow-missing leaves them out" in printed
    code, rows, report, printed = run_import("videomme", annotations, videos, "--allow-missing")
    assert (code, len(rows), report["num_left_out"]) == (0, 3, 3)
    assert "3 left out: there is no video file" in printed


def test_a_file_name_in_two_folders_is_not_guessed(tmp_path, run_import):
    annotations, videos = WRITERS["mlvu-test", "json"](tmp_path / "data", ASKED, None)
    for folder in ("a", "b"):
        (videos / folder).mkdir()
        (videos / folder / "test_1.mp4").touch()
    (videos / "test_1.mp4").unlink()
    code, _, report, _ = run_import("mlvu-test", annotations, videos)
    assert code == 2
    assert report["missing_videos"] == {"a/test_1.mp4, b/test_1.mp4": "several video files have this name"}


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--split", "long"], [3, 4, 5]),
        (["--skip", "001-2", "_vidB"], [0, 2]),
        (["--skip", "OCR Problems"], [1, 3, 5]),
        (["--split", "short", "--skip", "videomme:001-1"], [1, 2]),
    ],
)
def test_split_and_skip_choose_rows_and_say_so(tmp_path, run_import, options, left):
    annotations, videos = WRITERS["videomme", "parquet"](tmp_path / "data", ASKED, None)
    code, rows, report, _ = run_import("videomme", annotations, videos, *options)
    assert code == 0
    assert [row["question"] for row in rows] == [f"Question {index}?" for index in left]
    assert report["counts"] == {"left out by --split or --skip": 6 - len(left)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "longer"], "--split longer occurs nowhere; there are long, short"),
        (["--skip", "nothing"], "--skip nothing occurs nowhere"),
        (["--split", "long", "--skip", "_vidB"], "no question is left"),
        (["--output", "manifest.csv"], "--output must end in .parquet"),
        (["--videos", "/no/such/folder"], "there is no folder /no/such/folder"),
    ],
)
def test_what_cannot_be_done_is_said_and_exits_2(tmp_path, run_import, options, message):
    annotations, videos = WRITERS["videomme", "parquet"](tmp_path / "data", ASKED, None)
    code, rows, _, printed = run_import("videomme", annotations, videos, *options)
    assert (code, rows) == (2, None)
    assert message in printed


def test_a_benchmark_without_subtitles_refuses_them(tmp_path, run_import):
    annotations, videos = WRITERS["lvbench", "jsonl"](tmp_path / "data", ASKED, None)
    code, _, _, printed = run_import("lvbench", annotations, videos, "--subtitles", str(tmp_path))
    assert code == 2
    assert "LVBench has no subtitles" in printed


@pytest.fixture(scope="module")
def short_videos(tmp_path_factory):
    """Two real videos of 8 s, 2 frames per second."""
    folder = tmp_path_factory.mktemp("videos")
    for name in ("first.mp4", "second.mp4"):
        encode_h264(folder / name, iter(np.zeros((16, 120, 160, 3), np.uint8)), fps=Fraction(2))
    return folder / "first.mp4", folder / "second.mp4"


def write_srt(path, spans):
    """One cue per (start, end, text)."""
    clock = "00:00:{:06.3f}"
    blocks = [
        f'{index}\n{clock.format(start)} --> {clock.format(end)}\n<font color="white" size=".72c">{text}</font>\n'
        for index, (start, end, text) in enumerate(spans, start=1)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(blocks))


def test_videomme_subtitles_are_those_of_the_sampled_frames(tmp_path, run_import, short_videos):
    annotations, videos = WRITERS["videomme", "parquet"](tmp_path / "data", ASKED, short_videos)
    write_srt(tmp_path / "subs" / "-vidA.srt", [(0.0, 1.0, "zero"), (1.2, 1.9, "between"), (4.0, 5.0, "four")])
    sampling = ("--sample-fps", "1", "--max-frames", "2")  # frames at 0 and 4 s
    code, rows, report, _ = run_import(
        "videomme", annotations, videos, "--subtitles", str(tmp_path / "subs"), *sampling
    )
    assert code == 0
    heading = "This video's subtitles are listed below:"
    assert rows[0]["question"] == f"{heading}\nzero\nfour\nQuestion 0?"
    assert rows[3]["question"] == f"{heading}\nNo subtitles available\nQuestion 3?"
    assert [row["num_subtitles"] for row in rows] == [2, 2, 2, 0, 0, 0]
    assert [row["question_stem"] for row in rows] == [f"Question {index}?" for index in range(6)]
    assert report["counts"] == {"no subtitle file": 3}


def test_longvideobench_subtitles_are_moved_by_each_questions_offset(tmp_path, run_import, short_videos):
    annotations, videos = WRITERS["longvideobench", "json"](tmp_path / "data", ASKED, short_videos)
    rows = json.loads(annotations.read_text())
    rows[3]["starting_timestamp_for_subtitles"] = rows[4]["starting_timestamp_for_subtitles"] = 30.0
    rows[5]["starting_timestamp_for_subtitles"] = 2000.0
    write_rows(annotations, rows)
    lines = [{"timestamp": [1.0, 2.0], "text": "early"}, {"timestamp": [31.1, None], "text": "late"}]
    write_rows(tmp_path / "subs" / "clip1_en.json", lines)
    write_rows(tmp_path / "subs" / "clip0_en.json", [{"start": "00:00:07.600", "end": "00:00:07.700", "line": "end"}])
    code, rows, _, _ = run_import("longvideobench", annotations, videos, "--subtitles", str(tmp_path / "subs"))
    assert code == 0
    shown = [row["question"].splitlines()[1:-1] for row in rows]
    assert shown[:3] == [["end"]] * 3  # widened to one second, so that the frame at 7.5 s lies in it
    assert shown[3:] == [["late"], ["late"], ["late"]]
    # the last clip begins behind every line but the one without an end, which lasts to the end of the clip
    assert [row["num_subtitles"] for row in rows] == [1] * 6


def test_an_unreadable_video_is_listed_like_a_missing_one(tmp_path, run_import, short_videos):
    annotations, videos = WRITERS["videomme", "parquet"](tmp_path / "data", ASKED, short_videos)
    broken = videos / "data" / "_vidB.MP4"
    broken.unlink()
    broken.write_bytes(b"not a video" * 100)
    (tmp_path / "subs").mkdir()
    arguments = ("videomme", annotations, videos, "--subtitles", str(tmp_path / "subs"))
    code, _, report, _ = run_import(*arguments)
    assert code == 2
    assert list(report["missing_videos"].values()) == ["the video file cannot be read"]
    code, rows, _, _ = run_import(*arguments, "--allow-missing")
    assert (code, len(rows)) == (0, 3)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("b",), "a/b.mp4"),
        (("b.mp4",), "a/b.mp4"),
        (("x/b", "a/b"), "a/b.mp4"),
        (("c",), "c.MKV"),
        (("d",), "deep/er/d.mp4"),  # of two suffixes the first of the list
        (("er/d.webm",), "deep/er/d.mp4"),
        (("e.f",), "e.f.mov"),
        (("B",), None),
        (("readme",), None),
    ],
)
def test_files_are_found_by_name_locally_and_in_an_object_store(tmp_path, names, found):
    paths = ("a/b.mp4", "c.MKV", "deep/er/d.webm", "deep/er/d.mp4", "e.f.mov", "readme.txt")
    store = fsspec.filesystem("memory")
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
        store.pipe_file(f"/set/{path}", b"")
    local, remote = (FileIndex(root, VIDEO_SUFFIXES) for root in (str(tmp_path), "memory://set"))
    assert len(local) == len(remote) == 5
    assert local.find(names).uri == (None if found is None else f"{tmp_path}/{found}")
    assert remote.find(names).uri == (None if found is None else f"memory://set/{found}")


def test_links_to_folders_are_followed_once(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a.mp4").touch()
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "linked").symlink_to(tmp_path / "store")
    (tmp_path / "videos" / "circle").symlink_to(tmp_path / "videos")
    index = FileIndex(str(tmp_path / "videos"), VIDEO_SUFFIXES)
    assert index.find(["a"]).uri == f"{tmp_path}/videos/linked/a.mp4"
    assert len(index) == 1


def test_an_empty_question_is_listed_and_not_fatal_and_a_blank_option_is_asked(tmp_path, run_import):
    """As row 27 of MLVU's 7_topic_reasoning.json has no question."""
    annotations, videos = WRITERS["mlvu-dev", "json"](tmp_path / "data", ASKED, None)
    path = annotations / "1_plotQA.json"
    rows = json.loads(path.read_text())
    blank = next(option for option in rows[2]["candidates"] if option != rows[2]["answer"])
    rows[1]["question"] = ""
    rows[2]["candidates"] = ["" if option == blank else option for option in rows[2]["candidates"]]
    path.write_text(json.dumps(rows))
    code, rows, report, printed = run_import("mlvu-dev", annotations, videos)
    assert (code, len(rows)) == (0, 4)
    odd = {remark["where"]: (remark["reason"], remark["is_kept"]) for remark in report["remarks"]}
    assert odd["1_plotQA.json row 2"] == ("a field is missing or of the wrong kind", False)
    assert odd["1_plotQA.json row 3"] == ("an option has no text; it is asked as it is, as officially", True)
    assert BLANK_OPTION in rows[1]["options"]
    assert "scoring.prompt_style=mlvu" in printed
