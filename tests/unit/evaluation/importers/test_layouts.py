"""Each quirk of each benchmark's annotation files: what becomes of the row, and what is said about it."""

import json

import pytest

from pipeline.evaluation.importers.annotations import AnnotationError, AnnotationRow, read_annotations
from pipeline.evaluation.importers.collection import convert_files, identify_questions
from pipeline.evaluation.importers.lvbench import parse_time_reference
from pipeline.evaluation.importers.options import letter_of_text, split_question, strip_letters
from pipeline.evaluation.importers.records import BenchmarkQuestion, Reason, Remark
from tests.unit.evaluation.importers.small_benchmarks import write_rows


def convert(benchmark, *rows):
    """The rows of one file, converted."""
    _, items = convert_files([[AnnotationRow("file", index, row) for index, row in enumerate(rows)]], benchmark)
    return items


def reasons(item):
    return [reason for reason, _ in item.reasons]


VIDEOMME = {
    "videoID": "fFjv93ACGo8",
    "question_id": "001-1",
    "question": "Which decoration?",
    "options": ["A. Apples.", "B. Candles.", "C. Berries.", "D. The same."],
    "answer": "C",
    "duration": "short",
    "domain": "Knowledge",
    "sub_category": "Humanity & History",
    "task_type": "Counting Problem",
}


def test_videomme_options_lose_their_letters_and_the_row_keeps_its_categories():
    (item,) = convert("videomme", VIDEOMME)
    assert item.options == ("Apples.", "Candles.", "Berries.", "The same.")
    assert (item.expected, item.source_id, item.video_id) == ("C", "001-1", "fFjv93ACGo8")
    assert item.video_names[0] == "data/fFjv93ACGo8"
    assert item.categories == {
        "duration_group": "short",
        "domain": "Knowledge",
        "sub_category": "Humanity & History",
        "task_type": "Counting Problem",
    }
    assert item.subtitles.names[0] == "fFjv93ACGo8.srt"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": "E"}, Reason.ANSWER_NOT_OFFERED),
        ({"options": ["A. Apples."]}, Reason.UNREADABLE_OPTIONS),
        ({"options": None}, Reason.UNREADABLE_OPTIONS),
        ({"options": [" ", " "]}, Reason.UNREADABLE_OPTIONS),
    ],
)
def test_a_videomme_row_that_cannot_be_scored_is_left_out_with_its_reason(change, reason):
    (item,) = convert("videomme", VIDEOMME | change)
    assert isinstance(item, Remark)
    assert (item.where, item.reason, reason.is_kept) == ("file row 1", reason, False)


@pytest.mark.parametrize(
    ("options", "bare"),
    [
        (["A. x", "B. y"], ("x", "y")),
        (["A.x", "B.y"], ("x", "y")),
        (["(A) x", "(B) y"], ("x", "y")),
        (["A: x", "B) y"], ("x", "y")),
        (["A. x", "y"], ("A. x", "y")),  # not lettered throughout: part of the text
        (["B. x", "A. y"], ("B. x", "A. y")),  # not its own letters
        (["A. Lincoln", "J. Adams"], ("A. Lincoln", "J. Adams")),
        ([" x ", "y"], ("x", "y")),
    ],
)
def test_letters_go_only_where_every_option_carries_its_own(options, bare):
    assert strip_letters(options) == bare


LONGVIDEOBENCH = {
    "id": "abc_0",
    "video_path": "abc.mp4",
    "question": "What is she holding?",
    "candidates": ["a cup", "a cat", "a dog"],
    "correct_choice": 1,
    "duration_group": 15,
    "question_category": "S2O",
    "level": "L1-Perception",
    "topic_category": "NP-News-Programs",
    "subtitle_path": "abc_en.json",
    "starting_timestamp_for_subtitles": 30.5,
    "duration": 12.4,
    "position": [1, 2],
}
PADDED = {name: value for name, value in LONGVIDEOBENCH.items() if name != "candidates"}


