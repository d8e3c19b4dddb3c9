"""A final pass over some of a clip's tokens: what was dropped was never read, so no state remembers it."""

import numpy as np
import pytest
import torch

from tests.unit.models.families.case import assert_final_pass_equals


@pytest.fixture(scope="module")
def prompt(case):
    return case.adapter.build_question(*case.choice, response_tokens=4)


@pytest.fixture(scope="module")
def kept(case):
    """Tokens of the first and last patch, nothing of the middle one, nothing at the far ends of a frame."""
    side = max(case.geometry.token_rows, case.geometry.token_columns)
    inner = [n for n in range(case.per_patch) if max(divmod(n, case.geometry.token_columns)) < side - 1]
    return np.array([*inner[::3], *[2 * case.per_patch + n for n in inner[:5:4]]])


def test_a_subset_equals_stock_over_the_remaining_tokens_at_their_old_positions(
    case,
    features,
    prompt,
    kept,
    first_logits,
):
    response = case.answer(case.final_tokens(features, kept), prompt)
    assert len(kept) < 2 * case.per_patch
    expected = case.run_kept(case.choice, kept)
    assert_final_pass_equals(response, expected, logits_V=first_logits[0][0], prompt=prompt)


def test_a_dropped_token_leaves_no_trace_in_the_states(case, features, kept, prompt, first_logits):
    """What is kept twice is the same, whatever was computed before; one token less is another answer."""
    for chosen in (kept, kept[1:], kept):
        case.answer(case.final_tokens(features, chosen), prompt)
    before, fewer, again = first_logits
    assert torch.equal(before, again)
    assert (before - fewer).abs().max() > 1e-3


def test_times_are_text_so_both_values_of_positions_say_the_same(case, features, kept, prompt, first_logits):
    tokens = case.final_tokens(features, kept)
    for positions in ("absolute", "compact"):
        case.answer(tokens, prompt, positions)
    assert torch.equal(*first_logits)
