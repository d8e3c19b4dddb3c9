"""What every registered family owes the engine, on a tiny random model of each; how right the numbers are is its own
tests' business."""

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.models.interface import FinalTokens, FrameGeometry, VideoModel
from pipeline.models.loading import describe_model, load_model
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import ModelConfig, ScoringConfig
from tests.unit.models.tiny_models import BUILDERS

TOLERANCE = 2e-5
NUM_PATCHES = 3
LAYER = 1
HEIGHT, WIDTH = 120, 160  # no family's own size, so frames are resized by the model
LIMITS = {"min_pixels": 2_000, "max_pixels": 8_000}
QUESTIONS = (
    ("What color is the circle ?", ("red", "blue")),
    ("What is it , and which shape does the red one have ?", None),
    ("Which shape ?", ("circle", "square", "star")),
)


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family's model behind the interface, with one clip of three temporal patches."""

    name: str
    model: VideoModel
    config: Any
    frames: Any
    geometry: FrameGeometry
    features: Any

    def prefill(self) -> Any:
        return self.model.prefill(self.features, self.geometry, patch_s=1.0, center_s_P=self.times_s)

    @property
    def times_s(self) -> Any:
        return np.arange(NUM_PATCHES) + 0.25

    def prompts(self) -> Any:
        return [self.model.build_question(*question, response_tokens=4) for question in QUESTIONS]

    def score(self, prefix: Any, prompts: Any, **changes: Any) -> Any:
        return self.model.score(prefix, prompts, ScoringConfig(reference_layer=LAYER, **changes))

    def answer(self, kept: Any, prompt: Any, *, positions: str = "compact") -> Any:
        patch_K, place = np.divmod(np.asarray(kept), self.geometry.tokens_per_patch)
        tokens = FinalTokens(
            features_KD=self.features[torch.as_tensor(kept)].float(),
            patch_K=patch_K,
            time_s_K=patch_K.astype(np.float64),
            row_K=place // self.geometry.token_columns,
            column_K=place % self.geometry.token_columns,
            center_s_K=self.times_s[patch_K],
            geometry=self.geometry,
        )
        config = ScoringConfig(reference_layer=LAYER)
        return self.model.answer(tokens, prompt, positions=positions, patch_s=1.0, max_tokens=4, config=config)


def test_every_registered_family_has_a_tiny_model_here():
    assert set(BUILDERS) == set(FAMILIES)


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request):
    torch.set_num_threads(1)
    row = FAMILIES[request.param]
    model, tokenizer = BUILDERS[request.param]()
    model.set_attn_implementation(dict(row.attention))
    adapter = row.build(model, tokenizer, name="tiny", revision="0")
    frames = np.random.default_rng(3).integers(
        0, 256, (NUM_PATCHES * adapter.frames_per_patch, HEIGHT, WIDTH, 3), dtype=np.uint8
    )
    geometry = adapter.frame_geometry(HEIGHT, WIDTH, **LIMITS)
    return Family(
        name=request.param,
        model=adapter,
        config=model.config,
        frames=frames,
        geometry=geometry,
        features=adapter.encode(frames, geometry, batch_patches=NUM_PATCHES),
    )


def test_the_configuration_alone_says_what_the_loaded_model_says(family):
    layout = FAMILIES[family.name].read_layout(family.config)
    for name in ("frames_per_patch", "num_layers", "max_positions", "feature_width"):
        assert getattr(layout, name) == getattr(family.model, name)
    assert layout.frame_geometry(HEIGHT, WIDTH, **LIMITS) == family.geometry
    assert layout.feature_width == family.features.shape[1]
    assert isinstance(family.model, FAMILIES[family.name].build)
    assert (family.model.name, family.model.revision) == ("tiny", "0")


def test_encode_gives_as_many_tokens_as_the_geometry_says_the_same_every_time(family):
    num_tokens = NUM_PATCHES * family.geometry.tokens_per_patch
    assert family.features.shape[0] == num_tokens
    assert 0 < family.model.similarity_dim <= family.features.shape[1]
    assert family.features.std() > 1e-3
    again = family.model.encode(family.frames, family.geometry, batch_patches=NUM_PATCHES)
    assert torch.equal(again, family.features)


@pytest.mark.parametrize("batch_patches", [1, 2, 64])
def test_encode_does_not_depend_on_how_many_patches_run_at_once(family, batch_patches):
    actual = family.model.encode(family.frames, family.geometry, batch_patches=batch_patches)
    torch.testing.assert_close(actual, family.features, atol=TOLERANCE, rtol=0)


def test_tokens_of_a_patch_depend_on_its_own_frames_only(family):
    per_patch = family.geometry.tokens_per_patch
    others = family.frames.copy()
    others[family.model.frames_per_patch :] = 0
    changed = family.model.encode(others, family.geometry, batch_patches=NUM_PATCHES)
    torch.testing.assert_close(changed[:per_patch], family.features[:per_patch], atol=TOLERANCE, rtol=0)
    assert (changed[per_patch:] - family.features[per_patch:]).abs().max() > 100 * TOLERANCE


def test_fitting_a_frame_twice_changes_nothing(family):
    size = family.geometry.height, family.geometry.width
    same = family.model.frame_geometry(*size, **LIMITS)
    assert same == family.geometry  # decoders may resize first
    frames = np.zeros((family.model.frames_per_patch, *size, 3), np.uint8)
    assert len(family.model.encode(frames, same, batch_patches=1)) == same.tokens_per_patch