@pytest.mark.parametrize(
    "row",
    [
        LONGVIDEOBENCH,
        PADDED | {"option0": "a cup", "option1": "a cat", "option2": "a dog", "option3": "N/A", "option4": "N/A"},
    ],
    ids=["json", "parquet"],
)
def test_longvideobench_options_end_where_the_padding_begins(row):
    (item,) = convert("longvideobench", row)
    assert item.options == ("a cup", "a cat", "a dog")
    assert item.expected == "B"
    assert item.categories["duration_group"] == "15"
    assert (item.subtitles.names[0], item.subtitles.starting_s, item.duration_s) == ("abc_en.json", 30.5, 12.4)


def test_longvideobench_with_five_options_and_a_category_written_as_a_float():
    row = PADDED | {f"option{place}": text for place, text in enumerate("vwxyz")} | {"duration_group": 3600.0}
    (item,) = convert("longvideobench", row | {"correct_choice": 4.0})
    assert (item.options, item.expected, item.categories["duration_group"]) == (tuple("vwxyz"), "E", "3600")


@pytest.mark.parametrize("choice", [-1, None])
def test_a_test_split_has_no_answers_and_is_kept_for_its_submission(choice):
    (item,) = convert("longvideobench", LONGVIDEOBENCH | {"correct_choice": choice})
    assert item.expected is None
    assert reasons(item) == [Reason.NO_TRUTH]
    assert Reason.NO_TRUTH.is_kept


def test_a_choice_beyond_the_options_is_left_out():
    (item,) = convert("longvideobench", LONGVIDEOBENCH | {"correct_choice": 3})
    assert (item.reason, item.detail) == (Reason.ANSWER_NOT_OFFERED, "choice 3 of 3")


LVBENCH_QUESTION = {
    "uid": "1",
    "question": "What year appears?\n(A) 1636\n(B) 1366\n(C) 1363\n(D) 1633",
    "answer": "D",
    "question_type": ["key information retrieval", "reasoning"],
    "time_reference": "00:15-00:19",
}
LVBENCH = {
    "key": "Cm73ma6Ibcs",
    "type": "cartoon",
    "video_info": {"duration_minutes": 49.5, "fps": 25.0, "resolution": {"width": 1280, "height": 720}},
    "qa": [LVBENCH_QUESTION],
}


def test_lvbench_options_come_out_of_the_question():
    (item,) = convert("lvbench", LVBENCH)
    assert item.question == "What year appears?"
    assert item.options == ("1636", "1366", "1363", "1633")
    assert (item.expected, item.labels) == ("D", ("key information retrieval", "reasoning"))
    assert (item.reference_s, item.duration_s) == ((15.0, 19.0), 2970.0)
    assert item.categories == {"video_type": "cartoon"}


def test_lvbench_videos_may_be_named_by_the_line_they_are_in():
    items = convert("lvbench", LVBENCH, LVBENCH | {"key": "28CIeC8cZks"})
    assert items[1].video_names == (
        *("all_videos/28CIeC8cZks", "videos/28CIeC8cZks", "28CIeC8cZks"),
        *("videos/00000/00000001", "00000/00000001"),
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:15-00:19", (15.0, 19.0)),
        ("100:00-101:05", (6000.0, 6065.0)),  # minutes with three digits
        ("1:02:03-1:02:04", (3723.0, 3724.0)),
        ("00:07-00:07", (7.0, 8.0)),  # one second
        ("00:30-00:10", None),  # reversed
        ("00:30-None", None),
        ("None-None", None),
        ("00:30", None),
        ("about 5", None),
    ],
)
def test_time_references(text, seconds):
    assert parse_time_reference(text) == seconds


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("00:30-00:10", Reason.BAD_REFERENCE),
        ("00:30-None", Reason.BAD_REFERENCE),
        ("None-None", Reason.NO_REFERENCE),
        (None, Reason.NO_REFERENCE),
    ],
)
def test_a_useless_time_reference_keeps_the_question(reference, reason):
    (item,) = convert("lvbench", LVBENCH | {"qa": [LVBENCH_QUESTION | {"time_reference": reference}]})
    assert (item.reference_s, item.time_reference, reasons(item)) == (None, reference, [reason])


