"""Each benchmark's wording, letter for letter; what a response is made to begin with."""

import pytest

from pipeline.manifest.questions import BLANK_OPTION
from pipeline.models.prompt import question_text
from pipeline.models.prompt_styles import STYLES
from pipeline.settings.config import RunConfig, ScoringConfig
from pipeline.settings.reading import config_hash
from tests.unit.models.tiny_models import build_case

EXPECTED = {
    "plain": "Q?\nA. red\nB.\nAnswer with the option's letter from the given choices directly.",
    "videomme": (
        "Select the best answer to the following multiple-choice question based on the video. Respond with only the "
        "letter of the correct option.\nQ?\nA. red\nB.\nThe best answer is:"
    ),
    "lvbench": "Q?\n(A) red\n(B)\nAnswer the question with the option letter",
    "mlvu": "Q?\n(A) red\n(B)\nOnly give the best option.",
}
KEY_BEFORE = "7e0e421072af6b55"  # of the default settings, before there were prompt_style and keep_ratio


@pytest.mark.parametrize("style", STYLES)
def test_options_are_worded_as_the_style_says_and_a_blank_one_is_asked_as_nothing(style):
    assert question_text("Q?", ("red", BLANK_OPTION), style=style) == EXPECTED[style]
    assert question_text("Q?", None, style=style) == "Q?"
    assert question_text("", ("red", BLANK_OPTION), style=style) == EXPECTED[style].replace("Q?", "")


def test_only_mlvus_wording_makes_the_response_begin_with_an_open_bracket():
    case = build_case("internvl-qwen2-text")
    for style, wording in STYLES.items():
        prompt = case.adapter.build_question("What?", ("red", "blue"), response_tokens=4, style=style)
        said = case.tokenizer.decode(list(prompt.suffix_ids))
        assert said.endswith("assistant\n" + wording.opening)
        assert wording.opening == ("Best option: (" if style == "mlvu" else "")


def test_a_style_of_its_own_is_another_answer_and_the_usual_one_keeps_its_key():
    hashes = {config_hash(RunConfig(scoring=ScoringConfig(prompt_style=s)), model_revision="r") for s in STYLES}
    assert len(hashes) == len(STYLES)
    assert config_hash(RunConfig(), model_revision="r") == KEY_BEFORE
