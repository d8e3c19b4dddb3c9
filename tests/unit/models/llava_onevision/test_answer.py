"""A final pass over some of a clip's tokens: they follow each other, and the line break stands after the last."""

import pytest
import torch

from tests.unit.models.families.case import assert_final_pass_equals


@pytest.mark.parametrize("positions", ["absolute", "compact"])
@pytest.mark.parametrize("patches_apart", [1, 2_500])
def test_a_subset_equals_the_stock_forward_over_as_many_video_tokens(
    case, features, first_logits, positions, patches_apart
):
    prompt = case.adapter.build_question(*case.choice, response_tokens=4)
    kept = [0, case.per_patch - 1, 2 * case.per_patch, 2 * case.per_patch + 1]  # nothing of the middle frame
    response = case.answer(case.final_tokens(features, kept, apart=patches_apart), prompt, positions)
    expected = case.run_kept(case.choice, kept)
    assert_final_pass_equals(response, expected, logits_V=first_logits[0][0], prompt=prompt)


def test_the_line_break_after_the_video_tells(case, features, first_logits):
    """So comparing with stock would notice its absence."""
    prompt = case.adapter.build_question(*case.choice, response_tokens=4)
    tokens = case.final_tokens(features, range(case.num_tokens))
    newline = case.adapter.stock.model.image_newline
    before = newline.detach().clone()
    case.answer(tokens, prompt)
    with torch.no_grad():
        newline.zero_()
    case.answer(tokens, prompt)
    with torch.no_grad():
        newline.copy_(before)
    assert (first_logits[0] - first_logits[1]).abs().max() > 1e-3


def test_the_line_break_is_part_of_the_prefix_and_no_visual_token(case, features, prefix):
    sequence = case.adapter.show_clip(3, case.geometry, patch_s=1.0, center_s_P=None)
    start = len(case.tokenizer("<|im_start|>user ", add_special_tokens=False)["input_ids"])
    assert sequence.visual == slice(start, start + len(features))
    assert len(sequence.ids_T) == prefix.length == start + len(features) + 1 == sequence.next_position
    assert set(sequence.ids_T[start:]) == {case.stock.config.video_token_id}
