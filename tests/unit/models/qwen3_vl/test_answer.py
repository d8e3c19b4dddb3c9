"""A final pass over some of a clip's tokens: each patch at its time as text, deepstack features with their tokens."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.passes.candidates import GroupCandidates
from tests.unit.models.families.case import assert_final_pass_equals

TOLERANCE = 2e-5
KEPT_PATCHES = (0, 2)  # nothing of the middle one


@pytest.fixture(scope="module")
def prompt(case):
    return case.adapter.build_question(*case.choice, response_tokens=4)


@pytest.fixture(scope="module")
def kept(case):
    """Tokens of the first and last patch, nothing of the middle one, nothing at the far ends of a frame."""
    side = max(case.geometry.token_rows, case.geometry.token_columns)
    inner = [n for n in range(case.per_patch) if max(divmod(n, case.geometry.token_columns)) < side - 1]
    return np.array([*inner[::3], *[2 * case.per_patch + n for n in inner[:5:4]]])


def without_dropped(case, kept):
    """What a stock run over the kept patches alone must leave out: tokens, and those of them that are kept."""
    clip = case.only(KEPT_PATCHES)
    shown = np.concatenate([patch * case.per_patch + np.arange(case.per_patch) for patch in KEPT_PATCHES])
    return clip, clip.lay_out(*case.choice), np.isin(shown, kept)


def test_a_subset_equals_the_shown_patches_at_their_times_with_the_dropped_tokens_masked_out(
    case, features, prompt, kept, first_logits
):
    response = case.answer(case.final_tokens(features, kept), prompt)
    clip, tokens, is_kept = without_dropped(case, kept)
    dropped = np.array(clip.visual_places(tokens))[~is_kept].tolist()
    allowed = torch.ones(len(tokens), len(tokens), dtype=torch.bool).tril()
    allowed[:, dropped] = False
    mask = torch.zeros(1, 1, *allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    expected = clip.run_tokens(tokens, attention_mask=mask)
    expected = replace(expected, weights_ARN=expected.weights_ARN[..., is_kept])
    assert_final_pass_equals(response, expected, logits_V=first_logits[0][0], prompt=prompt)


def stock_logits(case, features, kept, *, deepstack_of):
    """Stock forward over the kept tokens alone, handed over as encoder outputs; ``deepstack_of`` changes them."""
    clip, tokens, is_kept = without_dropped(case, kept)
    places = set(np.array(clip.visual_places(tokens))[~is_kept].tolist())
    merged, *deepstack = features[torch.from_numpy(kept)].chunk(features.shape[1] // case.adapter.similarity_dim, dim=1)
    remaining = [token for place, token in enumerate(tokens) if place not in places]
    return clip.run_features(remaining, merged, deepstack_of(deepstack)).logits_V


def test_a_subset_equals_stock_given_the_kept_features_and_no_other_deepstack(
    case, features, prompt, kept, first_logits
):
    case.answer(case.final_tokens(features, kept), prompt)
    expected = stock_logits(case, features, kept, deepstack_of=lambda layers: layers)
    torch.testing.assert_close(first_logits[0][0], expected, atol=TOLERANCE, rtol=0)
    for wrong in (
        lambda layers: [torch.zeros_like(layer) for layer in layers],
        lambda layers: layers[::-1],
        lambda layers: [layer.roll(1, dims=0) for layer in layers],
    ):
        other = stock_logits(case, features, kept, deepstack_of=wrong)
        assert (other - expected).abs().max() > 100 * TOLERANCE


def test_deepstack_features_travel_with_tokens_through_ranking_dropping_and_taking(
    case, features, prompt, kept, first_logits
):
    scores = np.zeros(case.num_tokens, np.float32)
    scores[kept] = 1 + np.random.default_rng(0).permutation(len(kept))
    group = GroupCandidates.build(
        features, patches=np.array([70, 71, 72]), tokens_per_patch=case.per_patch, scores={0: scores}
    )
    group.retain(0, len(kept))
    piece = group.take(0, len(kept), position=0)
    direct = case.final_tokens(features, kept)
    assert piece.patch_K.tolist() == direct.patch_K.tolist()
    assert (piece.features() == direct.features_KD).all()
    case.answer(direct, prompt)
    case.answer(replace(direct, features_KD=piece.features()), prompt)
    assert torch.equal(*first_logits)


@pytest.fixture
def written(case, monkeypatch):
    """Texts that the adapter tokenises for a final pass."""
    texts = []
    tokenize = case.adapter._tokenize
    monkeypatch.setattr(case.adapter, "_tokenize", lambda given: texts.extend(given) or tokenize(given))
    return texts


def test_a_patch_with_a_kept_token_keeps_its_time_and_others_leave_no_trace(case, features, prompt, kept, written):
    tokens = case.final_tokens(features, kept)
    case.answer(tokens, prompt)
    case.answer(replace(tokens, center_s_K=None), prompt)  # where only the start of a patch is known
    assert written == [
        "<|im_start|>user\n<0.6 seconds><|vision_start|>",
        "<|vision_end|><9876.9 seconds><|vision_start|>",
        "<|im_start|>user\n<0.3 seconds><|vision_start|>",
        "<|vision_end|><9876.6 seconds><|vision_start|>",
    ]


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
