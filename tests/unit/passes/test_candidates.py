"""Candidate tokens against a brute force that never drops anything."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.passes.candidates import GroupCandidates

TOKENS_PER_PATCH, PATCHES = 3, np.array([1, 5, 9, 13])
NUM_TOKENS = TOKENS_PER_PATCH * len(PATCHES)


def build(scores):
    features = torch.arange(NUM_TOKENS * 2, dtype=torch.float32).reshape(NUM_TOKENS, 2)
    return GroupCandidates.build(features, patches=PATCHES, tokens_per_patch=TOKENS_PER_PATCH, scores=scores)


def brute_force(score_N, count):
    """Best tokens first, ties to the lower token; then in token order."""
    ranked = sorted(range(NUM_TOKENS), key=lambda token: (-score_N[token], token))
    return sorted(ranked[:count])


@given(data=st.data(), num_questions=st.integers(1, 3))
@settings(deadline=None, max_examples=100)
def test_what_is_taken_is_what_a_full_copy_would_give(data, num_questions):
    levels = st.lists(st.integers(0, 4), min_size=NUM_TOKENS, max_size=NUM_TOKENS)
    scores = {q: np.array(data.draw(levels), dtype=np.float32) for q in range(num_questions)}
    candidates, limits = build(scores), dict.fromkeys(range(num_questions), NUM_TOKENS)
    for _ in range(data.draw(st.integers(0, 6))):
        question = data.draw(st.integers(0, num_questions - 1))
        limits[question] = data.draw(st.integers(0, limits[question]))
        candidates.retain(question, limits[question])
        needed = {token for q, limit in limits.items() for token in brute_force(scores[q], limit)}
        assert needed <= set(candidates.held.tolist())
        assert len(candidates.features) == len(candidates.held)
        assert len(candidates.held) <= max(2 * len(needed), 1) or len(candidates.held) == NUM_TOKENS
    for question, limit in limits.items():
        count = data.draw(st.integers(0, limit))
        piece = candidates.take(question, count, position=7)
        tokens = brute_force(scores[question], count)
        assert piece.position == 7
        assert piece.patch_K.tolist() == [int(PATCHES[token // TOKENS_PER_PATCH]) for token in tokens]
        assert piece.token_K.tolist() == [token % TOKENS_PER_PATCH for token in tokens]
        assert piece.score_K.tolist() == [scores[question][token] for token in tokens]
        assert piece.features().tolist() == [[2.0 * token, 2.0 * token + 1] for token in tokens]


def test_features_of_tokens_that_nobody_needs_leave_memory():
    candidates = build({0: np.arange(NUM_TOKENS, dtype=np.float32), 1: np.zeros(NUM_TOKENS, np.float32)})
    candidates.retain(0, 2)
    assert len(candidates.features) == NUM_TOKENS  # question 1 may need all
    candidates.retain(1, 1)
    assert candidates.held.tolist() == [0, 10, 11]
    assert candidates.features.untyped_storage().nbytes() == 3 * 2 * 4
    candidates.retain(0, 0)
    candidates.retain(1, 0)
    assert len(candidates.features) == 0


def test_buying_more_than_was_retained_is_a_bug_that_shows():
    candidates = build({0: np.zeros(NUM_TOKENS, np.float32)})
    candidates.retain(0, 2)
    with pytest.raises(AssertionError, match="more tokens bought than were retained"):
        candidates.take(0, 3, position=0)
