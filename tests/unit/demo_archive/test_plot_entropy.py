import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from jobs import plot_entropy
from pipeline.method.grouping import plan_groups
from pipeline.results.rows import GroupRow, QuestionResult
from pipeline.results.schema import results_table
from pipeline.results.writer import commit_answers

NEEDLE = pa.table({"needle_start_s": [3.0], "needle_end_s": [4.0]})  # frames 6 and 7: temporal patch 3


def write_answer(folder, key, groups):
    result = QuestionResult(
        question_id=key,
        question_key=key,
        video="v.mp4",
        question="What color is the star?",
        options=("red", "blue"),
        status="ok",
        answer="A",
        num_sampled_frames=128,
        num_groups=2,
        groups=groups,
        model="demo",
        model_revision=None,
        method="adapttoken",
        config_hash="c",
        video_fingerprint="f",
        run_id="r",
        finished_at=datetime.now(UTC),
    )
    commit_answers(str(folder), results_table([result], NEEDLE), [key])


def two_groups(entropy_with, entropy_without):
    patches = plan_groups(64, num_groups=2, grouping="interleaved")
    shown = int(np.flatnonzero([3 in group for group in patches])[0])
    return tuple(
        GroupRow(
            group_index=group,
            entropy=entropy_with if group == shown else entropy_without,
            certainty=-(entropy_with if group == shown else entropy_without),
            response="A",
            num_tokens_offered=8,
            num_tokens_bought=4,
            num_tokens_kept=4,
        )
        for group in (0, 1)
    )


def test_the_figure_parts_groups_by_the_needle_and_prints_what_it_shows(tmp_path, capsys):
    write_answer(tmp_path, "a", two_groups(0.02, 1.38))
    write_answer(tmp_path, "b", two_groups(1.2, 0.05))
    assert plot_entropy.main([str(tmp_path), "--output", str(tmp_path / "docs" / "needle.png")]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["groups_with_needle"], figures["groups_without_needle"]) == (2, 2)
    assert figures["auroc"] == pytest.approx(0.75)
    assert figures["falsely_certain"] == pytest.approx(0.5)
    assert (tmp_path / "docs" / "needle.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_without_scored_groups_is_an_error_with_a_remedy(tmp_path, capsys):
    write_answer(tmp_path, "a", ())
    assert plot_entropy.main([str(tmp_path), "--output", str(tmp_path / "needle.png")]) == 2
    assert "--method adapttoken" in capsys.readouterr().err
