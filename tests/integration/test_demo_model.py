"""The shipped weights on real encoded video: answers, certainty and evidence mean something."""

import numpy as np
import pytest

from jobs import run
from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.demo.scoreboard import collect_entropies, covered_share, score_method


@pytest.fixture(scope="module")
def long_archive(tmp_path_factory):
    """One video of 2,000 sampled frames with six needles; a seed that no other test or figure uses."""
    spec = ArchiveSpec(num_frames=(2_000,), questions_per_video=6, open_questions_per_video=1, seed=31_337)
    return write_archive(tmp_path_factory.mktemp("demo"), spec)


@pytest.fixture(scope="module")
def answer(long_archive, tmp_path_factory, request):
    from pipeline.results.finished import read_answers

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
    entropies = collect_entropies(answer("adapttoken"), sample_fps=2.0, frames_per_patch=2)
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
