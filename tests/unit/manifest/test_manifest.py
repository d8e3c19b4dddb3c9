import json
import pickle
from datetime import date

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.manifest.problems import ManifestError
from pipeline.manifest.questions import Question
from pipeline.manifest.reading import group_by_video, read_manifest

ROWS = [
    {"question_id": "1", "video": "a.mp4", "question": "Which colour?", "options": ["red", "blue"], "answer": "A"},
    {"question_id": "2", "video": "/abs/b.mp4", "question": 'He said, "why?"\nTwice.', "options": None, "answer": None},
    {"question_id": "3", "video": "s3://b/c.mp4", "question": "何色?", "options": ["A. 赤", "B. 青"], "answer": "B"},
]


def write_parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_jsonl(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")


def write_csv(path, rows):
    def cell(value):
        text = "" if value is None else json.dumps(value) if isinstance(value, list) else str(value)
        return '"' + text.replace('"', '""') + '"'

    lines = [",".join(rows[0]), *(",".join(cell(value) for value in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")


WRITERS = {"parquet": write_parquet, "jsonl": write_jsonl, "csv": write_csv}


@pytest.fixture
def write(tmp_path):
    def write_rows(rows, suffix="jsonl"):
        path = tmp_path / f"videos.{suffix}"
        WRITERS[suffix](path, rows)
        return str(path)

    return write_rows


def row(**cells):
    return {"question_id": "1", "video": "a.mp4", "question": "Why?"} | cells


@pytest.mark.parametrize("suffix", WRITERS)
def test_the_same_rows_read_the_same_from_every_format(write, tmp_path, suffix):
    manifest = read_manifest(write(ROWS, suffix))
    first, second = "Which colour?", 'He said, "why?"\nTwice.'
    assert tuple(manifest.questions) == (
        Question(question_id="1", video=f"{tmp_path}/a.mp4", text=first, options=("red", "blue"), row_index=0),
        Question(question_id="2", video="/abs/b.mp4", text=second, options=None, row_index=1),
        Question(question_id="3", video="s3://b/c.mp4", text="何色?", options=("赤", "青"), row_index=2),
    )
    assert manifest.rejected == ()
    assert manifest.pass_through.to_pydict() == {"answer": ["A", None, "B"]}


@pytest.mark.parametrize(
    ("suffix", "ids", "expected"),
    [("parquet", [7, 8], ["7", "8"]), ("jsonl", [7, "x"], ["7", "x"]), ("csv", ["007", "8"], ["007", "8"])],
)
def test_ids_may_be_integers_and_keep_their_zeros(write, suffix, ids, expected):
    manifest = read_manifest(write([row(question_id=question_id) for question_id in ids], suffix))
    assert [question.question_id for question in manifest.questions] == expected


def test_other_columns_keep_their_arrow_type_and_follow_the_questions_asked_for(tmp_path):
    path = tmp_path / "videos.parquet"
    table = pa.Table.from_pylist([row(question_id=str(i)) for i in range(3)])
    extra = {
        "level": pa.array([1, None, 3], pa.int8()),
        "day": pa.array([date(2026, 1, 1)] * 3, pa.date32()),
        "tags": pa.array([["x"], [], None], pa.list_(pa.string())),
    }
    for name, column in extra.items():
        table = table.append_column(name, column)
    pq.write_table(table, path)
    manifest = read_manifest(str(path))
    assert manifest.pass_through.schema.types == [column.type for column in extra.values()]
    chosen = manifest.pass_through_of([manifest.questions[2], manifest.questions[0]])
    assert chosen.column("level").to_pylist() == [3, 1]
    assert chosen.column("tags").to_pylist() == [None, ["x"]]


def test_texts_that_look_like_dates_or_nulls_stay_texts(write):
    for suffix in ("jsonl", "csv"):
        manifest = read_manifest(write([row(question="2026-01-01", note="N/A")], suffix))
        assert manifest.questions[0].text == "2026-01-01"
        assert manifest.pass_through.column("note").to_pylist() == ["N/A"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["A. red", "B. blue"], ("red", "blue")),
        (["(A) red", "(B) blue"], ("red", "blue")),
        (["A) red", "B: blue"], ("red", "blue")),
        (["A. red", "C. blue"], ("A. red", "C. blue")),  # not its right letter
        (["A. red", "blue"], ("A. red", "blue")),  # not all carry one
        (["A.", "B."], ("A.", "B.")),  # nothing would be left
        (["A.M.", "B.C."], ("A.M.", "B.C.")),  # abbreviations
        (["same", "same"], ("same", "same")),  # benchmarks do repeat options
        (None, None),
        ([chr(97 + i) for i in range(26)], tuple(chr(97 + i) for i in range(26))),
    ],
)
def test_option_letters_are_removed_if_each_option_carries_its_own(write, options, expected):
    assert read_manifest(write([row(options=options)])).questions[0].options == expected


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"question_id": None}, "row 2, column question_id: is missing: write text"),
        ({"question_id": ""}, "row 2, column question_id: '' is empty"),
        ({"question_id": True}, "row 2, column question_id: True is of type bool"),
        ({"question_id": 1.5}, r"row 2, column question_id: 1\.5 is of type float"),
        ({"question_id": "first"}, "row 2, column question_id: 'first' is already the id of row 1"),
        ({"video": " "}, "row 2, column video: ' ' is empty"),
        ({"video": "a\0b"}, "row 2, column video: .* holds a NUL"),
        ({"question": 5}, "row 2, column question: 5 is of type int"),
        ({"question": "\ud800"}, "row 2, column question: .* valid Unicode"),
        ({"options": []}, "row 2, column options: .* has 0 options: write 2 to 26"),
        ({"options": ["one"]}, "row 2, column options: .* has 1 options"),
        ({"options": ["x"] * 27}, "row 2, column options: .* has 27 options"),
        ({"options": ["x", ""]}, "row 2, column options: option 2 '' is empty"),
        ({"options": ["x", 3]}, "row 2, column options: option 2 3 is of type int"),
        ({"options": "red, blue"}, "row 2, column options: 'red, blue' is not a JSON list"),
        ({"options": {"A": "x"}}, "row 2, column options: .* is of type dict"),
    ],
)
def test_a_bad_cell_is_named_by_row_column_and_value(write, cells, message):
    path = write([row(question_id="first"), row(question_id="second") | cells])
    with pytest.raises(ManifestError, match=message):
        read_manifest(path)


