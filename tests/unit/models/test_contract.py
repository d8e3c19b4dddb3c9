"""What every registered family owes the engine, on a clip whose frames the model resizes; how right the numbers are is
test_encode's, test_score's and test_answer's business."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.models.interface import FrameGeometry
from pipeline.models.loading import load_model
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import ModelConfig, ScoringConfig
from tests.unit.models.families.case import NUM_PATCHES
from tests.unit.models.tiny_models import BUILDERS, CASES

TOLERANCE = 2e-5
HEIGHT, WIDTH = 120, 160  # no family's own size
LIMITS = {"min_pixels": 2_000, "max_pixels": 8_000}
QUESTIONS = (
    ("What color is the circle ?", ("red", "blue")),
    ("What is it , and which shape does the red one have ?", None),
    ("Which shape ?", ("circle", "square", "star")),
)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Three temporal patches, and what the model makes of them."""

    frames: Any
    geometry: FrameGeometry
    features: Any


@pytest.fixture(scope="module")
def model(case):
    return case.adapter


@pytest.fixture(scope="module")
def clip(model):
    shape = (NUM_PATCHES * model.frames_per_patch, HEIGHT, WIDTH, 3)
    frames = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    geometry = model.frame_geometry(HEIGHT, WIDTH, **LIMITS)
    features = model.encode(frames, geometry, batch_patches=NUM_PATCHES)
    return Clip(frames=frames, geometry=geometry, features=features)


@pytest.fixture(scope="module")
def group(model, clip):
    return model.prefill(clip.features, clip.geometry, patch_s=1.0, center_s_P=np.arange(NUM_PATCHES) + 0.25)


@pytest.fixture(scope="module")
def prompts(model):
    return [model.build_question(*question, response_tokens=4) for question in QUESTIONS]


def score(model, prefix, prompts, **changes):
    layer = next(layer for layer in model.ranking_layers if layer)
    return model.score(prefix, prompts, ScoringConfig(reference_layer=layer, **changes))


def test_every_registered_family_has_tiny_models_here():
    assert set(BUILDERS) == set(FAMILIES) == {name.partition("-")[0] for name in CASES}


def test_the_configuration_alone_says_what_the_loaded_model_says(case, model, clip):
    layout = FAMILIES[case.family].read_layout(case.stock.config)
    for name in ("frames_per_patch", "num_layers", "max_positions", "feature_width"):
        assert getattr(layout, name) == getattr(model, name)
    assert layout.frame_geometry(HEIGHT, WIDTH, **LIMITS) == clip.geometry
    assert layout.feature_width == clip.features.shape[1]
    assert (model.name, model.revision) == ("tiny", "0")


def test_encode_gives_as_many_tokens_as_the_geometry_says_the_same_every_time(model, clip):
    assert clip.features.shape[0] == NUM_PATCHES * clip.geometry.tokens_per_patch
    assert 0 < model.similarity_dim <= clip.features.shape[1]
    assert clip.features.std() > 1e-3
    again = model.encode(clip.frames, clip.geometry, batch_patches=NUM_PATCHES)
    assert torch.equal(again, clip.features)


@pytest.mark.parametrize("batch_patches", [1, 2, 64])
def test_encode_does_not_depend_on_how_many_patches_run_at_once(model, clip, batch_patches):
    actual = model.encode(clip.frames, clip.geometry, batch_patches=batch_patches)
    torch.testing.assert_close(actual, clip.features, atol=TOLERANCE, rtol=0)


def test_tokens_of_a_patch_depend_on_its_own_frames_only(model, clip):
    per_patch = clip.geometry.tokens_per_patch
    others = clip.frames.copy()
    others[model.frames_per_patch :] = 0
    changed = model.encode(others, clip.geometry, batch_patches=NUM_PATCHES)
    torch.testing.assert_close(changed[:per_patch], clip.features[:per_patch], atol=TOLERANCE, rtol=0)
    assert (changed[per_patch:] - clip.features[per_patch:]).abs().max() > 100 * TOLERANCE


def test_fitting_a_frame_twice_changes_nothing(model, clip):
    size = clip.geometry.height, clip.geometry.width
    same = model.frame_geometry(*size, **LIMITS)
    assert same == clip.geometry  # decoders may resize first
    frames = np.zeros((model.frames_per_patch, *size, 3), np.uint8)
    assert len(model.encode(frames, same, batch_patches=1)) == same.tokens_per_patch


def test_one_response_per_question_in_their_order(model, group, prompts):
    responses = score(model, group, prompts)
    for (_, options), response in zip(QUESTIONS, responses, strict=True):
        assert all(entropy >= 0 for entropy in response.entropies)
        if options is None:
            assert 1 <= len(response.entropies) <= 4
            assert response.option_probabilities is None
        else:
            assert len(response.entropies) == 1
            assert len(response.option_probabilities) == len(options)
            assert sum(response.option_probabilities) == pytest.approx(1)
    for backwards, response in zip(score(model, group, prompts[::-1])[::-1], responses, strict=True):
        assert backwards.entropies == pytest.approx(response.entropies, abs=TOLERANCE)


@pytest.mark.parametrize("query_tokens", ["text", "last-token"])
def test_attention_is_a_share_of_a_softmax_for_every_token(model, clip, group, prompts, query_tokens):
    largest, means = (
        score(model, group, prompts, query_tokens=query_tokens, attention_reduce=reduce) for reduce in ("max", "mean")
    )
    for most, mean in zip(largest, means, strict=True):
        for attention_N in (most.attention_N, mean.attention_N):
            assert attention_N.shape == (len(clip.features),)
            assert attention_N.dtype == np.float32
            assert (attention_N >= 0).all()
        assert mean.attention_N.sum() <= 1 + TOLERANCE  # text holds the rest
        assert (mean.attention_N <= most.attention_N + TOLERANCE).all()
        assert (most.attention_N <= 1 + TOLERANCE).all()
        assert np.ptp(most.attention_N) > 1e-4  # a constant would rank nothing


def test_a_saved_folder_encodes_as_the_model_that_was_saved(model, clip, checkpoint):
    loaded = load_model(ModelConfig(model=str(checkpoint)), device="cpu")
    features = loaded.encode(clip.frames, clip.geometry, batch_patches=NUM_PATCHES)
    torch.testing.assert_close(features, clip.features, atol=TOLERANCE, rtol=0)
