"""A final pass over some of a clip's tokens: each patch with its time as text after it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.models.families.case import assert_final_pass_equals

TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def prompt(case):
    return case.adapter.build_question(*case.choice, response_tokens=4)


@pytest.fixture(scope="module")
def kept(case):
    """Tokens of the first and last patch, nothing of the middle one, nothing at the far ends of a frame."""
    side = max(case.geometry.token_rows, case.geometry.token_columns)
    inner = [n for n in range(case.per_patch) if max(divmod(n, case.geometry.token_columns)) < side - 1]
    return np.array([*inner[::3], *[2 * case.per_patch + n for n in inner[:5:4]]])


def test_a_subset_equals_the_shown_patches_at_their_times_with_the_dropped_tokens_masked_out(
    case, features, prompt, kept, first_logits
):
    response = case.answer(case.final_tokens(features, kept), prompt)
    expected = case.run_kept(case.choice, kept.tolist())
    assert_final_pass_equals(response, expected, logits_V=first_logits[0][0], prompt=prompt)


def test_a_patch_with_a_kept_token_keeps_its_time_and_others_leave_no_trace(case, features, kept):
    tokens = case.final_tokens(features, kept)
    first, last = {"Glm4vProcessor": ("0", "9876"), "Glm46VProcessor": ("0.3 seconds", "9876.7 seconds")}[
        type(case.processor).__name__
    ]
    for given in (tokens, replace(tokens, center_s_K=None)):  # the latter: where only the start of a patch is known
        text = case.tokenizer.decode(case.adapter.show_kept(given, positions="compact", patch_s=1.0).ids_T)
        assert text.replace("<|image|>", "") == (
            "[gMASK]<sop><|user|>\n<|begin_of_video|>"
            f"<|begin_of_image|><|end_of_image|>{first}<|begin_of_image|><|end_of_image|>{last}"
        )


def test_presentation_times_and_close_positions_hold_at_once(case, features, prompt, kept, first_logits):
    tokens = case.final_tokens(features, kept)
    for positions in ("absolute", "compact"):
        case.answer(tokens, prompt, positions)
    assert torch.equal(*first_logits)
    case.answer(replace(tokens, center_s_K=tokens.center_s_K + 60), prompt)
    assert (first_logits[2] - first_logits[0]).abs().max() > 10 * TOLERANCE


def test_without_a_frame_size_text_goes_on_after_the_largest_kept_place(case, features, prompt, first_logits):
    whole = case.final_tokens(features, range(case.num_tokens))
    for tokens in (whole, replace(whole, geometry=None)):
        case.answer(tokens, prompt)
    assert torch.equal(*first_logits)
