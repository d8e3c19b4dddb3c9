"""Columns ``start_s``, ``end_s`` and ``transcript``, and cells ``video`` that are lists."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.manifest.problems import ManifestError
from pipeline.manifest.reading import read_manifest
from pipeline.manifest.time_range import TimeRange


def write_csv(path, rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(
            {name: json.dumps(cell) if isinstance(cell, list) else cell for name, cell in row.items()} for row in rows
        )


WRITERS = {
    "parquet": lambda path, rows: pq.write_table(pa.Table.from_pylist(rows), path),
    "jsonl": lambda path, rows: path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8"),
    "json": lambda path, rows: path.write_text(json.dumps(rows), encoding="utf-8"),
    "csv": write_csv,
}


@pytest.fixture
def read(tmp_path):
    def read_rows(rows, suffix="jsonl", **options):
        path = tmp_path / f"m.{suffix}"
        WRITERS[suffix](path, rows)
        return read_manifest(str(path), **options)

    return read_rows


def row(question_id="1", video="a.mp4", **cells):
    return {"question_id": question_id, "video": video, "question": "Why?"} | cells


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_part_reads_the_same_from_every_format_and_each_part_of_a_video_is_planned_by_itself(read, suffix):
    rows = [
        row("1", start_s=90.5, end_s=120.0),
        row("2", start_s=None, end_s=None),
        row("3", video="./a.mp4", start_s=90.5, end_s=120.0),
        row("4", start_s=None, end_s=30.0),
        row("5", video="b.mp4", start_s=90.5, end_s=None),
    ]
    questions = read(rows, suffix).questions
    part = TimeRange(start_s=90.5, end_s=120.0)
    expected = [part, None, part, TimeRange(start_s=0.0, end_s=30.0), TimeRange(start_s=90.5)]
    assert [question.time_range for question in questions] == expected
    assert len(questions.videos) == len(questions.ranges) == 4
    codes = questions.video_codes.tolist()
    assert codes[0] == codes[2]
    assert len(set(codes)) == 4
    assert [questions.ranges[code] for code in codes] == expected
    assert read(rows, suffix).pass_through.column_names == []


@pytest.mark.parametrize(
    ("cells", "column", "message"),
    [
        ({"start_s": -1.0}, "start_s", "-1.0 lies before the video begins: write seconds such as 90.5"),
        ({"start_s": 5, "end_s": 5}, "end_s", "must lie 0.001 s after start_s=5 or later, got 5: swap or correct them"),
        ({"start_s": 5, "end_s": 2.5}, "end_s", "got 2.5: swap or correct them"),
        ({"end_s": 0}, "end_s", "after start_s=0 or later, got 0"),
        ({"start_s": "soon"}, "start_s", "'soon' is no number: write seconds such as 90.5"),
        ({"end_s": "00:01:30"}, "end_s", "'00:01:30' is no number"),
        ({"start_s": float("nan")}, "start_s", "nan is no time"),
        ({"end_s": float("inf")}, "end_s", "inf is no time"),
        ({"start_s": True}, "start_s", "True is of type bool"),
        ({"end_s": [3]}, "end_s", r"\[3\] is of type list"),
        ({"transcript": 7}, "transcript", "7 is of type int: write text"),
        ({"video": []}, "video", "the list of videos is empty: name at least one"),
        ({"video": ["b.mp4", None]}, "video", "video 2 of the list is missing: write text"),
        ({"video": ["b.mp4", "c.mp4", "b.mp4"]}, "video", "the list names 'b.mp4' more than once: name it once"),
    ],
)
def test_a_bad_cell_is_named_with_row_value_and_remedy(read, cells, column, message):
    rows = [row("1"), row("2", **cells)]
    with pytest.raises(ManifestError, match=rf"row 2, column {column}: .*{message}"):
        read(rows)
    manifest = read(rows, skip_bad_rows=True)
    assert [question.question_id for question in manifest.questions] == ["1"]
    assert [one.question.question_id for one in manifest.rejected] == ["2"]


def test_a_number_written_as_text_is_a_time_and_an_empty_cell_is_none(read):
    questions = read([row("1", start_s="1.5", end_s=""), row("2", start_s="", end_s="")], "csv").questions
    assert [question.time_range for question in questions] == [TimeRange(start_s=1.5), None]


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_transcript_is_text_or_the_address_of_a_file_and_is_passed_through_as_it_was_written(read, tmp_path, suffix):
    cells = ["It rains.", "subs/a.SRT", "s3://b/a.vtt", None, "see a.srt\nand b.vtt"]
    manifest = read([row(str(i), transcript=cell) for i, cell in enumerate(cells)], suffix)
    found = [question.transcript for question in manifest.questions]
    assert [one and one.uri for one in found] == [None, f"{tmp_path}/subs/a.SRT", "s3://b/a.vtt", None, None]
    assert [one and one.text for one in found] == ["It rains.", None, None, None, "see a.srt\nand b.vtt"]
    assert manifest.pass_through.column("transcript").to_pylist() == cells


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_a_list_of_videos_is_one_question_for_each_with_an_id_of_its_own(read, tmp_path, suffix):
    lists = [["a.mp4", "s3://b/c.mp4"], ["a.mp4"], ["b.mp4"]]
    rows = [row(f"q{i}", video=videos, level=i, options=["x", "y"]) for i, videos in enumerate(lists)]
    manifest = read(rows, suffix)
    asked = [(q.asked_id, q.video, q.row_index, q.options) for q in manifest.questions]
    xy = ("x", "y")
    assert asked == [
        ("q0", f"{tmp_path}/a.mp4", 0, xy),
        ("q0", "s3://b/c.mp4", 0, xy),
        ("q1", f"{tmp_path}/a.mp4", 1, xy),
        ("q2", f"{tmp_path}/b.mp4", 2, xy),
    ]
    ids = [q.question_id for q in manifest.questions]
    assert len(set(ids)) == 4
    assert all(one.startswith(f"{q.asked_id}#") for one, q in zip(ids, manifest.questions, strict=True))
    assert manifest.pass_through_of(manifest.questions).column("level").to_pylist() == [0, 0, 1, 2]
    assert [manifest.row_indices()[one] for one in ids] == [0, 0, 1, 2]


def test_the_id_of_a_video_in_a_list_stays_when_others_come_go_and_move(read):
    def ids(*videos):
        return {q.video.rpartition("/")[2]: q.question_id for q in read([row("q", video=list(videos))]).questions}

    first = ids("a.mp4", "https://h/b.mp4?sig=1")
    second = ids("c.mp4", "https://h/b.mp4?sig=2", "a.mp4")
    assert second["a.mp4"] == first["a.mp4"]
    assert second["b.mp4?sig=2"] == first["b.mp4?sig=1"]
    assert len(set(second.values())) == 3


def test_beside_a_list_a_plain_video_keeps_its_id_and_a_path_with_brackets_is_a_path(read, tmp_path):
    questions = read([row("1", video='["a.mp4"]'), row("2", video="[1] intro.mp4"), row("3")], "csv").questions
    assert [q.video for q in questions] == [f"{tmp_path}/{name}" for name in ("a.mp4", "[1] intro.mp4", "a.mp4")]
    assert [q.question_id for q in questions][1:] == ["2", "3"]
    assert [q.asked_id for q in questions] == ["1", None, None]


def test_a_bad_row_with_a_list_is_rejected_for_each_video_and_no_other_row_is_mistaken_for_it(read):
    rows = [row("1", video=["a.mp4", "b.mp4"]), row("2", video=["a.mp4", "b.mp4"], end_s=-1.0), row("3"), row("4")]
    manifest = read(rows, skip_bad_rows=True)
    assert [q.row_index for q in manifest.questions] == [0, 0, 2, 3]
    assert [one.question.asked_id for one in manifest.rejected] == ["2", "2"]


def test_ids_that_only_lists_make_equal_are_found(read):
    made = read([row("q", video=["a.mp4"])]).questions[0].question_id
    with pytest.raises(ManifestError, match=rf"row 2, column question_id: '{made}' is already the id of row 1"):
        read([row("q", video=["a.mp4"]), row(made)])
    with pytest.raises(ManifestError, match="row 2, column question_id: 'q' is already the id of row 1"):
        read([row("q", video=["a.mp4"]), row("q", video=["b.mp4"])])


def test_ids_that_are_made_tell_parts_and_transcripts_apart_and_stay_where_there_are_none(read):
    plain = {"video": "a.mp4", "question": "Why?"}
    rows = [plain, plain | {"start_s": 1}, plain | {"start_s": 2}, plain | {"transcript": "la"}]
    ids = [question.question_id for question in read(rows).questions]
    assert len(set(ids)) == 4
    assert read([plain]).questions[0].question_id == ids[0]
    with pytest.raises(ManifestError, match="asks what row 1 asks"):
        read([rows[1], rows[1]])


def test_the_signature_of_a_transcripts_address_stands_in_no_row(read):
    manifest = read([row("1", transcript="https://u:p@h/a.vtt?sig=hidden"), row("2", transcript="no file.vtt at all")])
    assert manifest.questions[0].transcript.uri == "https://u:p@h/a.vtt?sig=hidden"
    assert manifest.pass_through.column("transcript").to_pylist() == ["https://h/a.vtt", "no file.vtt at all"]
