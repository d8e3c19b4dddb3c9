"""The page and ``evaluate`` count right answers by one rule, whatever the question."""

import pytest

from pipeline.evaluation.scoring.answers import answer_sets
from pipeline.evaluation.scoring.evaluation import evaluate
from pipeline.report.cards import list_entry
from pipeline.report.report import ReportOptions, make_report
from pipeline.results.finished import read_answers
from tests.unit.report.report_rows import make_row, write_run
from tests.unit.report.test_report_job import Page
from tests.unit.results.answer_rows import row

OPEN = {"options": None, "option_probabilities": None}


@pytest.fixture
def output(tmp_path):
    """Choice and open questions, right and wrong, a failed one, and one whose truth nobody knows."""
    rows = [
        make_row("right", __file__),
        make_row("words", __file__),
        make_row("wrong", __file__),
        make_row("open", __file__, **OPEN, answer="the star is red", answer_text="The star is red."),
        make_row("open-wrong", __file__, **OPEN, answer="red", answer_text="red"),
        row("failed", "failed", question="Why?", video="a.mp4", video_fingerprint="f"),
        make_row("unknown", __file__),
    ]
    write_run(tmp_path, rows, expected=["B", "blue", "A", "Red", "blue", "A", None])
    return str(tmp_path)


def test_the_page_and_the_evaluation_count_the_same(output):
    totals = Page(make_report(output, ReportOptions(num_thumbnails=0)).decode()).data("head")["totals"]
    (answers,) = answer_sets(read_answers(output), label="night")
    overall = evaluate(answers).overall
    assert (totals["num_right"], totals["num_judged"]) == (3, 6)
    assert overall is not None
    assert (round(overall.accuracy * overall.num_questions), overall.num_questions) == (3, 6)


def test_each_answer_is_marked_as_it_is_counted(output):
    rows = {found["question_id"]: found for found in read_answers(output).to_pylist()}
    marks = {name: list_entry(one)["is_right"] for name, one in rows.items()}
    assert marks == {
        "id-right": True,
        "id-words": True,  # the manifest has the option's words, not its letter
        "id-wrong": False,
        "id-open": True,
        "id-open-wrong": False,
        "id-failed": False,
        "id-unknown": None,
    }


def test_a_benchmark_is_read_by_its_own_rule_and_a_foreign_column_of_that_name_changes_nothing(output):
    (found,) = [one for one in read_answers(output).to_pylist() if one["question_id"] == "id-right"]
    said = found | {"answer": "A", "answer_text": "The best answer is (B)", "expected": "B"}
    assert list_entry(said)["is_right"] is False  # an archive: the most probable letter counts
    assert list_entry(said | {"benchmark": "videomme"})["is_right"] is True  # VideoMME reads the text
    assert list_entry(found | {"benchmark": "our nightly one"})["is_right"] is True
