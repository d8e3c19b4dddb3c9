import numpy as np
import pytest

from pipeline.models.qwen.qwen3_sequence import block_texts, clip_centers
from pipeline.models.qwen.qwen3_vl import Qwen3VL
from tests.unit.models.tiny_models import cases_of

QUESTIONS = [
    ("What?", None),
    ("What?", ("red", "blue")),
    ("Which?\nA line of its own, <1.5 seconds>", ("circle", "star", "square")),
    ("", None),
]


@pytest.mark.parametrize("case", [*cases_of("qwen3_vl"), *cases_of("qwen3_5")], indirect=True)
@pytest.mark.parametrize(("question", "options"), QUESTIONS)
def test_a_clips_prompt_equals_the_stock_processors_expansion(case, features, question, options):
    embedded = []
    embed = case.adapter._model.get_input_embeddings()
    handle = embed.register_forward_hook(lambda module, args, output: embedded.extend(args[0].tolist()))
    case.adapter.prefill(features, case.geometry, patch_s=1.0, center_s_P=case.centers_s)
    handle.remove()
    prompt = case.adapter.build_question(question, options, response_tokens=4)
    ids = [*embedded, *prompt.suffix_ids]
    assert ids == case.tokenizer(case.prompt_text(question, options), add_special_tokens=False)["input_ids"]
    assert case.prompt_text(question, options).count("<|video_pad|>") == case.num_tokens
    assert "<0.6 seconds>" in case.tokenizer.decode(ids)
    assert "<120.0 seconds>" in case.tokenizer.decode(ids)
    assert "<9876.9 seconds>" in case.tokenizer.decode(ids)


def test_stock_leaves_the_templates_vision_tokens_around_all_blocks_where_the_release_did_not(case):
    # Transformers 4.57, with which the family was published, put the expansion in place of the template's
    # <|vision_start|><|video_pad|><|vision_end|>; 5.10 to 5.23 replaces only the middle token, so that one more pair
    # stands around all blocks (vllm-project/vllm#46817). If this test fails, stock was mended: drop the note in
    # qwen3_vl and let test_a_clips_prompt go through the processor's own replacement.
    expansion = case.stock_video_text()
    template = "user\n<|vision_start|><|video_pad|><|vision_end|>What?"
    (stock,), _ = case.processor.get_text_with_replacements([template], videos_replacements=[expansion])
    assert stock == f"user\n<|vision_start|>{expansion}<|vision_end|>What?"
    assert case.prompt_text("What?", None).startswith(f"<|im_start|>user\n{expansion}What?")


def test_times_are_written_with_one_decimal_before_each_block():
    texts = block_texts("user\n", np.array([0.25, 59.96, 3_600.0]))
    assert texts == [
        "user\n<0.2 seconds><|vision_start|>",
        "<|vision_end|><60.0 seconds><|vision_start|>",
        "<|vision_end|><3600.0 seconds><|vision_start|>",
    ]


@pytest.mark.parametrize(
    ("frames_per_patch", "patch_s", "centers"), [(2, 1.0, [0.25, 1.25, 2.25]), (1, 0.5, [0.0, 0.5, 1.0])]
)
def test_a_clip_without_times_of_its_own_starts_at_0_seconds(case, frames_per_patch, patch_s, centers):
    assert clip_centers(3, frames_per_patch=frames_per_patch, patch_s=patch_s).tolist() == centers
    stock = case.processor._calculate_timestamps([0, 1, 2, 3, 4, 5], 2.0, 2)
    assert stock == [0.25, 1.25, 2.25]


def test_the_suffix_starts_with_the_end_of_the_last_block(case):
    prompt = case.adapter.build_question("What?", None, response_tokens=4)
    assert case.tokenizer.decode(prompt.suffix_ids) == "<|vision_end|>What?<|im_end|>\n<|im_start|>assistant\n"


def test_a_template_that_puts_no_vision_tokens_around_the_video_is_refused(case):
    template = "user <|video_pad|> {{ messages[0].content[1].text }}"
    tokenizer = type("Tokenizer", (), {"get_chat_template": lambda self: template, "special_tokens_map": {}})()
    with pytest.raises(ValueError, match=r"must put <\|vision_start\|> and <\|vision_end\|> around <\|video_pad\|>"):
        Qwen3VL(case.adapter._model, tokenizer, name="tiny", revision="0")
