"""The paper's analyses over groups worked out by hand, and the three files that each leaves."""

import json

import pytest

from pipeline.evaluation.analysis.by_length import analyse_lengths
from pipeline.evaluation.analysis.entropy_correct import analyse_correctness
from pipeline.evaluation.analysis.entropy_needle import analyse_needles
from pipeline.evaluation.analysis.lite_against_full import analyse_lite
from pipeline.evaluation.analysis.output import write_analysis


def written(analysis, folder):
    """The figures as the JSON file holds them; the picture and the table are looked at, too."""
    as_json, markdown, picture = write_analysis(analysis, folder)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert markdown.read_text().startswith(f"## {analysis.tables[0].title}")
    return json.loads(as_json.read_text())


def test_groups_are_parted_by_what_they_show(asked, tmp_path):
    whole, half = ((0.0, 1.0),), ((0.0, 1.0), (1.0, 2.0))  # frames 0-1 are patch 0, 2-3 patch 1: groups 0 and 1
    questions = [
        asked("A 0.05, A 1.0, B 1.2", kind="needle", references=whole, num_frames=192, duration_s=96.0),
        asked("A 0.7, A 0.08, B 1.3", kind="needle", references=whole, num_frames=192, duration_s=96.0),
        asked("A 0.4, A 0.5, B 0.6", kind="order", references=half, num_frames=192, duration_s=96.0),
        asked("A 0.4, A 0.5, B 0.6", kind="absent", references=(), expected=None),
        asked("", kind="needle", references=whole),
        asked("A 0.1", kind="unknown", references=None),
    ]
    analysis = analyse_needles(questions, frames_per_patch=2)
    needle, order, absent = written(analysis, tmp_path)["kinds"]
    assert (needle["questions"], needle["groups_with_all"], needle["groups_with_none"]) == (2, 2, 4)
    assert needle["auroc"] == pytest.approx((4 + 3) / 8)  # of .05 and .7 against 1.0, 1.2, .08, 1.3
    assert needle["falsely_certain_share"] == 0.25
    assert (order["groups_with_some"], order["groups_with_none"], order["auroc"]) == (2, 1, None)
    assert (absent["groups_with_all"], absent["groups_with_none"]) == (0, 3)


def test_without_a_needle_there_is_nothing_to_part(asked):
    with pytest.raises(ValueError, match="needle_start_s"):
        analyse_needles([asked("A 0.1")], frames_per_patch=2)


def test_right_and_wrong_groups_are_counted_below_each_entropy(asked, tmp_path):
    questions = [
        asked("A 0.1, B 0.9, A 0.2", kind="needle", video="v0"),
        asked("B 0.1, B 0.4, A 0.6", kind="count", video="v1", answer="B"),
        asked("B 0.1, B 0.4", kind="absent", video="v1", expected=None),
    ]
    all_kinds, needle, count = written(analyse_correctness(questions), tmp_path)["kinds"]
    assert (all_kinds["groups"], all_kinds["groups_right"], needle["groups_right"], count["groups_right"]) == (
        6,
        3,
        2,
        1,
    )
    assert all_kinds["auroc"] == pytest.approx((2.5 + 2 + 1) / 9)  # right .1 .2 .6, wrong .1 .4 .9
    below = {item["entropy_nats"]: item for item in all_kinds["below"]}
    assert (below[0.1]["groups"], below[0.1]["accuracy"], below[0.1]["share"]) == (2, 0.5, pytest.approx(1 / 3))
    assert below[0.05]["accuracy"] is None
    assert below[0.5]["accuracy"] == 0.5


def test_accuracy_is_by_length_kind_and_run(asked, tmp_path):
    def run(*rights):
        lengths = (1_000, 1_000, 10_000, 10_000)
        return [
            asked("", number=n, answer="A" if right else "B", num_frames=length, video=f"v{n}", kind="needle")
            for n, (right, length) in enumerate(zip(rights, lengths, strict=True))
        ]

    analysis = analyse_lengths({"full": run(1, 1, 1, 0), "uniform": run(1, 0, 0, 0)})
    points = written(analysis, tmp_path)["points"]
    assert [(point["run"], point["num_frames"], point["accuracy"]) for point in points] == [
        ("full", 1_000, 1.0),
        ("full", 10_000, 0.5),
        ("uniform", 1_000, 0.5),
        ("uniform", 10_000, 0.0),
    ]


def test_many_lengths_are_gathered_by_doublings(asked):
    questions = [asked("", number=n, num_frames=100 + n, video=f"v{n}") for n in range(40)]
    points = analyse_lengths({"full": questions}).figures["points"]
    assert [(point["num_frames"], point["questions"]) for point in points] == [(128, 29), (256, 11)]


def test_lite_is_paired_with_full_by_question(asked, tmp_path):
    full = [asked("A 0.1, A 0.1, A 0.1, A 0.1", number=n, video=f"v{n}") for n in range(4)]
    answers = ["A", "B", "A", "A"]
    lite = [
        asked("A 0.1, A 0.1", number=n, video=f"v{n}", answer=answer, num_groups=4, method="adapttoken-lite")
        for n, answer in enumerate(answers)
    ]
    (choice,) = written(analyse_lite(full, lite), tmp_path)["kinds"]
    assert (choice["difference"], choice["groups_share"], choice["changed_share"]) == (-0.25, 0.5, 0.25)
    assert choice["difference_standard_error"] == pytest.approx((0.75**2 + 3 * 0.25**2) ** 0.5 / 4)
    with pytest.raises(ValueError, match=r"expected a run of adapttoken, got \['adapttoken-lite'\]"):
        analyse_lite(lite, full)
    with pytest.raises(ValueError, match="share no question id"):
        analyse_lite(full[:1], lite[1:])