def test_lvbench_flat_rows_may_have_options_in_a_field_and_no_key():
    row = LVBENCH_QUESTION | {
        "video_path": "videos/Cm73ma6Ibcs.mp4",
        "question": "Year?",
        "options": ["(A) 1", "(B) 2"],
    }
    (item,) = convert("lvbench", row | {"answer": "B"})
    assert (item.question, item.options, item.expected, item.video_id) == ("Year?", ("1", "2"), "B", "Cm73ma6Ibcs")
    assert item.video_names[0] == "videos/Cm73ma6Ibcs.mp4"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Who?\n(A) Ann\n(B) Bob", ("Who?", ("Ann", "Bob"))),
        ("Is (A) here?\n(A) yes\n(B) no", ("Is (A) here?", ("yes", "no"))),
        ("Who?\n (A) Ann \n(B)Bob", ("Who?", ("Ann", "Bob"))),
        ("Who?\n(A) Ann\n(C) Bob", None),
        ("Who? (A) Ann (B) Bob", None),
        ("\n(A) Ann\n(B) Bob", None),
    ],
)
def test_options_inside_a_question_are_those_on_lines_of_their_own_in_turn(text, parts):
    assert split_question(text) == parts


MLVU = {
    "video": "needle_32.mp4",
    "duration": 480.0,
    "question": "What did the man do?",
    "candidates": ["He ran.", "He sat.", "He sang.", "He left."],
    "answer": "He sat.",
    "question_type": "findNeedle",
}


def test_mlvu_answers_are_texts_and_one_task_has_one_name():
    (official,) = convert("mlvu-dev", MLVU)
    flat = {"video_name": "needle_32.mp4", "duration": 480, "answer": "B", "task_type": "needle"}
    question = "What did the man do?\n(A) He ran.\n(B) He sat.\n(C) He sang.\n(D) He left."
    (lmms_eval,) = convert("mlvu-dev", flat | {"question": question, "candidates": MLVU["candidates"]})
    assert official.expected == lmms_eval.expected == "B"
    assert official.categories == lmms_eval.categories == {"task_type": "needle"}
    assert official.question == lmms_eval.question == "What did the man do?"
    assert official.options == lmms_eval.options == tuple(MLVU["candidates"])
    assert official.video_names == ("2_needle/needle_32.mp4", "needle_32.mp4")


def test_mlvu_test_has_six_options_in_both_layouts():
    six = ["Abuse", "Arson", "Fighting", "Normal", "Arrest", "Robbery"]
    row = {"video": "test_surveil_27.mp4", "duration": 60, "question": "Any anomaly?", "candidates": six}
    (official,) = convert(
        "mlvu-test", row | {"answer": "Arrest", "question_type": "anomaly_reco", "question_id": "AR_0"}
    )
    lines = "".join(f"\n({letter}) {option}" for letter, option in zip("ABCDEF", six, strict=True))
    flat = {"video_name": "test_surveil_27.mp4", "question": "Any anomaly?" + lines, "task_type": "anomaly_reco"}
    for answer in ("E", "Arrest"):
        (lmms_eval,) = convert("mlvu-test", flat | {"answer": answer, "question_id": "AR_0"})
        assert lmms_eval.options == official.options == tuple(six)
        assert lmms_eval.expected == official.expected == "E"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (MLVU | {"answer": "He slept."}, Reason.ANSWER_NOT_OFFERED),  # as needle_4 and needle_5
        ({**MLVU, "question_type": "subPlot", "candidates": None, "scoring_points": ["…"]}, Reason.GENERATION_TASK),
        ({**MLVU, "question_type": "summary", "candidates": None}, Reason.GENERATION_TASK),
    ],
)
def test_mlvu_rows_that_cannot_be_scored_by_a_letter_are_left_out(row, reason):
    (item,) = convert("mlvu-dev", row)
    assert (item.reason, item.reason.is_kept) == (reason, False)


