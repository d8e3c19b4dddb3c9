"""Manifests as spreadsheets and other programs write them."""

import codecs
import csv
import io
import json
import re
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.manifest.problems import ManifestError
from pipeline.manifest.reading import read_manifest

ROWS = [("1", "a.mp4", "Wie heißt, bzw.; 何色?", "red|blue"), ("2", "b.mp4", 'He said "why"', None)]


def as_text(delimiter, encoding):
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter)
    writer.writerows([("question_id", "video", "question", "options"), *ROWS])
    return buffer.getvalue().encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])  # the latter two with a mark
@pytest.mark.parametrize(("name", "delimiter"), [("v.csv", ","), ("v.csv", ";"), ("v.csv", "\t"), ("v.tsv", "\t")])
def test_what_spreadsheets_write_is_read(tmp_path, name, delimiter, encoding):
    (tmp_path / name).write_bytes(as_text(delimiter, encoding))
    questions = read_manifest(str(tmp_path / name)).questions
    assert [(one.question_id, one.text, one.options) for one in questions] == [
        ("1", ROWS[0][2], ("red", "blue")),
        ("2", ROWS[1][2], None),
    ]


def test_big_endian_text_is_read(tmp_path):
    (tmp_path / "v.csv").write_bytes(codecs.BOM_UTF16_BE + as_text(",", "utf-16-be"))
    assert len(read_manifest(str(tmp_path / "v.csv")).questions) == 2


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_read_and_so_are_lines_of_that_name(tmp_path, indent):
    rows = [{"question_id": str(n), "video": "a.mp4", "question": "Why?", "level": n} for n in range(3)]
    (tmp_path / "v.json").write_text(json.dumps(rows, indent=indent))
    (tmp_path / "w.json").write_text("\n".join(map(json.dumps, rows)))
    for name in ("v.json", "w.json"):
        manifest = read_manifest(str(tmp_path / name), limit=2)
        assert [one.question_id for one in manifest.questions] == ["0", "1"]
        assert manifest.pass_through.to_pylist() == [{"level": 0}, {"level": 1}]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("red|blue", ("red", "blue")),
        (" red | dark blue ", ("red", "dark blue")),
        ("2|3|4", ("2", "3", "4")),
        ("A. red|B. blue", ("red", "blue")),
        ('["a|b", "c"]', ("a|b", "c")),
    ],
)
def test_options_may_be_text_between_bars(tmp_path, options, expected):
    (tmp_path / "v.jsonl").write_text(json.dumps({"video": "a.mp4", "question": "Why?", "options": options}))
    assert read_manifest(str(tmp_path / "v.jsonl")).questions[0].options == expected


def test_without_ids_they_follow_from_what_is_asked(tmp_path):
    rows = [
        {"video": "a.mp4", "question": "Why?", "options": None},
        {"video": "a.mp4", "question": "Why?", "options": ["x", "y"]},
        {"video": "https://h/a.mp4?sig=1", "question": "Why?", "options": None},
        {"video": "b.mp4", "question": "Why?", "options": None, "topic": "t"},
    ]

    def ids(rows):
        (tmp_path / "v.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return [one.question_id for one in read_manifest(str(tmp_path / "v.jsonl")).questions]

    first = ids(rows)
    assert len(set(first)) == 4
    assert all(re.fullmatch("q-[0-9a-f]{16}", one) for one in first)
    rows[2]["video"], rows[3]["topic"] = "https://h/a.mp4?sig=2", "u"
    assert ids(rows[::-1]) == first[::-1]
    (tmp_path / "v.csv").write_text("video,question\na.mp4,Why?\n")
    assert read_manifest(str(tmp_path / "v.csv")).questions[0].question_id == first[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video;question;options\na.mp4;Why?;red,blue\n", r"'red,blue' is not a JSON list: write .* or red\|blue"),
        ("video,question,options\na.mp4,Why?,red||blue\n", "row 1, column options: option 2 '' is empty"),
        ("video,question\na,b\na,c\na,b\n", "row 3, column question_id: asks what row 1 asks: remove one, or add"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named_by_its_row(tmp_path, text, message):
    (tmp_path / "v.csv").write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_manifest(str(tmp_path / "v.csv"))


def test_rows_without_ids_that_cannot_be_asked_are_named_by_their_place(tmp_path):
    (tmp_path / "v.csv").write_text("video,question,topic\na.mp4,Why?,x\n,Why?,y\n,Why?,z\n")
    manifest = read_manifest(str(tmp_path / "v.csv"), skip_bad_rows=True)
    assert [one.question.question_id for one in manifest.rejected] == ["row-2", "row-3"]
    assert manifest.row_indices()["row-3"] == 2


def test_ids_may_be_uuids(tmp_path):
    known = {"video": ["a.mp4"], "question": ["Why?"]}
    name = uuid.UUID(int=7)
    ids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([name.bytes], pa.binary(16)))
    pq.write_table(pa.table({"question_id": ids} | known), tmp_path / "v.parquet")
    assert read_manifest(str(tmp_path / "v.parquet")).questions[0].question_id == str(name)
