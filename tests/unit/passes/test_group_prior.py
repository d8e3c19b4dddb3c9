import math

import numpy as np
import pytest

from pipeline.failures import PipelineError
from pipeline.manifest.questions import Question
from pipeline.method.selectors.adapttoken import AdaptToken
from pipeline.method.selectors.base import GroupScore
from pipeline.method.selectors.registry import SELECTORS, get_selector
from pipeline.passes.group_prior import hear_groups
from pipeline.passes.records import FinalAnswer

FINAL = FinalAnswer(
    answer="B",
    answer_text="B",
    option_probabilities=(0.3, 0.4, 0.2, 0.1),
    answer_entropy=1.2,
    evidence=(),
    tokens=b"",
    kept={},
)
PREFIX = [
    GroupScore(group_index=0, certainty=-0.01, response="A", num_tokens=9),
    GroupScore(group_index=1, certainty=-math.log(4), response="B", num_tokens=9),
]


def question(options):
    return Question(question_id="q", video="v.mp4", text="How many?", options=options, row_index=0)


def test_a_certain_group_turns_a_doubtful_final_pass_but_not_its_text_and_entropy():
    asked = question(("1", "2", "3", "4"))
    found = hear_groups(FINAL, selector=get_selector("adapttoken-vote"), prefix=PREFIX, question=asked)
    assert (found.answer, found.answer_text, found.answer_entropy) == ("A", "B", 1.2)
    assert sum(found.option_probabilities) == pytest.approx(1.0)
    assert int(np.argmax(found.option_probabilities)) == 0


@pytest.mark.parametrize("name", sorted(set(SELECTORS) - {"adapttoken-vote"}))
def test_no_other_method_hears_the_groups(name):
    asked = question(("1", "2", "3", "4"))
    assert hear_groups(FINAL, selector=get_selector(name), prefix=PREFIX, question=asked) is FINAL


def test_an_open_answer_is_left_alone():
    assert hear_groups(FINAL, selector=get_selector("adapttoken-vote"), prefix=PREFIX, question=question(None)) is FINAL


class Reversing(AdaptToken):
    """Of another package: its own idea of what the groups say."""

    name = "reversing"

    def weigh(self, probabilities, prefix, letters):
        assert (len(prefix), letters) == (2, ["A", "B", "C", "D"])
        return tuple(reversed(probabilities))


def test_any_selector_that_weighs_is_heard_whatever_its_class():
    found = hear_groups(FINAL, selector=Reversing(), prefix=PREFIX, question=question(("1", "2", "3", "4")))
    assert (found.answer, found.option_probabilities) == ("C", (0.1, 0.2, 0.4, 0.3))


@pytest.mark.parametrize("weighed", [(1.0,), (0.5, 0.5, 0.5, 0.5), (1.5, -0.5, 0.0, 0.0), (math.nan, 0.0, 0.0, 1.0)])
def test_what_is_no_probabilities_is_refused_with_the_method(weighed):
    class Broken(AdaptToken):
        name = "broken"

        def weigh(self, probabilities, prefix, letters):
            return weighed

    with pytest.raises(PipelineError, match="weigh of method 'broken' must return 4 probabilities"):
        hear_groups(FINAL, selector=Broken(), prefix=PREFIX, question=question(("1", "2", "3", "4")))
