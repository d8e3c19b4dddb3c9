"""What a group's entropy is taken over: the vocabulary as the model says it, or the options' letters."""

import math

import numpy as np
import pytest

from pipeline.failures import PipelineError
from pipeline.manifest.questions import Question
from pipeline.models.interface import FrameGeometry
from pipeline.passes.group_pass import score_group
from pipeline.passes.records import GroupInput
from pipeline.settings.config import RunConfig, ScoringConfig

QUESTIONS = tuple(
    Question(question_id=str(i), video="v", text="?", options=options, row_index=i)
    for i, options in enumerate([("x", "y"), None])
)
GROUP = GroupInput(
    group_index=0,
    geometry=FrameGeometry(height=2, width=4, token_rows=1, token_columns=2),
    patches=np.array([0]),
    questions=QUESTIONS,
    batches=((0, 1),),
)
FRAMES = np.zeros((2, 2, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("entropy_over", "of_choice", "of_open"),
    [("vocabulary", 0.25, 0.25), ("options", -0.25 * math.log(0.25) - 0.75 * math.log(0.75), 0.25)],
)
def test_letters_count_only_where_there_are_options(fake_model, entropy_over, of_choice, of_open):
    scored = score_group(fake_model(), FRAMES, GROUP, RunConfig(scoring=ScoringConfig(entropy_over=entropy_over)))
    assert scored.scores[0].entropy == pytest.approx(of_choice, abs=1e-12)
    assert scored.scores[1].entropy == pytest.approx(of_open, abs=1e-12)
    assert scored.scores[0].tokens_per_patch == 2


def test_probabilities_that_are_no_numbers_are_no_certainty(fake_model):
    class Broken(fake_model):
        def _respond(self, prompt, num_tokens, config):
            response = super()._respond(prompt, num_tokens, config)
            object.__setattr__(response, "option_probabilities", (math.nan, math.nan))
            return response

    with pytest.raises(PipelineError, match="no distribution"):
        score_group(Broken(), FRAMES, GROUP, RunConfig(scoring=ScoringConfig(entropy_over="options")))


def test_an_unknown_one_is_refused():
    with pytest.raises(ValueError, match="entropy_over must be 'vocabulary' or 'options', got 'letters'"):
        ScoringConfig(entropy_over="letters")  # type: ignore[arg-type]
