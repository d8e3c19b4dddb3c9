import copy

import numpy as np
import pytest
import torch

from pipeline.models.prompt import question_text
from pipeline.settings.config import ScoringConfig
from tests.unit.models.internvl.stock_internvl import entropy

TOLERANCE = 2e-5
QUESTIONS = (
    ("What colour?", ("red", "blue")),
    ("Which shape does the red one have?", ("circle", "square", "star", "triangle")),
    ("What is it?", None),
    ("What is shown, and where?", None),
)
RESPONSE_TOKENS = 6


def build_prompts(adapter):
    return [adapter.build_question(text, options, response_tokens=RESPONSE_TOKENS) for text, options in QUESTIONS]


@pytest.fixture(scope="module")
def prompts(case):
    return build_prompts(case.adapter)


def scoring(case, **changes):
    return ScoringConfig(reference_layer=case.layer, **changes)


def stock_ids(case):
    return [case.clip_ids(question_text(text, options)) for text, options in QUESTIONS]


def test_first_logits_and_options_of_a_padded_batch_equal_a_full_eager_forward_each(
    case, prefix, prompts, first_logits
):
    assert len({len(prompt.suffix_ids) for prompt in prompts}) == len(prompts)  # so that padding is exercised
    responses = case.adapter.score(prefix, prompts, scoring(case))
    for row, (ids, prompt, response) in enumerate(zip(stock_ids(case), prompts, responses, strict=True)):
        expected = case.run_stock(ids).logits[0, -1]
        torch.testing.assert_close(first_logits[0][row], expected, atol=TOLERANCE, rtol=0)
        assert response.entropies[0] == pytest.approx(entropy(expected), abs=TOLERANCE)
        if prompt.option_ids is None:
            assert response.option_probabilities is None
        else:
            probabilities = expected[list(prompt.option_ids)].double().softmax(dim=-1)
            assert response.option_probabilities == pytest.approx(probabilities.tolist(), abs=TOLERANCE)
            assert response.option == int(probabilities.argmax())


@pytest.mark.parametrize("query_tokens", ["text", "last-token"])
@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_attention_scores_equal_eager_attention_weights_at_the_reference_layer(
    case, prefix, prompts, query_tokens, reduce
):
    config = scoring(case, query_tokens=query_tokens, attention_reduce=reduce)
    for ids, response in zip(stock_ids(case), case.adapter.score(prefix, prompts, config), strict=True):
        weights = case.visual_attention(case.run_stock(ids).attentions, ids)
        rows = weights if query_tokens == "text" else weights[:, -1:]
        expected = rows.amax(dim=(0, 1)) if reduce == "max" else rows.mean(dim=(0, 1))
        assert response.attention_N.shape == (case.num_tokens,)
        assert response.attention_N == pytest.approx(expected.numpy(), abs=TOLERANCE)
        assert np.ptp(response.attention_N) > 10 * TOLERANCE  # a constant would say nothing about the order


def test_greedy_responses_equal_a_naive_loop_without_cache(case, prefix, prompts):
    responses = case.adapter.score(prefix, prompts, scoring(case))
    for ids, prompt, response in zip(stock_ids(case), prompts, responses, strict=True):
        said, logits = case.respond_stock(ids, max_tokens=prompt.max_tokens)
        assert response.text == case.tokenizer.decode(said, skip_special_tokens=True).strip()
        assert response.entropies == pytest.approx([entropy(row) for row in logits], abs=TOLERANCE)
    assert [len(response.entropies) for response in responses[:2]] == [1, 1]
    assert max(len(response.entropies) for response in responses[2:]) == RESPONSE_TOKENS


def test_a_response_ends_with_its_end_token_which_counts_while_other_rows_go_on(case, as_adapter):
    other, said = (
        case.respond_stock(ids, max_tokens=RESPONSE_TOKENS, end_token=None)[0] for ids in stock_ids(case)[2:]
    )
    end = next(token for token in said[1:] if token not in other and token != said[0])
    model = copy.deepcopy(case.stock)
    model.generation_config.eos_token_id = [end]
    model.config.text_config.eos_token_id = end
    adapter = as_adapter(model)
    prefix = adapter.prefill(adapter.encode(case.frames, case.geometry, batch_patches=3), case.geometry, patch_s=1.0)
    responses = adapter.score(prefix, build_prompts(adapter), scoring(case))
    assert len(responses[3].entropies) == said.index(end) + 1
    assert len(responses[2].entropies) == RESPONSE_TOKENS


def test_time_between_frames_changes_nothing_because_positions_only_count(case, features, prefix, prompts):
    other = case.adapter.prefill(features, case.geometry, patch_s=100.0)
    first, second = (case.adapter.score(p, prompts, scoring(case)) for p in (prefix, other))
    assert [response.entropies for response in first] == [response.entropies for response in second]


def test_the_order_of_frames_matters(case, features, prefix, prompts):
    flipped = features.view(-1, case.geometry.tokens_per_patch, features.shape[1]).flip(0).flatten(0, 1)
    other = case.adapter.prefill(flipped, case.geometry, patch_s=1.0)
    first, second = (case.adapter.score(p, prompts, scoring(case)) for p in (prefix, other))
    assert [response.entropies for response in first] != [response.entropies for response in second]
