"""The chaos run's own arithmetic: which kills it plans, and that it would see a row lost, doubled or changed."""

import json
from collections import Counter

import pytest

from pipeline.lab.benchmarks.chaos import (
    KINDS,
    RunReport,
    compare_rows,
    format_runs,
    from_record,
    plan_kills,
    to_record,
)

ROWS = [{"question_id": f"q{number}", "answer": "A", "total_s": 1.0, "attempts": 1} for number in range(3)]


def test_every_missing_kill_is_planned_and_each_kind_comes_once_before_any_comes_twice():
    kills = list(plan_kills(7, missing={"scorer": 3, "node": 1, "driver": 2}))
    assert Counter(kill.kind for kill in kills) == {"scorer": 3, "node": 1, "driver": 2}
    assert {kill.kind for kill in kills[:3]} == {"scorer", "node", "driver"}
    assert all(1 <= kill.pause_s <= 6 for kill in kills)


def test_the_same_seed_plans_the_same_kills():
    everything = dict.fromkeys(KINDS, 2)
    assert list(plan_kills(1, missing=everything)) == list(plan_kills(1, missing=everything))
    assert list(plan_kills(1, missing=everything)) != list(plan_kills(2, missing=everything))


@pytest.mark.parametrize(
    ("rows", "lost", "doubled", "different"),
    [
        (ROWS, (), (), ()),
        ([row | {"total_s": 9.0, "attempts": 4} for row in ROWS], (), (), ()),
        (ROWS[:2], ("q2",), (), ()),
        ([*ROWS, ROWS[0]], (), ("q0",), ()),
        ([ROWS[0] | {"answer": "B"}, *ROWS[1:]], (), (), ("q0",)),
        ([*ROWS, ROWS[0] | {"question_id": "new"}], (), (), ("new",)),
    ],
)
def test_what_is_lost_doubled_or_changed_is_named(rows, lost, doubled, different):
    report = RunReport(seed=0, **compare_rows(rows, ROWS))
    assert (report.lost, report.doubled, report.different) == (lost, doubled, different)
    assert report.num_rows == len(rows)
    assert report.is_clean == (not (lost or doubled or different))


def test_a_report_survives_json_and_counts_in_the_table():
    report = RunReport(
        seed=3, kills={"node": 2, "scorer": 1, "stopped decoder": 1}, wall_s=12.4, num_rows=60, doubled=("q1",)
    )
    assert from_record(json.loads(json.dumps(to_record(report)))) == report
    table = format_runs([report, report], num_questions=60)
    assert table.startswith("6 kills and 2 stops in 2 runs of 60 questions")
    assert "| all | 0 | 2 | 0 | 0 | 4 | 0 | 2 | 0 | 0 | 0 | 2 | 25 | 120 | 0 | 2 | 0 |" in table
