import copy
import json
import shutil

import numpy as np
import pytest

from pipeline.failures import PipelineError
from pipeline.models.chat_template import check_prompt, load_tokenizer
from pipeline.models.glm.prompt import block_texts, read_prefix, time_writer
from pipeline.models.loading import describe_model, load_question_tokenizer
from pipeline.models.question_tokenizer import QuestionTokenizer
from pipeline.models.registry import FAMILIES
from pipeline.models.text_model import TextModel
from pipeline.settings.config import ModelConfig
from tests.unit.models.families.tiny_glm import CHAT_TEMPLATE, THINKING_TEMPLATE

QUESTIONS = [
    ("What?", None),
    ("What?", ("red", "blue")),
    ("Which?\nA line of its own, <1.5 seconds>", ("circle", "star", "square")),
    ("", None),
]
DEFAULT = "enable_thinking is defined and not enable_thinking"


@pytest.mark.parametrize(("question", "options"), QUESTIONS)
def test_a_clips_prompt_equals_the_stock_processors_expansion(case, question, options):
    sequence = case.adapter.show_clip(3, case.geometry, patch_s=1.0, center_s_P=case.centers_s)
    prompt = case.adapter.build_question(question, options, response_tokens=4)
    assert [*sequence.ids_T, *prompt.suffix_ids] == case.prompt_ids(question, options)
    assert case.prompt_text(question, options).count("<|image|>") == case.num_tokens


@pytest.mark.parametrize(
    ("processor", "written"),
    [("Glm4vProcessor", ["0", "59", "3600"]), ("Glm46VProcessor", ["0.2 seconds", "60.0 seconds", "3600.0 seconds"])],
)
def test_times_are_written_after_each_block_as_the_processor_does(case, processor, written):
    tokenizer = copy.copy(case.tokenizer)
    tokenizer.init_kwargs = {"processor_class": processor}
    texts = block_texts("user\n", np.array([0.25, 59.96, 3_600.0]), time_writer(tokenizer))
    assert texts == [
        "user\n<|begin_of_image|>",
        *(f"<|end_of_image|>{time}<|begin_of_image|>" for time in written[:2]),
        f"<|end_of_image|>{written[2]}",
    ]


def test_the_model_is_asked_to_answer_without_thinking(case):
    prompt = case.adapter.build_question("What?", None, response_tokens=4)
    expected = "<|end_of_video|>What?/nothink<|assistant|>\n<think></think>\n"
    assert case.tokenizer.decode(prompt.suffix_ids) == expected
    thinking = case.tokenizer.apply_chat_template(
        [{"role": "user", "content": [{"type": "video"}]}], tokenize=False, add_generation_prompt=True
    )
    assert thinking.endswith("<|assistant|>\n")  # the default: a thought would come first, and no letter


def test_a_letter_is_asked_for_inside_the_mark_around_answers_and_neither_mark_is_part_of_a_response(case):
    start, end = (case.tokenizer.convert_tokens_to_ids(mark) for mark in ("<|begin_of_box|>", "<|end_of_box|>"))
    assert not {start, end} & set(case.tokenizer.all_special_ids)  # so that decoding alone would show them
    for options, last in ((("red", "blue"), start), (None, case.tokenizer.convert_tokens_to_ids("\u010a"))):
        assert case.adapter.build_question("What?", options, response_tokens=4).suffix_ids[-1] == last
    letter = case.tokenizer.convert_tokens_to_ids("B")
    text = TextModel(case.stock, case.tokenizer, answer_marks=FAMILIES[case.family].answer_marks)
    assert text.write_out([start, letter, end, text.tokenizer.eos_token_id]) == "B"


