"""The chat template with its documented switch: nothing is asked while the model would still think."""

import shutil

import pytest

from pipeline.models.chat_template import PromptError, load_tokenizer
from pipeline.models.loading import load_question_tokenizer
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import ModelConfig
from tests.unit.models.families.tiny_qwen3_5 import CHAT_TEMPLATE

SUFFIX = "<|vision_end|>What?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
WITH_SWITCH = "{%- if enable_thinking is defined and enable_thinking is false -%}"


def test_the_answer_starts_after_an_empty_think_block(case, checkpoint):
    planned = load_question_tokenizer(ModelConfig(model=str(checkpoint)))
    for asking in (case.adapter.build_question, planned.build):
        prompt = asking("What?", None, response_tokens=4)
        assert case.tokenizer.decode(prompt.suffix_ids) == SUFFIX


def test_without_the_switch_the_template_thinks_so_that_these_tests_can_tell(case):
    messages = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What?"}]}]
    rendered = case.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered.endswith("<|im_start|>assistant\n<think>\n")


@pytest.fixture
def folder(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "checkpoint")


def test_a_template_that_knows_no_switch_and_always_thinks_is_refused(case, folder):
    assert WITH_SWITCH in CHAT_TEMPLATE
    always = CHAT_TEMPLATE.replace(WITH_SWITCH, "{%- if false -%}")
    (folder / "chat_template.jinja").write_text(always)
    with pytest.raises(PromptError, match="the answer starts inside <think>"):
        load_tokenizer("m", folder, FAMILIES[case.family])
