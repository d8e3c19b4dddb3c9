import copy

import numpy as np
import pytest
import torch

from pipeline.models.qwen.qwen2_5_vl import Qwen25VL
from pipeline.settings.config import ScoringConfig

TOLERANCE = 2e-5
QUESTIONS = (
    ("What color is the circle ?", ("red", "blue")),
    ("Which shape does the red one have in the video ?", ("circle", "square", "star", "triangle")),
    ("What is it ?", None),
    ("What color is the star , the circle , the square and the triangle of an assistant ?", None),
)
RESPONSE_TOKENS = 6


def build_prompts(adapter):
    return [adapter.build_question(text, options, response_tokens=RESPONSE_TOKENS) for text, options in QUESTIONS]


@pytest.fixture(scope="module")
def prompts(case):
    return build_prompts(case.adapter)


def scoring(case, **changes):
    return ScoringConfig(reference_layer=case.layer, **changes)


def entropy(logits):
    """Float64, straight from the definition."""
    probabilities = logits.double().softmax(dim=-1)
    return float(-(probabilities * probabilities.log()).sum())


def test_the_questions_differ_in_length_so_that_padding_is_exercised(prompts):
    assert len({len(prompt.suffix_ids) for prompt in prompts}) == len(prompts)


def test_first_logits_and_options_of_a_padded_batch_equal_a_full_eager_forward_each(
    case, prefix, prompts, first_logits
):
    responses = case.adapter.score(prefix, prompts, scoring(case))
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        expected = case.run_stock(prompt.suffix_ids).logits[0, -1]
        torch.testing.assert_close(first_logits[0][row], expected, atol=TOLERANCE, rtol=0)
        assert response.entropies[0] == pytest.approx(entropy(expected), abs=TOLERANCE)
        if prompt.option_ids is None:
            assert response.option_probabilities is None
            assert response.option is None
        else:
            probabilities = expected[list(prompt.option_ids)].double().softmax(dim=-1)
            assert response.option_probabilities == pytest.approx(probabilities.tolist(), abs=TOLERANCE)
            assert response.option == int(probabilities.argmax())
            assert len(response.entropies) == 1


@pytest.mark.parametrize("query_tokens", ["text", "last-token"])
@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_attention_scores_equal_eager_attention_weights_at_the_reference_layer(
    case, prefix, prompts, query_tokens, reduce
):
    config = scoring(case, query_tokens=query_tokens, attention_reduce=reduce)
    for prompt, response in zip(prompts, case.adapter.score(prefix, prompts, config), strict=True):
        weights = case.visual_attention(case.run_stock(prompt.suffix_ids).attentions)
        rows = weights if query_tokens == "text" else weights[:, -1:]
        expected = rows.amax(dim=(0, 1)) if reduce == "max" else rows.mean(dim=(0, 1))
        assert response.attention_N.dtype == np.float32
        assert response.attention_N == pytest.approx(expected.numpy(), abs=TOLERANCE)
        assert np.ptp(response.attention_N) > 10 * TOLERANCE  # a constant would say nothing about the order


def test_greedy_responses_equal_a_naive_loop_without_cache(case, prefix, prompts):
    responses = case.adapter.score(prefix, prompts, scoring(case))
    for prompt, response in zip(prompts, responses, strict=True):
        ids, logits = case.respond_stock(prompt.suffix_ids, max_tokens=prompt.max_tokens)
        assert response.text == case.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert response.entropies == pytest.approx([entropy(row) for row in logits], abs=TOLERANCE)
    assert [len(response.entropies) for response in responses[:2]] == [1, 1]
    assert max(len(response.entropies) for response in responses[2:]) == RESPONSE_TOKENS


def test_a_response_ends_with_its_end_token_which_counts_while_other_rows_go_on(case, as_adapter):
    other, ids = (
        case.respond_stock(prompt.suffix_ids, max_tokens=RESPONSE_TOKENS, end_token=None)[0]
        for prompt in build_prompts(case.adapter)[2:]
    )
    end = next(token for token in ids[1:] if token not in other and token != ids[0])
    model = copy.deepcopy(case.stock)
    model.generation_config.eos_token_id = [end]
    model.config.text_config.eos_token_id = end
    adapter = as_adapter(model)
    features = adapter.encode(case.frames, case.geometry, batch_patches=3)
    prefix = adapter.prefill(features, case.geometry, patch_s=case.patch_s)
    responses = adapter.score(prefix, build_prompts(adapter), scoring(case))
    assert len(responses[3].entropies) == ids.index(end) + 1
    assert len(responses[2].entropies) == RESPONSE_TOKENS


def test_a_prefix_serves_any_number_of_calls_unchanged(case, prefix, prompts):
    before = [(keys.clone(), values.clone()) for keys, values in prefix.layers]
    first, second = (case.adapter.score(prefix, prompts, scoring(case)) for _ in range(2))
    for one, two in zip(first, second, strict=True):
        assert one.entropies == two.entropies
        assert one.text == two.text
        assert one.option_probabilities == two.option_probabilities
        assert (one.attention_N == two.attention_N).all()
    for (keys, values), (old_keys, old_values) in zip(prefix.layers, before, strict=True):
        assert torch.equal(keys, old_keys)
        assert torch.equal(values, old_values)


def test_a_question_is_judged_the_same_alone_and_in_company(case, prefix, prompts):
    together = case.adapter.score(prefix, prompts, scoring(case))
    for prompt, expected in zip(prompts, together, strict=True):
        (alone,) = case.adapter.score(prefix, [prompt], scoring(case))
        assert alone.entropies == pytest.approx(expected.entropies, abs=TOLERANCE)
        assert alone.attention_N == pytest.approx(expected.attention_N, abs=TOLERANCE)


def test_scores_do_not_depend_on_a_video_seen_before(case, prefix, prompts, features):
    expected = case.adapter.score(prefix, prompts, scoring(case))
    other = case.adapter.prefill(features.flip(0), case.geometry, patch_s=2 * case.patch_s)
    changed = case.adapter.score(other, prompts, scoring(case))
    again = case.adapter.score(prefix, prompts, scoring(case))
    assert [r.entropies for r in again] == [r.entropies for r in expected]
    assert [r.entropies for r in changed] != [r.entropies for r in expected]


def test_the_adapter_reads_its_shape_from_the_checkpoint(case):
    assert isinstance(case.adapter, Qwen25VL)
    assert case.adapter.frames_per_patch == 2
    assert case.adapter.num_layers == case.stock.config.text_config.num_hidden_layers
    assert case.adapter.max_positions == 32_768
