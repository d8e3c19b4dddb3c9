"""Questions in rows of their own, from copies of the prefix's states."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from pipeline.models import recurrent_prefix
from pipeline.models.interface import QuestionPrompt
from pipeline.models.recurrent_prefix import KeysAndValues, LinearState

TOLERANCE = 2e-5
CHOICES = (
    ("Is it?", ("red", "blue")),
    ("Which shape?", ("circle", "square", "star")),
    ("Which of them all is it that moves after two minutes?", ("a", "b", "c", "d")),
)
OPEN = (("What?", None), ("Where is a?", None), ("Where is b?", None))


@pytest.fixture
def widths(case, monkeypatch):
    """Rows and columns of every pass of the language model."""
    seen = []
    run = case.adapter._text.run

    def record(embeddings, *arguments, **keywords):
        seen.append(tuple(embeddings.shape[:-1]))
        return run(embeddings, *arguments, **keywords)

    monkeypatch.setattr(case.adapter._text, "run", record)
    return seen


def build(case, questions):
    return [case.adapter.build_question(*question, response_tokens=3) for question in questions]


def test_a_prefix_holds_keys_of_full_layers_and_states_of_one_row_of_the_others(case, prefix):
    text = case.stock.config.text_config
    channels = 2 * text.linear_num_key_heads * text.linear_key_head_dim
    channels += text.linear_num_value_heads * text.linear_value_head_dim
    heads = (text.linear_num_value_heads, text.linear_key_head_dim, text.linear_value_head_dim)
    for kind, layer in zip(text.layer_types, prefix.layers, strict=True):
        if kind == "full_attention":
            assert isinstance(layer, KeysAndValues)
            assert layer.keys.shape == (1, text.num_key_value_heads, prefix.length, text.head_dim)
        else:
            assert isinstance(layer, LinearState)
            assert layer.last_inputs.shape == (1, channels, text.linear_conv_kernel_dim)
            assert layer.state.shape == (1, *heads)
            assert layer.state.abs().max() > 1e-2  # or a fault in it would not show


def test_multiple_choice_of_any_length_takes_one_pass_padded_behind_its_last_token(case, prefix, widths):
    prompts = build(case, CHOICES)
    together = case.score(prefix, prompts)
    assert widths == [(3, max(len(prompt.suffix_ids) for prompt in prompts))]
    for question, prompt, response in zip(CHOICES, prompts, together, strict=True):
        run = case.stock_run(question)
        options = run.logits_V[list(prompt.option_ids)].softmax(dim=-1)
        assert response.option_probabilities == pytest.approx(options.tolist(), abs=TOLERANCE)
        assert response.attention_N == pytest.approx(run.weights_ARN.amax(dim=(0, 1)).numpy(), abs=TOLERANCE)


def test_open_questions_of_one_length_go_on_together_as_stock_does_alone(case, prefix, widths):
    prompts = build(case, OPEN)
    assert [len(prompt.suffix_ids) for prompt in prompts][1:] == [len(prompts[1].suffix_ids)] * 2
    responses = case.score(prefix, prompts)
    first, second = len(prompts[0].suffix_ids), len(prompts[1].suffix_ids)
    assert widths[:2] == [(1, first), (2, second)]
    assert set(widths[2:]) == {(1, 1), (2, 1)}
    for question, response in zip(OPEN, responses, strict=True):
        ids, _ = case.respond_stock(question, max_tokens=3)
        assert response.text == case.tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_neighbours_alone_are_put_together_so_that_the_order_of_questions_stays():
    def prompt(length, max_tokens):
        return QuestionPrompt(suffix_ids=(1,) * length, option_ids=None, max_tokens=max_tokens)

    asked = [prompt(3, 1), prompt(9, 1), prompt(3, 8), prompt(3, 8), prompt(4, 8), prompt(3, 1), prompt(4, 8)]
    split = [*recurrent_prefix._split(asked)]
    assert [len(together) for together in split] == [2, 2, 1, 1, 1]
    assert [one for together in split for one in together] == asked


def test_padding_behind_a_question_that_goes_on_would_change_what_it_says(case, prefix, monkeypatch):
    """Why open questions of unequal lengths are not put together."""
    prompts = build(case, (OPEN[0], ("What is it that is seen there?", None)))
    apart = case.score(prefix, prompts)
    monkeypatch.setattr(recurrent_prefix, "_split", lambda given: [list(given)])
    together = case.score(prefix, prompts)
    assert together[0].entropies[0] == pytest.approx(apart[0].entropies[0], abs=TOLERANCE)
    assert abs(together[0].entropies[1] - apart[0].entropies[1]) > 100 * TOLERANCE


def test_a_question_that_starts_from_an_empty_state_is_judged_otherwise(case, prefix, first_logits):
    """The states matter: with those of no video the scores are others, though all keys are there."""
    layers = tuple(
        LinearState(last_inputs=layer.last_inputs, state=torch.zeros_like(layer.state))
        if isinstance(layer, LinearState)
        else layer
        for layer in prefix.layers
    )
    for one in (prefix, dataclasses.replace(prefix, layers=layers)):
        case.score(one, build(case, CHOICES[:1]))
    assert (first_logits[0] - first_logits[1]).abs().max() > 100 * TOLERANCE


def test_states_of_another_version_of_the_cache_are_read_as_they_are():
    full = SimpleNamespace(keys=torch.zeros(1, 2, 3, 4), values=torch.ones(1, 2, 3, 4))
    linear = SimpleNamespace(conv_states={0: torch.zeros(1, 5, 4)}, recurrent_states={0: torch.ones(1, 2, 3, 3)})
    scorer = object.__new__(recurrent_prefix.RecurrentPrefixScorer)
    kept = scorer.keep(SimpleNamespace(layers=[linear, full]), visual=slice(0, 2), length=3, next_position=7)
    assert [type(layer) for layer in kept.layers] == [LinearState, KeysAndValues]