def tensors_within(value):
    """All tensors of a prefix, whatever it is made of."""
    if isinstance(value, torch.Tensor):
        return [value]
    if dataclasses.is_dataclass(value):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    return [tensor for item in value for tensor in tensors_within(item)] if isinstance(value, list | tuple) else []


def test_scoring_leaves_the_prefix_as_it_was(family):
    prefix, prompts = family.prefill(), family.prompts()
    before = copy.deepcopy(tensors_within(prefix))
    assert before
    first, second = (family.score(prefix, prompts) for _ in range(2))
    for one, two in zip(first, second, strict=True):
        assert (one.entropies, one.text, one.option_probabilities) == (
            two.entropies,
            two.text,
            two.option_probabilities,
        )
        assert (one.attention_N == two.attention_N).all()
    assert all(torch.equal(*pair) for pair in zip(tensors_within(prefix), before, strict=True))


def test_one_response_per_question_in_their_order(family):
    prefix, prompts = family.prefill(), family.prompts()
    responses = family.score(prefix, prompts)
    for (_, options), response in zip(QUESTIONS, responses, strict=True):
        assert all(entropy >= 0 for entropy in response.entropies)
        if options is None:
            assert 1 <= len(response.entropies) <= 4
            assert response.option_probabilities is None
        else:
            assert len(response.entropies) == 1
            assert len(response.option_probabilities) == len(options)
            assert sum(response.option_probabilities) == pytest.approx(1)
    for backwards, response in zip(family.score(prefix, prompts[::-1])[::-1], responses, strict=True):
        assert backwards.entropies == pytest.approx(response.entropies, abs=TOLERANCE)


def test_a_batch_of_questions_equals_one_after_the_other(family):
    prefix, prompts = family.prefill(), family.prompts()
    for prompt, together in zip(prompts, family.score(prefix, prompts), strict=True):
        (alone,) = family.score(prefix, [prompt])
        assert alone.entropies == pytest.approx(together.entropies, abs=TOLERANCE)
        assert alone.attention_N == pytest.approx(together.attention_N, abs=TOLERANCE)
        if prompt.option_ids is not None:
            assert alone.option_probabilities == pytest.approx(together.option_probabilities, abs=TOLERANCE)


@pytest.mark.parametrize("query_tokens", ["text", "last-token"])
def test_attention_is_a_share_of_a_softmax_for_every_token(family, query_tokens):
    prefix, prompts = family.prefill(), family.prompts()
    largest, means = (
        family.score(prefix, prompts, query_tokens=query_tokens, attention_reduce=reduce) for reduce in ("max", "mean")
    )
    for most, mean in zip(largest, means, strict=True):
        for attention_N in (most.attention_N, mean.attention_N):
            assert attention_N.shape == (len(family.features),)
            assert attention_N.dtype == np.float32
            assert (attention_N >= 0).all()
        assert mean.attention_N.sum() <= 1 + TOLERANCE  # text holds the rest
        assert (mean.attention_N <= most.attention_N + TOLERANCE).all()
        assert (most.attention_N <= 1 + TOLERANCE).all()
        assert np.ptp(most.attention_N) > 1e-4  # a constant would rank nothing


def test_a_prefix_of_another_video_gives_other_scores(family):
    other = family.model.prefill(family.features.flip(0), family.geometry, patch_s=1.0, center_s_P=family.times_s)
    expected, changed = (family.score(prefix, family.prompts()) for prefix in (family.prefill(), other))
    assert all(one.entropies != two.entropies for one, two in zip(expected, changed, strict=True))


@pytest.mark.parametrize("positions", ["absolute", "compact"])
def test_the_final_pass_over_one_whole_group_equals_its_group_pass(family, positions):
    prompt = family.prompts()[0]
    (group,) = family.score(family.prefill(), [prompt])
    final = family.answer(np.arange(len(family.features)), prompt, positions=positions)
    assert final.option_probabilities == pytest.approx(group.option_probabilities, abs=TOLERANCE)
    assert final.attention_N == pytest.approx(group.attention_N, abs=TOLERANCE)


@pytest.mark.parametrize("positions", ["absolute", "compact"])
def test_the_final_pass_takes_any_subset_of_tokens(family, positions):
    last = len(family.features) - 1
    for kept in ([0], [last], [0, last], list(range(1, last, 2))):
        for prompt in family.prompts()[:2]:
            response = family.answer(kept, prompt, positions=positions)
            assert response.attention_N.shape == (len(kept),)
            assert (response.attention_N > 0).all()
            assert all(entropy >= 0 for entropy in response.entropies)
            assert (response.option_probabilities is None) == (prompt.option_ids is None)


def test_an_unknown_way_to_place_tokens_is_refused(family):
    with pytest.raises(ValueError, match="positions must be 'absolute' or 'compact', got 'relative'"):
        family.answer([0], family.prompts()[0], positions="relative")


def test_a_saved_folder_is_known_by_its_configuration_and_loads(family, tmp_path):
    model, tokenizer = BUILDERS[family.name]()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    config = ModelConfig(model=str(tmp_path))
    assert describe_model(config).family == family.name
    loaded = load_model(config, device="cpu")
    features = loaded.encode(family.frames, family.geometry, batch_patches=NUM_PATCHES)
    torch.testing.assert_close(features, family.features, atol=TOLERANCE, rtol=0)
