"""Several manifest files, folders and patterns as one manifest."""

import json
import re

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.wiring.cli import build_parser
from pipeline.manifest.problems import ManifestError
from pipeline.manifest.reading import read_manifest


@pytest.fixture
def write(tmp_path):
    """Write rows as the file's suffix says; returns its path."""

    def to_file(name, rows):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            path.write_text("\n".join(map(json.dumps, rows)))
        return str(path)

    return to_file


def ask(question_id, video="a.mp4", **columns):
    return {"question_id": question_id, "video": video, "question": f"Why {question_id}?"} | columns


def ids_of(uris, **options):
    return [one.question_id for one in read_manifest(uris, **options).questions]


def test_rows_follow_each_other_and_relative_videos_lie_beside_their_own_file(write, tmp_path):
    first = write("x/a.jsonl", [ask("1"), ask("2", start_s=5, transcript="said")])
    second = write("y/b.parquet", [ask("3", video="../x/a.mp4", transcript=None), ask("4", transcript="said")])
    manifest = read_manifest([first, second])
    x, y = str(tmp_path / "x/a.mp4"), str(tmp_path / "y/a.mp4")
    assert [(one.question_id, one.video, one.row_index) for one in manifest.questions] == [
        *(("1", x, 0), ("2", x, 1), ("3", x, 2), ("4", y, 3)),
    ]
    assert [None if one.transcript is None else one.transcript.text for one in manifest.questions] == [
        *(None, "said", None, "said"),
    ]
    assert [str(one.time_range) for one in manifest.questions] == ["None", "[5, end) s", "None", "None"]
    assert manifest.questions.video_codes.tolist() == [0, 1, 0, 2]  # a video of two files is one to be planned
    assert manifest.row_indices() == {"1": 0, "2": 1, "3": 2, "4": 3}


def test_columns_of_all_files_are_carried(write):
    files = [write("a.jsonl", [ask("1", level=1)]), write("b.jsonl", [ask("2")])]
    files += [write("c.jsonl", [ask("3", level=2.5, topic="t")])]
    assert read_manifest(files).pass_through.to_pylist() == [
        {"level": 1.0, "topic": None},
        {"level": None, "topic": None},
        {"level": 2.5, "topic": "t"},
    ]


def test_a_folder_and_a_pattern_mean_their_files_by_name_each_once(write, tmp_path):
    for name in ("b.jsonl", "sub/c.jsonl", "a.parquet", "_old/z.jsonl", ".hidden.jsonl"):
        write(name, [ask(name)])
    (tmp_path / "notes.txt").write_text("no manifest")
    assert ids_of(str(tmp_path)) == ["a.parquet", "b.jsonl", "sub/c.jsonl"]
    assert ids_of([f"{tmp_path}/*.jsonl", str(tmp_path)]) == ["b.jsonl", "a.parquet", "sub/c.jsonl"]
    assert ids_of(f"{tmp_path}/*/[ac].jsonl") == ["sub/c.jsonl"]


def test_a_file_whose_name_looks_like_a_pattern_is_itself(write):
    write("a1.jsonl", [ask("other")])
    assert ids_of(write("a[1].jsonl", [ask("own")])) == ["own"]


def test_folders_and_patterns_of_other_stores_are_listed():
    store = fsspec.filesystem("memory")
    for name in ("a", "b"):
        store.pipe_file(f"/nights/{name}.jsonl", json.dumps(ask(name)).encode())
    assert ids_of("memory://nights/*.jsonl") == ids_of("memory://nights") == ["a", "b"]
    (first, _) = read_manifest("memory://nights").questions
    assert first.video.replace(":///", "://") == "memory://nights/a.mp4"


def test_a_limit_counts_over_all_files(write):
    files = [write("a.jsonl", [ask("1"), ask("2")]), write("b.jsonl", [ask("3"), ask("4")]), write("c.jsonl", [{}])]
    assert ids_of(files, limit=3) == ["1", "2", "3"]


def test_repeated_ids_are_named_with_both_places(write):
    files = [write("a.jsonl", [ask("1"), ask("2")]), write("b.jsonl", [ask("3"), ask("2")])]
    message = (
        rf"{re.escape(files[1])}: row 2, column question_id: '2' is already the id of row 2 of {re.escape(files[0])}"
    )
    with pytest.raises(ManifestError, match=message) as raised:
        read_manifest(files)
    assert len(raised.value.problems) == 1
    manifest = read_manifest(files, skip_bad_rows=True)
    assert [one.question_id for one in manifest.questions] == ["1", "2", "3"]
    assert [(one.question.question_id, one.question.row_index) for one in manifest.rejected] == [("2", 3)]


def test_the_same_question_without_ids_in_two_files_is_named(write):
    row = {"video": "/v/a.mp4", "question": "Why?"}
    with pytest.raises(ManifestError, match=r"b.jsonl: row 1, column question_id: asks what row 1 of .*a.jsonl asks"):
        read_manifest([write("a.jsonl", [row]), write("b.jsonl", [row])])


def test_bad_rows_without_ids_are_told_apart_over_all_files(write):
    files = [write(name, [{"video": "", "question": "Why?"}]) for name in ("a.jsonl", "b.jsonl")]
    manifest = read_manifest(files, skip_bad_rows=True)
    assert [one.question.question_id for one in manifest.rejected] == ["row-1", "row-2"]


def test_problems_of_all_files_are_listed_under_their_names(write):
    files = [
        write("a.jsonl", [{"video": "a.mp4"}]),
        write("b.jsonl", [ask("1", end_s=-1)]),
        write("c.jsonl", [ask("2")]),
    ]
    with pytest.raises(ManifestError) as raised:
        read_manifest(files)
    lines = str(raised.value).splitlines()
    assert lines[0] == f"manifest {files[0]}, {files[1]} and 1 more cannot be used:"
    assert [line.split(": ")[0].strip() for line in lines[1:]] == files[:2]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (({"level": 1}, {"level": "high"}), r"column 'level' is int64 in .*a.jsonl and string in .*b.jsonl: give all"),
        (({"level": 1}, {"Level": 1}), "columns 'level' and 'Level' differ in case only: rename one"),
    ],
)
def test_columns_that_cannot_be_one_are_named(write, columns, message):
    files = [write(f"{'ab'[n]}.jsonl", [ask(str(n), **more)]) for n, more in enumerate(columns)]
    with pytest.raises(ManifestError, match=message):
        read_manifest(files)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.csv", "there is no such file"),
        ("*.csv", "nothing ends in .parquet, .csv, .* of what this pattern means"),
        ("", "this folder holds no manifest"),
        ("notes.txt", "the name must end in .parquet"),
    ],
)
def test_an_address_of_no_manifest_is_an_error(tmp_path, name, message):
    (tmp_path / "notes.txt").write_text("no manifest")
    with pytest.raises(ManifestError, match=message):
        read_manifest(str(tmp_path / name))


def test_the_command_line_takes_several_in_either_form():
    parse = build_parser().parse_args
    assert parse(["--manifest", "a.csv", "b.csv", "--output", "o"]).manifest == ["a.csv", "b.csv"]
    assert parse(["--manifest", "a.csv", "--manifest=b.csv", "--output", "o"]).manifest == ["a.csv", "b.csv"]
