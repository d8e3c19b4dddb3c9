"""Dynamic rotary scaling: decided by the host, and the same as stock decides on the device."""

import pytest
import torch
from transformers import DynamicCache

from pipeline.models.attention_probe import PROBED_ATTENTION
from pipeline.models.text_model import TextModel, cache_argument
from tests.unit.models.families import tiny_internvl

TRAINED = 40


@pytest.fixture
def build():
    """A model that was trained on 40 positions, always the same."""

    def build_anew():
        tokenizer = tiny_internvl.build_tokenizer()
        model = tiny_internvl.build_model(tokenizer)
        rotary = model.model.language_model.rotary_emb
        rotary.max_seq_len_cached = rotary.original_max_seq_len = TRAINED
        model.config.text_config.max_position_embeddings = TRAINED
        return model, tokenizer

    return build_anew


def stock_pass(model, length):
    embeddings = model.get_input_embeddings()(torch.arange(length) % 50)
    language = model.model.language_model
    with torch.inference_mode():
        return language(inputs_embeds=embeddings[None], **{cache_argument(language): DynamicCache()})[0][0]


@pytest.mark.parametrize("lengths", [(40,), (41,), (60, 30, 40), (60, 80, 20, 50)], ids=str)
def test_passes_around_the_trained_context_are_scaled_as_in_stock(build, lengths):
    (stock, _), (model, tokenizer) = build(), build()
    stock.set_attn_implementation("sdpa")
    model.set_attn_implementation({"text_config": PROBED_ATTENTION})
    text = TextModel(model, tokenizer, rope_axes=1)
    for length in lengths:
        with torch.inference_mode():
            embeddings = text.embed(torch.arange(length) % 50)
            hidden = text.run(embeddings, torch.arange(length), cache=text.new_cache())
        torch.testing.assert_close(hidden, stock_pass(stock, length), atol=2e-5, rtol=1e-5)