def test_all_problems_are_listed_in_row_order_up_to_twenty(write):
    path = write([row(question_id=str(i), video="") for i in range(12)] + [row(question_id="", question="")] * 6)
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"manifest {path} cannot be used:"
    assert [line.split(",")[0].strip() for line in lines[1:13]] == [f"row {i + 1}" for i in range(12)]
    assert len(lines) == 22
    assert lines[-1] == "  ... and 4 more"
    assert len(caught.value.problems) == 24


def test_the_error_survives_pickling(write):
    with pytest.raises(ManifestError) as caught:
        read_manifest(write([row(video="")]))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.problems) == (str(caught.value), caught.value.problems)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.csv", b"", "the file is empty"),
        ("v.jsonl", b"\n\n", "the file is empty"),
        ("v.parquet", b"PAR1 but not really", "not a readable Parquet file"),
        ("v.csv", b"question_id,video,question\n", "there are no rows"),
        ("v.csv", b"question_id,video,question\n1,a.mp4,Why, oh why?\n", "row 1 has 4 cells, the header has 3"),
        ("v.csv", b"question_id,video,question\n1,a.mp4,\xff\n", "not a readable UTF-8 text"),
        ("v.csv", b"question_id,video,question,x,x\n1,a,b,c,d\n", "column 'x' appears more than once"),
        ("v.csv", b"question_id,video,question,Topic,topic\n1,a,b,c,d\n", "'Topic' and 'topic' differ in case only"),
        ("v.csv", b"question_id,vidoe\n1,a.mp4\n", "column 'video' is missing; nearest present column: 'vidoe'"),
        ("v.jsonl", b'{"question_id": 1}\nnot json\n[1]\n', r"row 2 is not JSON .*\n  row 3 is not a JSON object"),
        ("v.jsonl", b"\xff{}", "not a readable UTF-8 text"),
        ("v.jsonl", b"\xff\xfe{}a", "not a readable UTF-16-LE text .*: write it as UTF-8"),
        (
            "v.tsv",
            b"question_id\tvideo\tquestion\n1\ta.mp4\tWhy\t?\n",
            "row 1 has 4 cells, .*: quote cells that hold tabs",
        ),
        ("v.json", b'[{"question_id": 1}, 7]', "row 2 is not a JSON object: write an array of objects"),
        ("v.json", b'[{"question_id": 1}', "not JSON .*: write an array of objects"),
        ("v.json", b'{"videos": []}', "column 'video' is missing"),
        ("v.json", b"[]", "column 'video' is missing"),
        ("v.csv", b"questionid,video,question\n1,a,b\n", "'question_id' is missing, but there is 'questionid': rename"),
        ("v.jsonl", b'{"x": 1}\n{"x": "b"}\n', "column 'x' mixes types"),
        ("v.xlsx", b"x", r"the name must end in \.parquet, \.csv"),
    ],
)
def test_a_bad_file_is_refused_as_a_whole(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    for skip_bad_rows in (False, True):
        with pytest.raises(ManifestError, match=message):
            read_manifest(str(path), skip_bad_rows=skip_bad_rows)


def test_a_missing_file_and_an_unknown_scheme_are_refused(tmp_path):
    with pytest.raises(ManifestError, match="there is no such file"):
        read_manifest(f"{tmp_path}/none.csv")
    with pytest.raises(ManifestError, match="this kind of address is not supported"):
        read_manifest("nosuch://u:secret@x/v.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ManifestError, match="this folder holds no manifest"):
        read_manifest(f"{tmp_path}/folder.csv")


def test_both_missing_columns_are_named_at_once(write):
    with pytest.raises(
        ManifestError, match=r"'video' is missing; nearest present column: 'videos'(.|\n)*'question' is"
    ):
        read_manifest(write([{"question_id": "1", "videos": "a.mp4"}]))


def test_the_error_shows_no_credentials():
    with pytest.raises(ManifestError) as caught:
        read_manifest("memory://user:secret@none/v.csv?token=secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("suffix", WRITERS)
def test_limit_reads_only_the_first_rows(write, suffix):
    path = write([row(question_id="1"), row(question_id="2"), row(question_id="2")], suffix)
    assert [q.question_id for q in read_manifest(path, limit=2).questions] == ["1", "2"]
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        read_manifest(path, limit=0)


def test_bad_rows_can_be_set_aside_with_what_they_hold(write):
    rows = [row(), row(question="", level=2), row(question_id="2", video=""), row(question_id="3", level=4)]
    manifest = read_manifest(write(rows), skip_bad_rows=True)
    assert [q.row_index for q in manifest.questions] == [0, 3]
    assert [r.question.row_index for r in manifest.rejected] == [1, 2]
    first, second = manifest.rejected
    assert first.message == (
        "row 2, column question_id: '1' is already the id of row 1: ids are unique, change one of them; "
        "row 2, column question: '' is empty: write text"
    )
    assert (second.question.question_id, second.question.video) == ("2", "")
    assert manifest.pass_through_of(manifest.questions).column("level").to_pylist() == [None, 4]
    assert manifest.pass_through_of([first.question]).column("level").to_pylist() == [2]


def test_questions_group_by_video_in_first_seen_order(write):
    videos = ["b.mp4", "a.mp4", "./b.mp4", "c.mp4", "a.mp4"]
    manifest = read_manifest(write([row(question_id=str(i), video=video) for i, video in enumerate(videos)]))
    groups = group_by_video(manifest.questions)
    ids = {video.rpartition("/")[2]: [q.question_id for q in group] for video, group in groups.items()}
    assert list(ids.items()) == [("b.mp4", ["0", "2"]), ("a.mp4", ["1", "4"]), ("c.mp4", ["3"])]


def test_a_manifest_on_an_object_store_resolves_its_videos_there():
    content = (json.dumps(row(video="clips/a.mp4")) + "\n").encode()
    fsspec.filesystem("memory").pipe_file("/sets/one/videos.jsonl", content)
    manifest = read_manifest("memory://sets/one/videos.jsonl")
    assert manifest.questions[0].video == "memory://sets/one/clips/a.mp4"