def test_mlvu_equal_candidates_are_kept_and_of_an_equal_answer_the_last_counts():
    (distractors,) = convert("mlvu-dev", MLVU | {"candidates": ["He ran.", "He ran.", "He sat.", "He left."]})
    assert (distractors.expected, reasons(distractors)) == ("C", [Reason.REPEATED_OPTIONS])
    (answer,) = convert("mlvu-dev", MLVU | {"candidates": ["He sat.", "He ran.", "He sat.", "He left."]})
    assert (answer.expected, reasons(answer)) == ("C", [Reason.ANSWER_REPEATED])
    assert answer.reasons[0][1] == "He sat."


@pytest.mark.parametrize(
    ("answer", "letter"), [("He sat.", "B"), ("he sat", "B"), (" He  sat. ", "B"), ("He sat down.", None)]
)
def test_an_answer_is_found_but_for_case_spaces_and_a_full_stop(answer, letter):
    assert letter_of_text(answer, ["He ran.", "He sat."]) == letter


def test_an_exact_answer_beats_one_that_differs_in_case():
    assert letter_of_text("US", ["US", "us"]) == "A"


def test_repeated_questions_and_repeated_ids_get_ids_of_their_own():
    items = convert("mlvu-dev", *[MLVU | {"question_type": "ego", "video": "ego_35.mp4"}] * 2, MLVU)
    identified = identify_questions(items, "mlvu-dev")
    assert [item.question_id for item in identified] == [
        "mlvu-dev:ego:ego_35:1",
        "mlvu-dev:ego:ego_35:2",
        "mlvu-dev:needle:needle_32:1",
    ]
    assert [reasons(item) for item in identified] == [[], [Reason.REPEATED_QUESTION], []]
    twice = identify_questions(convert("videomme", VIDEOMME, VIDEOMME | {"question": "Another?"}), "videomme")
    assert [item.question_id for item in twice] == ["videomme:001-1", "videomme:001-1#2"]


@pytest.mark.parametrize("benchmark", ["videomme", "longvideobench", "lvbench", "mlvu-dev", "mlvu-test"])
def test_an_unknown_layout_names_what_was_found_and_what_is_known(benchmark):
    with pytest.raises(AnnotationError, match=r"has rows with the fields prompt, text, known are .*question"):
        convert(benchmark, {"text": "?", "prompt": "!"})


def test_files_of_different_layouts_are_refused(tmp_path):
    write_rows(tmp_path / "lvb_val.json", [LONGVIDEOBENCH])
    write_rows(tmp_path / "test.parquet", [PADDED | {f"option{place}": "x" for place in range(5)}])
    with pytest.raises(AnnotationError, match="several layouts"):
        convert_files(read_annotations(str(tmp_path)), "longvideobench")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "[1, 2]", "must hold a list of objects"),
        ("a.json", "{", "is not readable as what its suffix says"),
        ("a.parquet", "PAR1", "is not readable as what its suffix says"),
        ("a.txt", "x", "nor a folder with any"),
    ],
)
def test_files_that_are_no_annotations_are_refused_by_name(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(AnnotationError, match=message):
        read_annotations(str(tmp_path / name))
    with pytest.raises(AnnotationError, match="there is nothing at"):
        read_annotations(str(tmp_path / "other.json"))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("question", None, "'question' must be a text that is not empty"),
        ("options", "A. x", None),
        ("options", [["A"]], "'options' must be a list of texts"),
        ("question_id", {"a": 1}, "'question_id' must be a text"),
    ],
)
def test_a_field_of_the_wrong_kind_names_file_row_and_field(field, value, message):
    if message is None:
        (item,) = convert("videomme", VIDEOMME | {field: value})
        assert item.reason is Reason.UNREADABLE_OPTIONS
    else:
        with pytest.raises(AnnotationError, match=f"file row 1: field {message}, got"):
            convert("videomme", VIDEOMME | {field: value})


def test_json_objects_by_id_and_byte_order_marks_are_read(tmp_path):
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps({"x": LONGVIDEOBENCH, "y": LONGVIDEOBENCH}))
    ((first, second),) = read_annotations(str(tmp_path / "a.json"))
    assert (first.where, second.where) == ("a.json row 1", "a.json row 2")
    assert all(isinstance(item, BenchmarkQuestion) for item in convert("longvideobench", first.fields))
