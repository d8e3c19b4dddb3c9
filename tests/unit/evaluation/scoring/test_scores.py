"""Accuracies, errors, counts, pairs and hits: every expected number is worked out by hand."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from math import erfc, sqrt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.scoring.accuracy import macro_accuracy, measure_accuracy
from pipeline.evaluation.scoring.answers import answer_sets
from pipeline.evaluation.scoring.evaluation import evaluate
from pipeline.evaluation.scoring.evidence_hits import chance_of_hit, measure_hits
from pipeline.evaluation.scoring.paired import compare_runs
from pipeline.evaluation.scoring.report import report_tables
from pipeline.evaluation.scoring.report_json import report_json
from pipeline.results.tables import to_markdown, to_text
from tests.unit.evaluation.scoring.rows import row, spans, table


def evaluated(*rows, scorer=None, manifest=None, label="run"):
    (answers,) = answer_sets(table(*rows), label=label, manifest=manifest)
    return evaluate(answers, scorer=scorer)


def mlvu(question_id, task, video, letter, expected="A"):
    return row(question_id, video, letter, expected, benchmark="mlvu-dev", task_type=task)


def test_micro_and_macro_accuracy_with_their_clustered_errors():
    found = evaluated(
        *(mlvu(f"e{index}", "ego", "v1", letter) for index, letter in enumerate("AAAB")),
        *(mlvu(f"o{index}", "order", f"w{index}", letter) for index, letter in enumerate("AB")),
    )
    overall, macro = found.overall, found.macro
    assert (overall.num_right, overall.num_questions, overall.num_videos) == (4, 6, 3)
    # residuals by video: v1: 3 * 1/3 - 2/3 = 1/3; w0: 1/3; w1: -2/3
    assert overall.standard_error == pytest.approx(sqrt(1 / 9 + 1 / 9 + 4 / 9) / 6)
    assert macro.accuracy == pytest.approx((3 / 4 + 1 / 2) / 2)
    # ego's video adds nothing; order: (1/2)/2/2 and its opposite
    assert macro.standard_error == pytest.approx(sqrt(2 * (1 / 8) ** 2))


answers_of_tasks = st.lists(
    st.tuples(st.sampled_from(["ego", "order", "count"]), st.sampled_from("vwxyz"), st.booleans()),
    min_size=2,
    max_size=40,
)


@settings(deadline=None, max_examples=50)
@given(answers_of_tasks)
def test_errors_equal_the_sandwich_written_out_question_by_question(items):
    rows = [mlvu(str(i), task, video, "A" if right else "B") for i, (task, video, right) in enumerate(items)]
    (answers,) = answer_sets(table(*rows), label="run")
    judged = evaluate(answers).judged
    videos, tasks = sorted({video for _, video, _ in items}), sorted({task for task, _, _ in items})
    overall, macro = measure_accuracy(judged), macro_accuracy(judged, "task_type")
    if len(videos) == 1:
        assert overall.standard_error is None
        assert macro.standard_error is None
        return
    mean = sum(right for *_, right in items) / len(items)
    means = {t: np.mean([right for task, _, right in items if task == t]) for t in tasks}
    counts = {t: sum(task == t for task, _, _ in items) for t in tasks}
    plain = sum(sum(right - mean for _, video, right in items if video == v) ** 2 for v in videos)
    weighted = sum(
        sum((right - means[task]) / counts[task] / len(tasks) for task, video, right in items if video == v) ** 2
        for v in videos
    )
    assert overall.standard_error == pytest.approx(sqrt(plain) / len(items), abs=1e-12)
    assert macro.standard_error == pytest.approx(sqrt(weighted), abs=1e-12)
    assert macro.accuracy == pytest.approx(np.mean(list(means.values())))


def videomme(question_id, **others):
    return row(question_id, benchmark="videomme", duration_group="long", source_id=question_id, **others)


def test_failed_missing_unparsed_and_secret_questions_are_counted_apart():
    rows = [
        videomme("right", video="v1"),
        videomme("wrong", video="v2", letter="B"),
        videomme("unparsed", video="v2", answer_text="no idea"),
        videomme("failed", video="v3", letter=None, status="failed"),
        videomme("secret", video="v3", expected=None),
    ]
    manifest = table(*({"question_id": item["question_id"], "video": item["video"], "expected": item["expected"],
                        "benchmark": "videomme"} for item in [*rows, videomme("gone", video="v4")]))  # fmt: skip
    found = evaluated(*rows, manifest=manifest)
    assert asdict(found.counts) == {
        "failed": 1,
        "missing": 1,
        "unparsed": 1,
        "guessed": 0,
        "without_truth": 1,
        "superseded": 0,
    }
    assert (found.overall.num_right, found.overall.num_questions) == (1, 5)
    assert (found.parsed.num_right, found.parsed.num_questions) == (1, 2)  # as VideoMME's own script counts
    assert found.parsed_by == {"first-letter": 2, "unparsed": 1}
    # the same answers by the first answer token: the one without a readable text is right
    assert found.by_scorer["option_probabilities"].num_right == 2
    assert "official" in found.by_scorer


def test_longvideobench_guesses_are_counted():
    rows = [row(f"q{i}", f"v{i}", answer_text="no idea", benchmark="longvideobench") for i in range(40)]
    found = evaluated(*rows)
    assert (found.counts.guessed, found.counts.unparsed) == (40, 0)
    assert 0 < found.overall.num_right < 40
    assert found.overall == evaluated(*rows).overall


def test_a_run_without_a_benchmark_is_scored_by_option_probabilities_and_kind():
    rows = [
        row("q1", kind="needle", num_frames_asked=1000, answer_text="garbage"),
        row("q2", "v2", "B", "A", kind="order"),
        row("q3", "v2", "The heart is blue.", "blue", kind="open", options=None),
        row("q4", "v3", "The heart is blue.", "red", kind="open", options=None),
    ]
    found = evaluated(*rows)
    assert found.scorer == "option_probabilities"
    assert found.overall.num_right == 2
    right = {value: part.num_right for value, part in found.by_category["kind"].items()}
    assert right == {"needle": 1, "order": 0, "open": 1}
    assert list(found.by_category) == ["kind"]  # of the length there is one value only
    assert "official" not in found.by_scorer
    with pytest.raises(ValueError, match="has no rule for an archive"):
        evaluated(*rows, scorer="official")


def test_the_newest_row_of_a_question_counts_and_configurations_stand_apart():
    later = datetime(2026, 2, 1, tzinfo=UTC)
    rows = [
        row("q1", letter="B"),
        row("q1", letter="A", finished_at=later),  # the video changed: another key, the same question
        row("q2", letter="A"),
        row("q1", letter="C", config_hash="c2", method="uniform"),
    ]
    first, second = answer_sets(table(*rows), label="run")
    assert [answer.answer for answer in first.answers] == ["A", "A"]
    assert (first.num_superseded, second.num_superseded) == (1, 0)
    assert [first.label, second.label] == ["run adapttoken c1", "run uniform c2"]


def test_a_manifest_chooses_questions_and_its_truth_counts():
    manifest = pa.table({"question_id": ["q1"], "video": ["v1"], "expected": ["B"]})
    found = evaluated(row("q1", letter="B"), row("q2"), manifest=manifest)
    assert (found.overall.num_right, found.overall.num_questions) == (1, 1)
    with pytest.raises(ValueError, match="holds no answers to these questions"):
        evaluated(row("q2"), manifest=manifest)


def test_an_unknown_benchmark_is_refused():
    with pytest.raises(ValueError, match=r"benchmark must be one of videomme, .* got 'egoschema'"):
        evaluated(row("q1", benchmark="egoschema"))


def compared(first, second, videos):
    ids = [f"q{index}" for index in range(len(first))]
    runs = [
        evaluated(*(row(*pair, letter) for pair, letter in zip(zip(ids, videos, strict=True), letters, strict=True)))
        for letters in (first, second)
    ]
    return compare_runs(runs[0].judged, runs[1].judged, names=("first", "second"))


def test_paired_difference_interval_and_p():
    found = compared("ABABBBBA", "AAAABBBB", ["v1"] * 2 + ["v2"] * 2 + ["v3"] * 4)
    assert (found.num_questions, found.num_videos) == (8, 3)
    assert (found.num_only_other, found.num_only_baseline) == (2, 1)
    assert found.difference == pytest.approx(1 / 8)
    # differences by video: 1, 1, -1; less the mean times 2, 2, 4
    error = sqrt((1 - 0.25) ** 2 + (1 - 0.25) ** 2 + (-1 - 0.5) ** 2) / 8
    assert found.standard_error == pytest.approx(error)
    assert (found.low, found.high) == (pytest.approx(1 / 8 - 1.959964 * error), pytest.approx(1 / 8 + 1.959964 * error))
    assert found.p_value == pytest.approx(erfc(1 / 8 / error / sqrt(2)))


@pytest.mark.parametrize(
    ("first", "second", "videos", "p_value"),
    [("AB", "AB", "vw", 1.0), ("BB", "AA", "vw", 0.0), ("AB", "BA", "vv", None)],
)
def test_paired_difference_without_any_spread(first, second, videos, p_value):
    found = compared(first, second, list(videos))
    assert found.p_value == p_value
    assert (found.low is None) == (p_value is None)


def test_runs_without_a_common_question_are_not_compared():
    one, other = evaluated(row("q1")), evaluated(row("q2"))
    assert compare_runs(one.judged, other.judged, names=("a", "b")) is None


def lvbench(question_id, reference, evidence, **others):
    start, end = reference or (None, None)
    own = {"reference_start_s": start, "reference_end_s": end, "time_reference": "…", "benchmark": "lvbench"}
    return row(question_id, evidence=spans(*evidence), **(own | others))


def test_evidence_hits_with_useless_references_skipped_and_failures_missing():
    rows = [
        lvbench("top", (10.0, 20.0), [(19, 21), (50, 51)]),
        lvbench("second", (10.0, 20.0), [(20, 21), (11, 12)]),  # half-open: 20 touches but does not overlap
        lvbench("sixth", (10.0, 20.0), [(30 + i, 31 + i) for i in range(5)] + [(11, 12)]),
        lvbench("failed", (10.0, 20.0), [], status="failed"),
        lvbench("reversed", None, [(0, 100)]),
        lvbench("none", None, [(0, 100)], time_reference=None),
    ]
    found = evaluated(*rows).evidence
    assert (found.num_questions, found.num_skipped) == (4, 1)
    assert (found.top_hit_share, found.few_hit_share) == (1 / 4, 2 / 4)
    # top spans of 2, 1 and 1 s in 100 s; a start in (10 - length, 20) hits
    assert found.chance == pytest.approx((12 / 98 + 11 / 99 + 11 / 99) / 3)
    assert found.reference_share == pytest.approx(0.1)


def test_needles_of_an_archive_are_references_one_or_several():
    single = row("q1", evidence=spans((5, 6)), needle_start_s=5.5, needle_end_s=7.0)
    absent = row("q2", evidence=spans((5, 6)), needle_start_s=None, needle_end_s=None)
    assert measure_hits(answer_sets(table(single, absent), label="run")[0].answers).num_questions == 1
    no_needle = row("q1", evidence=spans((5, 6)), needle_start_s=[], needle_end_s=[])
    assert measure_hits(answer_sets(table(no_needle), label="run")[0].answers) is None
    several = row("q1", evidence=spans((50, 51)), needle_start_s=[5.0, 50.5], needle_end_s=[6.0, 52.0])
    found = measure_hits(answer_sets(table(several), label="run")[0].answers)
    assert (found.num_questions, found.top_hit_share) == (1, 1.0)


starts = st.lists(st.tuples(st.integers(0, 90), st.integers(1, 30)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=40)
@given(starts, st.integers(1, 60))
def test_chance_equals_sliding_the_span_over_the_video(references, length):
    item = row(
        "q",
        evidence=spans((0, length)),
        needle_start_s=[float(start) for start, _ in references],
        needle_end_s=[float(start + size) for start, size in references],
    )
    (answers,) = answer_sets(table(item), label="run")
    tried = (np.arange(4000) + 0.5) / 4000 * (100 - length)
    hits = [any(s < start + size and start < s + length for start, size in references) for s in tried]
    assert chance_of_hit(answers.answers[0]) == pytest.approx(np.mean(hits), abs=2e-3)


def test_report_holds_every_figure_and_marks_the_papers():
    model = "Qwen/Qwen2.5-VL-7B-Instruct"
    runs = [
        evaluated(
            *(videomme(f"q{i}", video=f"v{i}", letter=letter, model=model) for i, letter in enumerate(letters)),
            label=name,
        )
        for name, letters in (("first", "AAB"), ("second", "AAA"))
    ]
    comparison = compare_runs(runs[0].judged, runs[1].judged, names=("first", "second"))
    tables = report_tables(runs, [comparison])
    text, markdown = to_text(tables), to_markdown(tables)
    for shown in (text, markdown):
        assert "70.5 (AdaptToken)" not in shown  # three questions are not the whole set
        assert "the paper's figure is not shown: it is of all 2700 questions" in shown
        assert "66.7 ± 27.2" in shown
        assert "+33.3" in shown
        assert "not measured here" in shown
        assert "first: only 3 videos: the errors are too small" in shown
    report = json.loads(report_json(runs, [comparison]))
    assert report["paper"]["source"] == "arXiv 2603.28696"
    assert {figure["percent"] for figure in report["paper"]["figures"]} >= {70.5, 70.2, 70.1, 71.4}
    assert [item["paper_percent"] for item in report["evaluations"]] == [None, None]
    assert report["evaluations"][0]["overall"]["accuracy"] == pytest.approx(2 / 3)
    assert report["comparisons"][0]["difference"] == pytest.approx(1 / 3)
