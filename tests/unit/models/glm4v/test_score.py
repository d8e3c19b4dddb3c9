"""Timestamps after the patches of a group, and where text stands."""

import numpy as np
import pytest
import torch

TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def prompts(case):
    return case.prompts(case.adapter)[:2]


def test_scores_depend_on_the_times_written_but_not_on_a_video_seen_before(
    case, prefix, prompts, features, first_logits
):
    other = case.adapter.prefill(features, case.geometry, patch_s=1.0, center_s_P=case.centers_s + 1)
    for group in (prefix, other, prefix):
        case.score(group, prompts)
    before, changed, again = first_logits
    assert torch.equal(before, again)
    assert (changed - before).abs().max() > 100 * TOLERANCE


def test_without_times_a_group_is_an_ordinary_clip_from_0_seconds_on(case, prompts, features, first_logits):
    for starts_s in (None, np.array([0.0, 2.0, 4.0])):
        prefix = case.adapter.prefill(features, case.geometry, patch_s=2.0, center_s_P=starts_s)
        case.score(prefix, prompts)
    assert torch.equal(*first_logits)


def test_positions_and_ids_of_a_clip_equal_stock_get_rope_index(case, prefix):
    ids = case.prompt_ids("What?", None)
    sequence = case.adapter.show_clip(3, case.geometry, patch_s=1.0, center_s_P=case.centers_s)
    stock = case.positions(ids)[:, 0].numpy()
    length = ids.index(case.tokenizer.convert_tokens_to_ids("<|end_of_video|>"))
    assert sequence.ids_T.tolist() == ids[:length]
    assert (sequence.positions == stock[:, :length]).all()
    assert sequence.next_position == stock[:, length].max() == stock[:, length].min()
    suffix = len(ids) - length
    assert (sequence.positions_with(suffix) == stock).all()
    assert (prefix.length, prefix.next_position) == (length, sequence.next_position)
    image_id = case.stock.config.image_token_id
    assert prefix.visual.tolist() == [place for place, token in enumerate(ids) if token == image_id]


def test_a_heads_unrotated_half_and_uneven_sections_are_at_work_in_the_tiny_models(case):
    """Else the comparisons with stock would not notice how positions enter."""
    rope = case.stock.config.text_config.rope_parameters
    head = case.stock.model.language_model.layers[0].self_attn.head_dim
    assert 2 * sum(rope["mrope_section"]) == rope["partial_rotary_factor"] * head == head / 2
    assert len(set(rope["mrope_section"])) > 1
