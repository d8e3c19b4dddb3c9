"""What the benchmarks' own servers take, and which of the paper's figures stands beside which run."""

import json

import pytest

from pipeline.evaluation.scoring.answers import answer_sets
from pipeline.evaluation.scoring.paper import paper_figure, paper_frame_scaling, paper_table
from pipeline.evaluation.scoring.submissions import submission_bytes
from tests.unit.evaluation.scoring.rows import row, table


def submitted(*rows):
    (answers,) = answer_sets(table(*rows), label="run")
    return json.loads(submission_bytes(answers))


def test_videomme_list_has_one_object_per_video_with_lettered_options():
    shared = {"benchmark": "videomme", "duration_group": "short", "domain": "Knowledge", "sub_category": "Law"}
    found = submitted(
        row("videomme:001-2", "a.mp4", source_id="001-2", task_type="OCR Problems", answer_text="B. x", **shared),
        row("videomme:001-1", "a.mp4", source_id="001-1", task_type="Temporal Reasoning", status="failed",
            answer_text=None, question="subtitles\nWhich?", question_stem="Which?", **shared),
        row("videomme:002-1", "b.mp4", source_id="002-1", **shared),
    )  # fmt: skip
    assert [item["video_id"] for item in found] == ["001", "002"]
    assert {name: found[0][name] for name in ("duration", "domain", "sub_category")} == {
        "duration": "short",
        "domain": "Knowledge",
        "sub_category": "Law",
    }
    assert found[0]["questions"] == [
        {
            "question_id": question_id,
            "task_type": task_type,
            "question": "Which?",
            "options": ["A. red", "B. green", "C. blue", "D. cyan"],
            "answer": "A",
            "response": response,
        }
        for question_id, task_type, response in (("001-1", "Temporal Reasoning", ""), ("001-2", "OCR Problems", "B. x"))
    ]


def test_longvideobench_maps_ids_to_raw_responses():
    rows = [row(f"longvideobench:x_{i}", source_id=f"x_{i}", benchmark="longvideobench", expected=None) for i in "01"]
    assert submitted(rows[0] | {"answer_text": "B. because"}, rows[1]) == {"x_0": "B. because", "x_1": "A"}


@pytest.mark.parametrize(("text", "option"), [("E", "E"), ("(F) Arrest", "F"), ("B) x", "B"), ("no idea", "no idea")])
def test_mlvu_test_list_holds_the_letter_or_what_was_said(text, option):
    item = row("mlvu-test:AR_0", source_id="AR_0", benchmark="mlvu-test", task_type="anomaly_reco", answer_text=text)
    assert submitted(item) == [{"question_id": "AR_0", "question_type": "anomaly_reco", "option": option}]


@pytest.mark.parametrize("benchmark", ["lvbench", "mlvu-dev", None])
def test_a_benchmark_without_a_server_takes_no_submission(benchmark):
    with pytest.raises(ValueError, match="takes no submission; those that do are videomme, longvideobench, mlvu-test"):
        submitted(row("q", benchmark=benchmark))


@pytest.mark.parametrize(
    ("model", "method", "benchmark", "percent"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", "adapttoken", "lvbench", 54.8),
        ("s3://models/Qwen2.5-VL-7B-Instruct", "adapttoken-lite", "mlvu-dev", 76.3),
        ("Qwen2.5-VL-72B-Instruct", "uniform", "longvideobench", 66.2),
        ("OpenGVLab/InternVL2_5-8B", "flexselect", "videomme", 67.0),
        ("Qwen/Qwen3-VL-8B-Instruct", "adapttoken", "videomme", 73.8),
        ("Qwen/Qwen3-VL-8B-Instruct", "adapttoken-lite", "videomme", None),
        ("demo", "adapttoken", "videomme", None),
        ("Qwen2.5-VL-7B", "adapttoken", "mlvu-test", None),
    ],
)
def test_the_papers_figure_is_that_of_the_same_model_and_method(model, method, benchmark, percent):
    figure = paper_figure(benchmark, model=model, method=method)
    assert (None if figure is None else figure.percent) == percent


def test_the_papers_table_and_frame_scaling_agree_where_they_overlap():
    for benchmark in ("videomme", "mlvu-dev", "longvideobench", "lvbench"):
        by_frames = {figure.max_frames: figure.percent for figure in paper_frame_scaling(benchmark)}
        assert list(by_frames) == [4_096, 8_192, 10_000]
        in_table = paper_figure(benchmark, model="Qwen2.5-VL-7B", method="adapttoken")
        assert by_frames[4_096] == in_table.percent
        assert len(paper_table(benchmark)) == 13
    assert paper_table("mlvu-test") == paper_frame_scaling("mlvu-test") == ()
