"""When final passes are worth processes of their own."""

import pytest

from cluster.answering_share import ExpectedWorkload, assign_answerers, expect_workload
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import FrameGeometry
from pipeline.settings.config import BudgetConfig, ExecutionConfig, RunConfig, SamplingConfig


class Layout:
    frames_per_patch, num_layers, max_positions, feature_width = 2, 28, 128_000, 3_584

    def frame_geometry(self, height, width, *, min_pixels, max_pixels):
        assert (height, width) == (720, 1280)
        return FrameGeometry(height=308, width=560, token_rows=10, token_columns=20)


def workload(questions, tokens, final, **other):
    return ExpectedWorkload(questions_per_video=questions, tokens_per_video=tokens, final_tokens=final, **other)


@pytest.mark.parametrize(
    ("work", "ratio"),
    [
        (workload(1, 1_000_000, 7_000), 7_000 / 1_360_000),
        (workload(4, 1_000_000, 7_000), 28_000 / 1_360_000),
        (workload(1, 1_000, 7_000), 1_000 / 1_360),  # a short video is smaller than the budget
        (workload(1, 1_000_000, 7_000, scored_share=0.5), 14_000 / 1_360_000),
        (workload(1, 7_000, 7_000, needs_scores=False), 1 / 0.36),
    ],
)
def test_answering_is_weighed_against_scoring_in_tokens(work, ratio):
    assert work.answering_per_scoring == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("num_scorers", "least", "asked", "ratio", "expected"),
    [
        (8, 1, None, 0.1, (8, 0)),  # 0.8 of a process
        (10, 1, None, 0.1, (9, 1)),
        (100, 1, None, 0.1, (91, 9)),
        (100, 1, None, 1.0, (50, 50)),
        (4, 4, None, 1.0, (4, 0)),  # all scorers are demanded
        (2, 1, None, 50.0, (1, 1)),
        (8, 1, 0, 50.0, (8, 0)),  # said by the user
        (8, 1, 3, 0.0, (8, 3)),
    ],
)
def test_answerers_are_taken_once_there_is_work_for_one(num_scorers, least, asked, ratio, expected):
    execution = ExecutionConfig(num_scorers=num_scorers, min_scorers=least, num_answerers=asked)
    scorers, answerers = assign_answerers(execution, workload(ratio * 1.36, 1_000.0, 1_000.0))
    assert (scorers.num_scorers, answerers) == expected
    assert scorers.num_scorers >= least


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("adapttoken", workload(3.0, 1_000_000, 7_000)),
        ("adapttoken-lite", workload(3.0, 1_000_000, 7_000, scored_share=0.5)),
        ("uniform", workload(3.0, 7_000, 7_000, needs_scores=False)),
    ],
)
def test_before_any_video_is_read_all_are_as_long_as_allowed(method, expected):
    config = RunConfig(
        method=method, sampling=SamplingConfig(max_frames=10_000), budget=BudgetConfig(token_budget=7_000)
    )
    found = expect_workload(
        num_videos=100, num_questions=300, config=config, layout=Layout(), selector=get_selector(method)
    )
    assert found == expected
