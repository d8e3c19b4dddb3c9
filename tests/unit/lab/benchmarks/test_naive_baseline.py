"""The baseline does the same work in another way: its scores must be this project's."""

import math

import numpy as np
import pytest
import torch

from pipeline.lab.benchmarks.naive_baseline import StockPixels, lay_out_prompt, score_naively
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import ScoringConfig
from tests.unit.models.tiny_models import BUILDERS

TOLERANCE = 2e-4
NUM_PATCHES, LAYER, PATCH_S = 3, 1, 1.0
QUESTIONS = (("What color is the circle ?", ("red", "blue")), ("Which shape does the red one have ?", None))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_baseline_scores_like_this_project(family):
    torch.set_num_threads(1)
    model, tokenizer = BUILDERS[family]()
    row = FAMILIES[family]
    layout = row.read_layout(model.config)
    geometry = layout.frame_geometry(120, 160, min_pixels=2_000, max_pixels=8_000)
    shape = (NUM_PATCHES * layout.frames_per_patch, geometry.height, geometry.width, 3)
    frames = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    center_s_P = np.arange(NUM_PATCHES) * 7.0 + 0.25

    model.set_attn_implementation("eager")
    pixels = StockPixels(model.config).prepare(frames, geometry)
    naive = [
        score_naively(
            model,
            pixels,
            lay_out_prompt(
                tokenizer,
                model.config,
                geometry,
                center_s_P=center_s_P,
                patch_s=PATCH_S,
                question=question,
                options=options,
            ),
            layer=LAYER,
        )
        for question, options in QUESTIONS
    ]

    model.set_attn_implementation(dict(row.attention))
    adapter = row.build(model, tokenizer, name="tiny", revision="0")
    features = adapter.encode(frames, geometry, batch_patches=NUM_PATCHES)
    prefix = adapter.prefill(features, geometry, patch_s=PATCH_S, center_s_P=center_s_P)
    prompts = [adapter.build_question(*question, response_tokens=1) for question in QUESTIONS]
    ours = adapter.score(prefix, prompts, ScoringConfig(reference_layer=LAYER))

    for theirs, mine in zip(naive, ours, strict=True):
        assert theirs.entropy == pytest.approx(mine.entropies[0], abs=TOLERANCE)
        np.testing.assert_allclose(theirs.attention_N, mine.attention_N, atol=TOLERANCE)
        assert theirs.attention_N.max() > 2 * theirs.attention_N.min() > 0  # not the same everywhere
        assert 0 < theirs.entropy < math.log(model.config.text_config.vocab_size)
    assert abs(naive[0].entropy - naive[1].entropy) > 10 * TOLERANCE


def test_the_prompt_tells_where_the_visual_tokens_stand_and_where_the_question_goes_on():
    model, tokenizer = BUILDERS["qwen2_5_vl"]()
    layout = FAMILIES["qwen2_5_vl"].read_layout(model.config)
    geometry = layout.frame_geometry(56, 84, min_pixels=1, max_pixels=10_000)
    prompt = lay_out_prompt(
        tokenizer,
        model.config,
        geometry,
        center_s_P=np.arange(2) + 0.25,
        patch_s=2.0,
        question="Which shape ?",
        options=None,
    )
    assert geometry.tokens_per_patch == 6
    is_visual = prompt.ids_1T[0] == model.config.video_token_id
    assert is_visual.nonzero()[:, 0].tolist() == prompt.visual_N.tolist()
    assert len(prompt.visual_N) == 12
    first = int(prompt.visual_N[0])
    second_patch = first + 2 * 2  # seconds x positions per second
    assert prompt.positions[0, 0, prompt.visual_N].tolist() == [first] * 6 + [second_patch] * 6
    after = prompt.positions[:, 0, -prompt.num_text :]
    assert after.tolist() == [list(range(second_patch + 1, second_patch + 1 + prompt.num_text))] * 3
