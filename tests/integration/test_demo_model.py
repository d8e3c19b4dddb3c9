"""The shipped weights on real encoded video: answers, certainty and evidence mean something."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs import run
from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.lab.demo_training.scoreboard import covered_share, score_method, split_entropies
from pipeline.results.demo_warning import DEMO_MODEL_WARNING
from pipeline.results.finished import read_answers
from tests.unit.report.report_rows import make_video


@pytest.fixture(scope="module")
def long_archive(tmp_path_factory):
    """One video of 2,000 sampled frames with six needles; a seed that no other test or figure uses."""
    spec = ArchiveSpec(num_frames=(2_000,), questions_per_video=6, open_questions_per_video=1, seed=31_337)
    return write_archive(tmp_path_factory.mktemp("demo"), spec)


@pytest.fixture(scope="module")
def answer(long_archive, tmp_path_factory, request):
    def run_method(method):
        output = str(tmp_path_factory.mktemp("answers"))
        arguments = ["--manifest", str(long_archive), "--output", output, "--model", "demo", "--method", method]
        code = run.main([*arguments, "--executor", "serial"])
        assert code == 0
        return read_answers(output).to_pylist()

    cache = {}
    return lambda method: cache.setdefault(method, run_method(method)) if method not in cache else cache[method]


def test_adapttoken_finds_short_needles_and_says_where_they_are(answer):
    score = score_method("adapttoken", answer("adapttoken"))
    assert score.accuracy >= 5 / 6
    assert score.evidence_hit_share >= 5 / 6
    assert all(row["num_groups_scored"] == row["num_groups"] == 32 for row in answer("adapttoken"))


def test_groups_that_show_the_needle_are_certain_and_others_are_not(answer):
    entropies = split_entropies(answer("adapttoken"), sample_fps=2.0, frames_per_patch=2)
    assert entropies.auroc > 0.97
    assert entropies.false_certainty(0.1) < 0.03
    assert np.median(entropies.with_needle) < 0.1
    assert np.median(entropies.without_needle) > 1.3


def test_lite_agrees_on_far_fewer_groups(answer):
    full, lite = answer("adapttoken"), answer("adapttoken-lite")
    assert score_method("adapttoken-lite", lite).groups_share < 0.7
    agreeing = sum(a["answer"] == b["answer"] for a, b in zip(full, lite, strict=True))
    assert agreeing >= 5


def test_evidence_of_the_final_pass_covers_a_small_part_of_the_video(answer):
    for row in answer("adapttoken"):
        assert sum(span["weight"] for span in row["evidence"]) == pytest.approx(1.0)
        assert covered_share(row) < 0.15
        assert row["num_tokens_kept"] == sum(group["num_tokens_kept"] for group in row["groups"])


@pytest.mark.parametrize("executor", ["serial", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_video_of_the_world_is_answered_with_a_warning_in_rows_and_once_in_the_log(
    executor, long_archive, tmp_path, capsys
):
    known = pq.read_table(long_archive).slice(0, 1).to_pylist()[0]["video"]
    foreign = [str(make_video(tmp_path / name)) for name in ("a.mp4", "b.mp4")]
    videos = [*foreign, str(long_archive.parent / known)]
    lines = [{"question_id": f"q{n}", "video": video, "question": "How many?"} for n, video in enumerate(videos)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arguments = ["--manifest", str(tmp_path / "m.jsonl"), "--output", str(tmp_path / "out"), "--model", "demo"]
    assert run.main([*arguments, "--max-frames", "128", "--executor", executor]) == 0
    rows = sorted(read_answers(str(tmp_path / "out")).to_pylist(), key=lambda row: row["question_id"])
    assert [row["warnings"] for row in rows] == [[DEMO_MODEL_WARNING], [DEMO_MODEL_WARNING], []]
    printed = capsys.readouterr()
    assert printed.err.count(DEMO_MODEL_WARNING) == 1
    assert "; method adapttoken, model demo" in printed.out
