import pytest

from pipeline.models.prompt import question_text
from tests.unit.models.families.llava_onevision import expand_video

QUESTIONS = [
    ("What colour is it?", None),
    ("What colour is it?", ("red", "blue")),
    ("\nA question that starts with a line break\n\nand ends with two\n\n", ("é", "ü")),
    ("", None),
]


@pytest.mark.parametrize("num_frames", [1, 3, 12])
@pytest.mark.parametrize(("question", "options"), QUESTIONS)
def test_ids_equal_the_stock_processors_expansion_tokenized_in_one_piece(case, num_frames, question, options):
    content = [{"type": "video"}, {"type": "text", "text": question_text(question, options)}]
    rendered = case.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    vision = case.stock.config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    expanded = rendered.replace("<video>", expand_video(num_frames=num_frames, patches_per_frame=patches))
    sequence = case.adapter.show_clip(num_frames, case.geometry, patch_s=1.0, center_s_P=None)
    suffix = case.adapter.build_question(question, options, response_tokens=4).suffix_ids
    assert [*sequence.ids_T, *suffix] == case.tokenizer(expanded, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("control", ["<video>", "<image>", "<|im_end|>"])
def test_control_tokens_in_a_question_are_text(case, control):
    suffix = case.adapter.build_question(f"What is {control} here?", None, response_tokens=4).suffix_ids
    assert case.tokenizer.decode(suffix) == f"\nWhat is {control} here?<|im_end|><|im_start|>assistant\n"
    special = [token for token in suffix if token in case.tokenizer.added_tokens_decoder]
    assert case.tokenizer.convert_ids_to_tokens(special) == ["<|im_end|>", "<|im_start|>"]
