import copy
import math

import numpy as np
import pytest
import torch

from pipeline.demo.scenes import SHAPES
from pipeline.lab.demo_training.architecture import build_demo_model
from pipeline.lab.demo_training.batches import pack_examples
from pipeline.lab.demo_training.curriculum import draw_style
from pipeline.lab.demo_training.event_examples import EventExampleMaker
from pipeline.lab.demo_training.event_styles import CLEAR_STRIDES, EventStyle
from pipeline.lab.demo_training.examples import ExampleMaker
from pipeline.lab.demo_training.packed_pass import run_packed
from pipeline.lab.demo_training.question_text import TextMaker
from pipeline.lab.demo_training.ranking_loss import RANKING_LAYER, ranking_loss
from pipeline.settings.presets import preset_for

NUM_TOKENS = 24


@pytest.fixture(scope="module")
def text(tokenizer):
    return TextMaker(tokenizer)


@pytest.fixture(scope="module")
def model(tokenizer):
    model = build_demo_model(tokenizer, seed=3)
    model.set_attn_implementation({"vision_config": "eager", "text_config": "sdpa"})
    return model


def clips(noise_pool, text, *, kinds=("order", "last")):
    maker = EventExampleMaker(noise_pool, text, num_questions=3)
    style = EventStyle(view="final", num_tokens=NUM_TOKENS, event_strides=CLEAR_STRIDES)
    rng = np.random.default_rng(12)
    return [maker.make(rng, style, kinds=kinds) for _ in range(2)]


def packed(examples, text, tokenizer):
    return pack_examples(examples, prefix_ids=text.prefix_ids, video_token_id=7, pad_id=0, vocab_size=len(tokenizer))


def test_it_is_read_where_the_demo_model_ranks():
    assert preset_for("demo", num_layers=4, is_demo=True).scoring.reference_layer == RANKING_LAYER


def test_it_is_the_cross_entropy_over_the_tokens_that_show_what_is_asked(noise_pool, text, tokenizer, model):
    """Against the attention that the stock model returns, token by token; a question's answer does not look."""
    examples = clips(noise_pool, text)
    batch = packed(examples, text, tokenizer)
    visual = torch.randn(2, NUM_TOKENS, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        hidden = run_packed(model, batch, visual)[1]
        additive = torch.zeros(batch.mask_B1SS.shape).masked_fill(~batch.mask_B1SS, float("-inf"))
        eager = copy.deepcopy(model)
        eager.set_attn_implementation({"vision_config": "eager", "text_config": "eager"})
        attention = eager.model.language_model(
            inputs_embeds=hidden[0],
            position_ids=batch.position_ids_3BS,
            attention_mask=additive,
            use_cache=False,
            output_attentions=True,
        ).attentions[RANKING_LAYER]
        loss = ranking_loss(model, batch, hidden, examples)
    first, wanted = batch.video_start, []
    for row, example in enumerate(examples):
        for number, evidence in enumerate(example.evidence_QN, start=1):
            inside = np.flatnonzero(example.text_segment == number)[:-1]  # without the letter
            texts = (first + NUM_TOKENS + inside).tolist()
            best = attention[row][:, texts, first : first + NUM_TOKENS].amax(dim=(0, 1))
            shows = np.flatnonzero(evidence)
            if len(shows):
                shares = best / best.sum()
                wanted.append(-np.mean([math.log(shares[index]) for index in shows]) - math.log(len(shows)))
    assert len(wanted) > 2
    assert loss.item() == pytest.approx(np.mean(wanted), rel=1e-4)


def test_following_it_lifts_what_is_asked_above_the_rest(noise_pool, text, tokenizer, model):
    learner = copy.deepcopy(model)
    examples = clips(noise_pool, text)
    batch = packed(examples, text, tokenizer)
    visual = torch.randn(2, NUM_TOKENS, 128, generator=torch.Generator().manual_seed(2))
    optimizer = torch.optim.Adam(learner.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = ranking_loss(learner, batch, run_packed(learner, batch, visual)[1], examples)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_questions_about_what_never_appears_cost_nothing(noise_pool, text, tokenizer, model):
    examples = clips(noise_pool, text, kinds=("absent",))
    batch = packed(examples, text, tokenizer)
    visual = torch.randn(2, NUM_TOKENS, 128)
    with torch.no_grad():
        assert ranking_loss(model, batch, run_packed(model, batch, visual)[1], examples).item() == 0.0


def test_clips_know_what_their_tokens_show_and_which_decide_their_questions(noise_pool, text, tokenizer):
    """The evidence, found again from the question's words: every token of the shape, of a last colour the last ones."""
    rng = np.random.default_rng(13)
    needles = [ExampleMaker(noise_pool, text, num_questions=3).make(rng, draw_style(rng, stage=0.6)) for _ in range(20)]
    asked = set()
    for example in [*clips(noise_pool, text), *needles]:
        colors = noise_pool.color_N[example.patches[example.token_index_N // 4]]
        for token, shape in zip(example.token_index_N, example.shown_N, strict=True):
            patch = example.patches[token // 4]
            assert shape == (noise_pool.shape_N[patch] if noise_pool.shows_NK[patch, token % 4] else -1)
        for number, evidence in enumerate(example.evidence_QN, start=1):
            words = set(tokenizer.decode(example.text_ids[example.text_segment == number]).replace("?", " ").split())
            named = [index for index, name in enumerate(SHAPES) if name in words]
            wanted = np.isin(example.shown_N, named)
            if "last" in words and wanted.any():
                others = np.flatnonzero(wanted & (colors != colors[wanted][-1]))
                wanted[: others.max(initial=-1) + 1] = False
            assert np.array_equal(evidence, wanted)
            asked.add(("last" in words, *named))
    assert {len(key) for key in asked} == {1, 2}
    assert {key[0] for key in asked} == {True, False}
