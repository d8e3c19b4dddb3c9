"""Group passes of every family against stock eager attention: a whole forward, without a cache, per question."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from pipeline.models.registry import FAMILIES
from tests.unit.models.families.case import entropy

TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def prompts(case):
    return case.prompts(case.adapter)


def test_the_questions_differ_in_length_so_that_padding_is_exercised(prompts):
    assert len({len(prompt.suffix_ids) for prompt in prompts}) == len(prompts)


def test_first_logits_and_options_of_a_padded_batch_equal_a_full_eager_forward_each(
    case, prefix, prompts, first_logits
):
    responses = case.score(prefix, prompts)
    for row, (question, prompt, response) in enumerate(zip(case.questions, prompts, responses, strict=True)):
        expected = case.stock_run(question).logits_V
        torch.testing.assert_close(first_logits[0][row], expected, atol=TOLERANCE, rtol=0)
        assert response.entropies[0] == pytest.approx(entropy(expected), abs=TOLERANCE)
        if prompt.option_ids is None:
            assert response.option_probabilities is None
            assert response.letter_share is response.option is None
        else:
            share = expected.double().softmax(dim=-1)[list(prompt.option_ids)].sum()
            assert response.letter_share == pytest.approx(float(share), abs=TOLERANCE)
            probabilities = expected[list(prompt.option_ids)].double().softmax(dim=-1)
            assert response.option_probabilities == pytest.approx(probabilities.tolist(), abs=TOLERANCE)
            assert response.option == int(probabilities.argmax())
            assert len(response.entropies) == 1


@pytest.mark.parametrize("query_tokens", ["text", "last-token"])
@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_attention_scores_equal_eager_attention_weights_at_the_reference_layer(
    case, prefix, prompts, query_tokens, reduce
):
    responses = case.score(prefix, prompts, query_tokens=query_tokens, attention_reduce=reduce)
    for question, response in zip(case.questions, responses, strict=True):
        weights_ARN = case.stock_run(question).weights_ARN
        rows = weights_ARN if query_tokens == "text" else weights_ARN[:, -1:]
        expected = rows.amax(dim=(0, 1)) if reduce == "max" else rows.mean(dim=(0, 1))
        assert response.attention_N.dtype == np.float32
        assert response.attention_N.shape == (case.num_tokens,)
        assert response.attention_N == pytest.approx(expected.numpy(), abs=TOLERANCE)
        assert np.ptp(response.attention_N) > 10 * TOLERANCE  # a constant would say nothing about the order


def test_greedy_responses_equal_a_naive_loop_without_cache(case, prefix, prompts):
    responses = case.score(prefix, prompts)
    for question, prompt, response in zip(case.questions, prompts, responses, strict=True):
        ids, logits = case.respond_stock(question, max_tokens=prompt.max_tokens)
        assert response.text == case.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert response.entropies == pytest.approx([entropy(row) for row in logits], abs=TOLERANCE)
    assert [len(response.entropies) for response in responses[:2]] == [1, 1]
    assert max(len(response.entropies) for response in responses[2:]) == case.response_tokens


def test_a_response_ends_with_its_end_token_which_counts_while_other_rows_go_on(case):
    longest = case.response_tokens
    other, ids = (
        case.respond_stock(question, max_tokens=longest, end_token=None)[0] for question in case.questions[2:]
    )
    end = next(token for token in ids[1:] if token not in other and token != ids[0])
    model = copy.deepcopy(case.stock)
    model.generation_config.eos_token_id = [end]
    model.config.text_config.eos_token_id = end
    adapter = case.as_adapter(model)
    prefix = case.prefill(adapter, case.encode(adapter))
    responses = dataclasses.replace(case, adapter=adapter).score(prefix, case.prompts(adapter))
    assert len(responses[3].entropies) == ids.index(end) + 1 < longest
    assert len(responses[2].entropies) == longest


def tensors_within(value):
    """All tensors of a prefix, whatever it is made of."""
    if isinstance(value, torch.Tensor):
        return [value]
    if dataclasses.is_dataclass(value):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    return [tensor for item in value for tensor in tensors_within(item)] if isinstance(value, list | tuple) else []


def test_a_prefix_serves_any_number_of_calls_unchanged(case, prefix, prompts):
    before = copy.deepcopy(tensors_within(prefix))
    assert len(before) >= 2 * case.adapter.num_layers
    first, second = (case.score(prefix, prompts) for _ in range(2))
    for one, two in zip(first, second, strict=True):
        assert one.entropies == two.entropies
        assert one.text == two.text
        assert one.option_probabilities == two.option_probabilities
        assert (one.attention_N == two.attention_N).all()
    assert all(torch.equal(*pair) for pair in zip(tensors_within(prefix), before, strict=True))


def test_a_question_is_judged_the_same_alone_and_in_company(case, prefix, prompts):
    together = case.score(prefix, prompts)
    for prompt, expected in zip(prompts, together, strict=True):
        (alone,) = case.score(prefix, [prompt])
        assert alone.entropies == pytest.approx(expected.entropies, abs=TOLERANCE)
        assert alone.attention_N == pytest.approx(expected.attention_N, abs=TOLERANCE)
        if prompt.option_ids is not None:
            assert alone.option_probabilities == pytest.approx(expected.option_probabilities, abs=TOLERANCE)


def test_scores_do_not_depend_on_a_video_seen_before(case, prefix, prompts, features):
    expected = case.score(prefix, prompts)
    changed = case.score(case.prefill(case.adapter, features.flip(0)), prompts)
    again = case.score(prefix, prompts)
    assert [response.entropies for response in again] == [response.entropies for response in expected]
    assert all(one.entropies != two.entropies for one, two in zip(expected, changed, strict=True))


def test_the_order_of_patches_matters(case, features, prefix, prompts):
    flipped = features.view(-1, case.per_patch, features.shape[1]).flip(0).flatten(0, 1)
    first, second = (case.score(p, prompts) for p in (prefix, case.prefill(case.adapter, flipped)))
    assert [response.entropies for response in first] != [response.entropies for response in second]


def test_the_adapter_reads_its_shape_from_the_checkpoint(case):
    assert isinstance(case.adapter, FAMILIES[case.family].build)
    assert case.adapter.frames_per_patch == case.frames_per_patch
    assert case.adapter.num_layers == case.stock.config.text_config.num_hidden_layers
    assert case.adapter.max_positions == case.max_positions
