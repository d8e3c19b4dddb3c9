import copy

import numpy as np
import pytest
import torch

from pipeline.settings.config import ScoringConfig

TOLERANCE = 2e-5
QUESTIONS = (
    ("Is it?", ("red", "blue")),
    ("Which shape?", ("circle", "square", "star")),
    ("What is it?", None),
    ("What is it that moves after 2 minutes?", None),
)
RESPONSE_TOKENS = 4


def build_prompts(adapter):
    return [adapter.build_question(text, options, response_tokens=RESPONSE_TOKENS) for text, options in QUESTIONS]


@pytest.fixture(scope="module")
def prompts(case):
    return build_prompts(case.adapter)


@pytest.fixture(scope="module")
def stock_outputs(case):
    """Tokens and full eager forward of each question."""
    layouts = [case.lay_out(*question) for question in QUESTIONS]
    return [(tokens, case.run_stock(tokens)) for tokens in layouts]


def scoring(case, **changes):
    return ScoringConfig(reference_layer=case.layer, **changes)


def entropy(logits):
    """Float64, straight from the definition."""
    probabilities = logits.double().softmax(dim=-1)
    return float(-(probabilities * probabilities.log()).sum())


def test_the_questions_differ_in_length_so_that_padding_is_exercised(prompts):
    assert len({len(prompt.suffix_ids) for prompt in prompts}) == len(prompts)


def test_first_logits_and_options_of_a_padded_batch_equal_a_full_eager_forward_each(
    case, prefix, prompts, stock_outputs, first_logits
):
    responses = case.adapter.score(prefix, prompts, scoring(case))
    for row, ((_, stock), prompt, response) in enumerate(zip(stock_outputs, prompts, responses, strict=True)):
        expected = stock.logits[0, -1]
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
    case, prefix, prompts, stock_outputs, query_tokens, reduce
):
    config = scoring(case, query_tokens=query_tokens, attention_reduce=reduce)
    responses = case.adapter.score(prefix, prompts, config)
    for (tokens, stock), response in zip(stock_outputs, responses, strict=True):
        weights = case.visual_attention(stock, tokens)
        rows = weights if query_tokens == "text" else weights[:, -1:]
        expected = rows.amax(dim=(0, 1)) if reduce == "max" else rows.mean(dim=(0, 1))
        assert response.attention_N.dtype == np.float32
        assert response.attention_N == pytest.approx(expected.numpy(), abs=TOLERANCE)
        assert np.ptp(response.attention_N) > 10 * TOLERANCE  # a constant would say nothing about the order


def test_greedy_responses_equal_a_naive_loop_without_cache(case, prefix, prompts):
    responses = case.adapter.score(prefix, prompts, scoring(case))
    for question, prompt, response in zip(QUESTIONS, prompts, responses, strict=True):
        ids, logits = case.respond_stock(*question, max_tokens=prompt.max_tokens)
        assert response.text == case.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert response.entropies == pytest.approx([entropy(row) for row in logits], abs=TOLERANCE)
    assert [len(response.entropies) for response in responses[:2]] == [1, 1]
    assert max(len(response.entropies) for response in responses[2:]) == RESPONSE_TOKENS


def test_a_response_ends_with_its_end_token_which_counts_while_other_rows_go_on(case, as_adapter):
    other, ids = (
        case.respond_stock(*question, max_tokens=RESPONSE_TOKENS, end_token=None)[0] for question in QUESTIONS[2:]
    )
    end = next(token for token in ids if token not in other)
    model = copy.deepcopy(case.stock)
    model.generation_config.eos_token_id = [end]
    model.config.text_config.eos_token_id = end
    adapter = as_adapter(model)
    features = adapter.encode(case.frames, case.geometry, batch_patches=3)
    prefix = adapter.prefill(features, case.geometry, patch_s=1.0, center_s_P=case.centers_s)
    responses = adapter.score(prefix, build_prompts(adapter), scoring(case))
    assert len(responses[3].entropies) == ids.index(end) + 1 < RESPONSE_TOKENS
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


def test_scores_depend_on_the_times_written_but_not_on_a_video_seen_before(
    case, prefix, prompts, features, first_logits
):
    other = case.adapter.prefill(features, case.geometry, patch_s=1.0, center_s_P=case.centers_s + 1)
    for group in (prefix, other, prefix):
        case.adapter.score(group, prompts[:2], scoring(case))
    before, changed, again = first_logits
    assert torch.equal(before, again)
    assert (changed - before).abs().max() > 100 * TOLERANCE


def test_without_times_a_group_is_an_ordinary_clip_from_0_seconds_on(case, prompts, features, first_logits):
    for centers_s in (None, np.array([0.5, 2.5, 4.5])):
        prefix = case.adapter.prefill(features, case.geometry, patch_s=2.0, center_s_P=centers_s)
        case.adapter.score(prefix, prompts[:1], scoring(case))
    assert torch.equal(*first_logits)


def test_the_adapter_reads_its_shape_from_the_checkpoint(case):
    assert case.adapter.frames_per_patch == 2
    assert case.adapter.num_layers == case.stock.config.text_config.num_hidden_layers
    assert case.adapter.max_positions == 262_144
