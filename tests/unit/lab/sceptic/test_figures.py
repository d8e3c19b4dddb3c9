import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.lab.sceptic.figures import (
    absent_auroc,
    accuracy_by_kind,
    calibration_of,
    difference_by_kind,
    false_certainty,
    majority_by_kind,
)
from pipeline.lab.sceptic.runs import BUDGETS, METHODS, plan_runs, write_bounds
from pipeline.lab.sceptic.tables import analyze_budgets, analyze_certainty, analyze_methods
from pipeline.method.selectors.registry import SELECTORS


def row(number, *, kind="needle", expected="A", answer="A", confidence=0.9, entropy=0.3, groups=(), status="ok"):
    rest = (1 - confidence) / 3
    return {
        "question_id": f"q{number}",
        "video": f"v{number // 2}",
        "kind": kind,
        "options": ["red", "green", "blue", "cyan"],
        "expected": expected,
        "answer": answer,
        "status": status,
        "option_probabilities": [confidence, rest, rest, rest],
        "answer_entropy": entropy,
        "groups": [{"entropy": e, "response": r} for e, r in groups],
    }


def test_a_failed_answer_is_wrong_and_questions_without_an_answer_do_not_count():
    rows = [row(0), row(1, status="failed"), row(2, answer="B"), row(3, kind="absent", expected=None)]
    found = accuracy_by_kind(rows)
    assert found["needle"].value == pytest.approx(1 / 3)
    assert set(found) == {"all", "needle"}


def test_chance_is_the_likeliest_text_of_a_kind_not_one_in_four():
    rows = [row(number, expected="ABB"[number % 3]) for number in range(6)]
    assert majority_by_kind(rows) == {"needle": pytest.approx(2 / 3)}


def test_differences_are_paired_by_question():
    one, other = [row(0), row(2), row(4, answer="B")], [row(4), row(0, answer="B"), row(2), row(6)]
    found = difference_by_kind(one, other)["needle"]
    assert found.value == pytest.approx(0.0)
    assert found.low == -found.high


def test_calibration_by_hand():
    rows = [row(0, confidence=0.95), row(1, confidence=0.95, answer="B"), row(2, confidence=0.55)]
    found = calibration_of(rows)
    assert [one.num_answers for one in found.bins] == [1, 2]
    assert found.expected_error == pytest.approx((2 * 0.45 + 1 * 0.45) / 3)
    assert calibration_of([row(0, expected=None)]) is None


def test_absent_answers_are_told_by_their_entropy():
    rows = [row(0, entropy=0.1), row(1, kind="order", entropy=1.5), row(2, kind="absent", expected=None, entropy=1.3)]
    assert absent_auroc(rows) == {"needle": 1.0, "order": 0.0}


def test_wrong_certain_groups_are_counted_and_those_that_agree():
    certain_wrong = [(0.01, "B"), (0.02, "B"), (1.2, "C")]
    rows = [
        row(0, groups=certain_wrong),
        row(1, groups=[(0.01, "A"), (0.05, "C")]),
        row(2, kind="absent", expected=None, groups=[(0.01, "A"), (1.3, "B")]),
    ]
    found = false_certainty(rows)
    assert found.certain_share == pytest.approx(4 / 5)
    assert found.wrong_share == pytest.approx(3 / 4)
    assert (found.wrong_questions, found.agreeing_questions) == (1.0, 0.5)
    assert found.unanswerable_share == 0.5


def test_ceiling_and_floor_look_at_what_decides_and_at_nothing_of_it(tmp_path):
    def asked(name, expected, *spans):
        starts, ends = (list(part) for part in zip(*spans, strict=True)) if spans else ([], [])
        return {"question_id": name, "expected": expected, "needle_start_s": starts, "needle_end_s": ends}

    rows = [
        asked("one", "A", (2.0, 4.0)),
        asked("two", "B", (1.0, 3.0), (6.0, 9.0)),
        asked("late", "B", (90.0, 95.0)),
        asked("none", None),
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "manifest.parquet")
    write_bounds(tmp_path / "manifest.parquet")
    ceiling = pq.read_table(tmp_path / "ceiling.parquet").to_pylist()
    assert [(r["question_id"], r["start_s"], r["end_s"]) for r in ceiling] == [("one", 2.0, 4.0), ("late", 90.0, 95.0)]
    for part in pq.read_table(tmp_path / "floor.parquet").to_pylist():
        spans = zip(part["needle_start_s"], part["needle_end_s"], strict=True)
        assert all(part["end_s"] <= start or part["start_s"] >= end for start, end in spans)
        assert part["expected"] is not None


def test_runs_have_names_of_their_own_and_methods_that_exist():
    runs = plan_runs()
    assert len({run.name for run in runs}) == len(runs) == len(METHODS) + 3 * len(BUDGETS) + 2
    assert {run.method for run in runs} <= set(SELECTORS)


def test_tables_show_every_kind_and_dashes_where_nothing_is_known(tmp_path):
    runs = {
        "adapttoken": [row(0), row(2, kind="order"), row(4, kind="absent", expected=None)],
        "equal-quota": [row(0, answer="B"), row(2, kind="order")],
        "ceiling": [row(0)],
        "adapttoken-4": [row(0)],
        "equal-quota-4": [row(0, answer="B")],
    }
    methods = analyze_methods(runs)
    assert methods.tables[0].header == ("method", "all", "needle", "order")
    assert [line[0] for line in methods.tables[0].rows] == [
        "the likeliest answer",
        "adapttoken",
        "equal-quota",
        "ceiling",
    ]
    assert methods.tables[0].rows[-1][-1] == "–"
    assert methods.figures["gain_over"]["equal-quota"]["needle"][0] == 1.0
    assert analyze_budgets(runs, (4,)).tables[1].rows[0][1:] == ("+100", "+100")
    for analysis in (methods, analyze_certainty(runs), analyze_budgets(runs, (4,))):
        analysis.draw(tmp_path / f"{analysis.name}.png")
        assert (tmp_path / f"{analysis.name}.png").stat().st_size > 1_000
