import numpy as np
import pytest
import torch

from pipeline.models.attention_probe import record_layers
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import ScoringConfig
from tests.unit.models.tiny_models import BUILDERS

QUESTIONS = (("What color is the circle ?", ("red", "blue")), ("What is it ?", None))  # unequal lengths: padding


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def group(request):
    torch.set_num_threads(1)
    row = FAMILIES[request.param]
    stock, tokenizer = BUILDERS[request.param]()
    stock.set_attn_implementation(dict(row.attention))
    model = row.build(stock, tokenizer, name="tiny", revision="0")
    frames = np.random.default_rng(3).integers(0, 256, (3 * model.frames_per_patch, 120, 160, 3), dtype=np.uint8)
    geometry = model.frame_geometry(120, 160, min_pixels=2_000, max_pixels=8_000)
    features = model.encode(frames, geometry, batch_patches=3)
    prefix = model.prefill(features, geometry, patch_s=1.0, center_s_P=np.arange(3) + 0.25)
    return model, prefix, [model.build_question(*question, response_tokens=3) for question in QUESTIONS]


@pytest.mark.parametrize("reduce", ["max", "mean"])
@pytest.mark.parametrize("query_tokens", ["text", "last-token"])
def test_one_recorded_pass_equals_a_pass_per_reference_layer_bit_for_bit(group, reduce, query_tokens):
    model, prefix, prompts = group
    settings = {"attention_reduce": reduce, "query_tokens": query_tokens}
    first, *_, last = model.ranking_layers
    with record_layers() as by_layer:
        model.score(prefix, prompts, ScoringConfig(reference_layer=first, **settings))
    assert tuple(sorted(by_layer)) == model.ranking_layers
    for layer in model.ranking_layers:
        alone = model.score(prefix, prompts, ScoringConfig(reference_layer=layer, **settings))
        for row, response in enumerate(alone):
            assert np.array_equal(by_layer[layer][row].numpy(), response.attention_N)
    assert not torch.equal(by_layer[first], by_layer[last])


def test_recording_changes_nothing_about_the_pass(group):
    model, prefix, prompts = group
    config = ScoringConfig(reference_layer=1)
    plain = model.score(prefix, prompts, config)
    with record_layers():
        recorded = model.score(prefix, prompts, config)
    for one, two in zip(plain, recorded, strict=True):
        assert (one.text, one.entropies, one.option_probabilities) == (
            two.text,
            two.entropies,
            two.option_probabilities,
        )
        assert np.array_equal(one.attention_N, two.attention_N)


def test_nothing_is_recorded_after_the_block_even_if_it_failed(group):
    model, prefix, prompts = group
    with pytest.raises(RuntimeError, match="stop"), record_layers() as by_layer:
        raise RuntimeError("stop")
    model.score(prefix, prompts, ScoringConfig(reference_layer=model.ranking_layers[0]))
    assert by_layer == {}