def test_a_tokenizer_without_that_mark_is_asked_without_it(case):
    class Unmarked:
        def get_vocab(self):
            return {token: number for token, number in case.tokenizer.get_vocab().items() if "_of_box" not in token}

        def __getattr__(self, name):
            return getattr(case.tokenizer, name)

        def __call__(self, *arguments, **settings):
            return case.tokenizer(*arguments, **settings)

    family = FAMILIES[case.family]
    plain, marked = (
        QuestionTokenizer(tokenizer, video_token=family.video_token, letter_mark=family.answer_marks[0])
        for tokenizer in (Unmarked(), case.tokenizer)
    )
    asked, expected = (one.build("What?", ("red", "blue"), response_tokens=4) for one in (plain, marked))
    assert asked.suffix_ids == expected.suffix_ids[:-1]


def test_planning_counts_the_same_tokens_as_the_adapter(case, checkpoint):
    planned = load_question_tokenizer(ModelConfig(model=str(checkpoint)))
    for options in (None, ("red", "blue")):
        asked = planned.build("What?", options, response_tokens=4)
        assert asked == case.adapter.build_question("What?", options, response_tokens=4)


def with_template(case, template):
    tokenizer = copy.deepcopy(case.tokenizer)
    tokenizer.chat_template = template
    return tokenizer


OPENED = CHAT_TEMPLATE.replace("<|assistant|>\n", "<|assistant|>\n<think>").replace("<think></think>", "")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            THINKING_TEMPLATE,
            r"would think before it answers.*must end in </think>, it ends in .*use GLM-4\.5V, GLM-4\.6V",
        ),
        (CHAT_TEMPLATE.replace("<|end_of_video|>", ""), r"must put <\|begin_of_video\|> and <\|end_of_video\|> around"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_with_the_remedy(case, template, message):
    with pytest.raises(ValueError, match=message):
        read_prefix(with_template(case, template))
    with pytest.raises(ValueError, match=message):
        check_prompt(with_template(case, template), FAMILIES[case.family])


def test_a_prompt_that_ends_inside_a_thought_is_refused_for_any_family(case):
    with pytest.raises(ValueError, match="the answer starts inside <think>"):
        check_prompt(with_template(case, OPENED), FAMILIES[case.family])


def test_a_checkpoint_that_always_thinks_ends_in_one_line(case, checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "GLM-4.1V-9B-Thinking")
    (folder / "chat_template.jinja").write_text(THINKING_TEMPLATE)
    with pytest.raises(PipelineError, match="cannot be asked about a video: the model would think") as caught:
        describe_model(ModelConfig(model=str(folder)))
    assert "\n" not in caught.value.message


def test_the_published_processor_file_says_how_times_are_written_before_the_tokenizer_does(case, checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    other = {"Glm4vProcessor": "Glm46VProcessor", "Glm46VProcessor": "Glm4vProcessor"}[type(case.processor).__name__]
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config.pop("processor_class") == type(case.processor).__name__
    before = describe_model(ModelConfig(model=str(folder))).revision
    for named, file_name in ((None, None), ({}, "preprocessor_config.json"), (other, "preprocessor_config.json")):
        if file_name:
            content = {"processor_class": named} if named else {}
            (folder / file_name).write_text(json.dumps(content))
        tokenizer = load_tokenizer("m", folder, FAMILIES[case.family])
        expected = named or type(case.processor).__name__
        assert time_writer(tokenizer)(7.25) == {"Glm4vProcessor": "7", "Glm46VProcessor": "7.2 seconds"}[expected]
    assert describe_model(ModelConfig(model=str(folder))).revision == before
    (folder / "preprocessor_config.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(PipelineError, match="must name the checkpoint's processor_class"):
        load_tokenizer("m", folder, FAMILIES[case.family])


def test_a_tokenizer_that_names_no_processor_is_refused_because_times_would_be_guessed(case):
    tokenizer = copy.copy(case.tokenizer)
    tokenizer.init_kwargs = {}
    with pytest.raises(ValueError, match=r"must name the checkpoint's processor_class.*got None; copy the file from"):
        read_prefix(tokenizer)
