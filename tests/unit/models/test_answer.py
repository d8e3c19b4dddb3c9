"""Final passes of every family over a whole clip; subsets, where families differ, are in their own folders."""

import pytest

from pipeline.settings.config import ScoringConfig
from tests.unit.models.families.case import assert_final_pass_equals, entropy

TOLERANCE = 2e-5
POSITIONS = pytest.mark.parametrize("positions", ["absolute", "compact"])


@pytest.fixture(scope="module")
def prompt(case):
    return case.adapter.build_question(*case.choice, response_tokens=4)


@POSITIONS
def test_all_tokens_of_a_clip_equal_the_stock_forward(case, features, prompt, first_logits, positions):
    response = case.answer(case.final_tokens(features, range(case.num_tokens)), prompt, positions)
    assert_final_pass_equals(response, case.stock_run(case.choice), logits_V=first_logits[0][0], prompt=prompt)
    assert len(response.entropies) == 1  # multiple choice is judged by its first token, whatever is said after it


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "multiple-choice"])
def test_the_answer_text_equals_a_naive_loop_without_cache(case, features, is_open):
    question = case.open_question, None if is_open else case.choice[1]
    prompt = case.adapter.build_question(*question, response_tokens=4)
    response = case.answer(case.final_tokens(features, range(case.num_tokens)), prompt)
    ids, logits = case.respond_stock(question, max_tokens=case.answer_tokens)
    assert len(ids) > 1
    assert response.text == case.tokenizer.decode(ids, skip_special_tokens=True).strip()
    entropies = [entropy(row) for row in logits]
    assert response.entropies == pytest.approx(entropies[: len(response.entropies)], abs=TOLERANCE)
    assert len(response.entropies) == (len(ids) if is_open else 1)


@POSITIONS
def test_the_final_pass_over_one_whole_group_equals_its_group_pass(case, features, prefix, prompt, positions):
    final = case.answer(case.final_tokens(features, range(case.num_tokens)), prompt, positions)
    (group,) = case.adapter.score(prefix, [prompt], ScoringConfig(reference_layer=case.layer))
    assert final.option_probabilities == pytest.approx(group.option_probabilities, abs=TOLERANCE)
    assert final.attention_N == pytest.approx(group.attention_N, abs=TOLERANCE)


def test_dropping_tokens_changes_the_answer(case, features, prompt, first_logits):
    for kept in (range(case.num_tokens), range(1, case.num_tokens)):
        case.answer(case.final_tokens(features, kept), prompt, "compact")
    assert (first_logits[0] - first_logits[1]).abs().max() > 10 * TOLERANCE


@POSITIONS
def test_any_subset_of_tokens_is_taken(case, features, positions):
    last = case.num_tokens - 1
    for kept in ([0], [last], [0, last], list(range(1, last, 2))):
        for question in (case.choice, (case.open_question, None)):
            prompt = case.adapter.build_question(*question, response_tokens=4)
            response = case.answer(case.final_tokens(features, kept), prompt, positions)
            assert response.attention_N.shape == (len(kept),)
            assert (response.attention_N > 0).all()
            assert all(one >= 0 for one in response.entropies)
            assert (response.option_probabilities is None) == (prompt.option_ids is None)


def test_an_unknown_way_to_place_tokens_is_refused(case, features, prompt):
    with pytest.raises(
        ValueError, match="positions must be one of 'absolute', 'compact', 'patch-index', got 'relative'"
    ):
        case.answer(case.final_tokens(features, [0]), prompt, "relative")
