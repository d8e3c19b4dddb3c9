import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.lab.demo_training.scoreboard import (
    GroupEntropies,
    covered_share,
    groups_with_needle,
    hits_needle,
    is_right,
    score_method,
)
from pipeline.method.grouping import plan_groups

entropies = st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.3]), min_size=1, max_size=12)


@given(entropies, entropies)
@settings(deadline=None)
def test_auroc_equals_counting_all_pairs(with_needle, without):
    pairs = [(w < o) + 0.5 * (w == o) for w in with_needle for o in without]
    found = GroupEntropies(with_needle=np.array(with_needle), without_needle=np.array(without))
    assert found.auroc == pytest.approx(np.mean(pairs))


@given(st.integers(64, 700), st.integers(0, 60), st.integers(1, 64))
@settings(deadline=None)
def test_a_group_has_the_needle_when_one_of_its_frames_does(num_frames, start, length):
    end = min(start + length, num_frames)
    row = {
        "num_sampled_frames": num_frames,
        "num_groups": -(-num_frames // 64),
        "needle_start_s": start / 2,
        "needle_end_s": end / 2,
    }
    shows = groups_with_needle(row, sample_fps=2.0, frames_per_patch=2)
    groups = plan_groups(-(-num_frames // 2), num_groups=row["num_groups"], grouping="interleaved")
    for group, is_shown in zip(groups, shows, strict=True):
        frames = {2 * int(p) for p in group} | {2 * int(p) + 1 for p in group}
        assert is_shown == any(start <= frame < end for frame in frames)


def answer_row(**changes):
    return {
        "status": "ok",
        "video": "v",
        "options": ["red", "blue"],
        "answer": "A",
        "expected": "A",
        "evidence": [{"start_s": 10.0, "end_s": 11.0, "weight": 0.6}, {"start_s": 40.0, "end_s": 42.0, "weight": 0.4}],
        "needle_start_s": 10.5,
        "needle_end_s": 14.0,
        "duration_s": 100.0,
        "groups": [1],
        "num_groups": 10,
        "num_groups_scored": 4,
        "num_tokens_kept": 32,
        "encode_s": 1.0,
        "prefill_s": 1.0,
        "score_s": 1.0,
        "answer_s": 1.0,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"answer": "B"}, False),
        ({"status": "failed"}, False),
        ({"options": None, "answer": "The star is red.", "expected": "red"}, True),
        ({"options": None, "answer": "The star is reddish.", "expected": "red"}, False),
    ],
)
def test_right_answers(changes, expected):
    assert is_right(answer_row(**changes)) is expected


def test_evidence_counts_half_open_overlap_and_covered_time():
    assert hits_needle(answer_row())
    assert not hits_needle(answer_row(needle_start_s=11.0, needle_end_s=12.0))
    assert covered_share(answer_row()) == pytest.approx(0.03)


def test_a_failed_row_is_a_wrong_answer_and_errors_cluster_by_video():
    rows = [answer_row(), answer_row(answer="B", video="w"), answer_row(status="failed", video="w")]
    score = score_method("adapttoken", rows)
    assert (score.num_questions, score.num_failed) == (3, 1)
    assert score.accuracy == pytest.approx(1 / 3)
    assert score.groups_share == pytest.approx(0.4)
    assert score.standard_error == pytest.approx(np.sqrt((2 / 3) ** 2 + (2 / 3) ** 2) / 3)
